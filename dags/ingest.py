"""### Ingest: every candle of a feed, day by day, each one accounted for.

**Schedule** Daily at midnight UTC, over the day that has just ended. One DAG for each feed in `feeds.toml`.

**Inputs** The exchange's candles over the run's data interval, and of the `settle` hours before it (24 by default),
where the exchange may have corrected what it gave before.

**Outputs** Parquet files in the archive, rows in the warehouse with a checkpoint, and an asset event `candles` for each
series and range. A candle that is not there is recorded as an absence, a row that is refused as quarantined.

**Safe to rerun?** Yes, any task, any run, as often as you like: what is equal is not written again, what the exchange
has changed leaves a revision. To load the past, run a backfill (Trigger, then Backfill).

**When it is red** The square names the series. Its log ends with what happened and what to do about it. Clear the
series' `fetch` with what follows (downstream): that reruns this one partition and no other. What a retry cannot help
(a symbol that the exchange does not list, an answer that makes no sense) fails at once; the rest was tried six times.
"""

from collections.abc import Iterator
from datetime import timedelta

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Metadata, task, task_group
from chandler_airflow.tasks import clean_partition, fetch_partition, load_partition

from etl.settings import Feed, load_settings

CANDLES = Asset("candles")
DEFAULTS = {
    "owner": "chandler",
    "retries": 5,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(hours=1),
}


def build_ingest(name: str, feed: Feed) -> DAG:
    """Build the DAG that keeps `feed` up to date."""
    with DAG(
        f"ingest_{name}",
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        start_date=feed.start,
        catchup=False,
        max_active_runs=4,
        default_args=DEFAULTS,
        tags=["ingest", feed.exchange],
        doc_md=__doc__,
    ) as dag:

        @task(pool=feed.exchange, map_index_template="{{ series }}", multiple_outputs=False)
        def fetch(series: str) -> dict[str, str]:
            return fetch_partition(series, feed.settle)

        @task(map_index_template="{{ series }}", multiple_outputs=False)
        def clean(partition: dict[str, str]) -> dict[str, str]:
            return clean_partition(partition)

        @task(map_index_template="{{ series }}", outlets=[CANDLES])
        def load(partition: dict[str, str]) -> Iterator[Metadata]:
            yield Metadata(CANDLES, {**load_partition(partition)})

        @task_group
        def partition(series: str) -> None:
            load(clean(fetch(series)))

        partition.expand(series=[str(series) for series in feed.series])
    return dag


for feed_name, feed_settings in load_settings().feeds.items():
    build_ingest(feed_name, feed_settings)
