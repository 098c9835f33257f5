"""### Feeds: each mistake in `feeds.toml` is a line of this file's import error. There is no DAG in it.

A feed with a mistake has no DAGs until that is corrected; all others, repair, training and alerts go on. The channels
of `alerts.toml` are told of it, and `chandler feeds` says the same on a terminal.
"""

# Airflow reads a file of this folder that has the words airflow and dag in it.
from etl.feeds_file import check_feeds_file

check_feeds_file()
