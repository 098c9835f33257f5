"""One part of Airflow as a process: `python -m stack.part scheduler`.

The scheduler forks a process for every task. What it has imported by then they need not import again, which is
seconds for each: ccxt, Arrow and our own code.
"""

import sys


def main() -> None:
    """Run the `airflow` command with our arguments."""
    if sys.argv[1] == "scheduler":
        import alembic.command
        import ccxt.async_support
        import pandas  # pyarrow imports it when it meets a numpy array

        import etl.ingest  # noqa: F401  # imported for the processes to come
    from airflow.__main__ import main as airflow

    airflow()


if __name__ == "__main__":
    main()
