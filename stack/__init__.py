"""The local stack: PostgreSQL, Airflow and, for the demo, the replay exchange, started and stopped as one.

`python -m stack demo` fills a warehouse from a made-up market through Airflow; `python -m stack run` is the same stack
against real exchanges. `processes` starts and ends processes, `home` is the folder that everything lies in, `airflow`
says how Airflow is set up, `api` talks to it, `backfill` drives it, `screen` shows it, `local` composes them.
"""
