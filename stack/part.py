"""One part of Airflow as a process: `python -m stack.part scheduler`.

A scheduler with its own executor, and a Celery worker, fork a process for every task. What they have imported by then
that need not import again, which is seconds for each: ccxt, Arrow and our own code.
"""

import sys
from importlib import import_module

_FORKING = ("scheduler", "celery")
# pyarrow imports pandas when it first meets a numpy array, and ccxt is imported when an exchange is first spoken to.
_HEAVY = ("alembic.command", "ccxt.async_support", "pandas", "etl.ingest")


def main() -> None:
    """Run the `airflow` command with our arguments."""
    if sys.argv[1] in _FORKING:
        for name in _HEAVY:
            import_module(name)
    import_module("airflow.__main__").main()


if __name__ == "__main__":
    main()
