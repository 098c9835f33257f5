"""### History: whole months of a feed, however far back, each candle accounted for.

**Schedule** None of its own: it never starts by itself, so it is not paused. It is there for backfills: Trigger, then
Backfill, and a range of dates. Each month (UTC) whose first day lies in the range becomes one run, once it has ended:
a year is 12 runs. A single run (Trigger) loads the month that ended last, or the data interval that it is given.

**Inputs** The exchange's candles over the month, from its bulk archives where it has some. The feed's `start` does not
matter here, nor does `settle`: a month is fetched as it is, and what lies before it is left alone.

**Outputs** Those of `ingest_<feed>`: Parquet files, rows in the warehouse with a checkpoint, and an asset event
`candles` for each series and range. A month from before a series was listed is loaded too, as absent.
The last task, `account`, judges absences and tells the month's quality. What is strange in it becomes incidents, as of
any load, and no message to anybody.

**Safe to rerun?** Yes, any task, any run, as often as you like, and over what the daily runs have loaded. A month that
is done is left out of another backfill, unless you ask it to reprocess.

**When it is red** As with `ingest_<feed>`: the task's label names the series, and its log says above `Task failed with
exception` what happened and what to do about it. Clear the series' `fetch` with what follows (downstream), or run the
backfill again over missing and errored runs.
"""

from datetime import timedelta

from airflow.sdk import DAG
from chandler_airflow.partitions import BEGINNING, DEFAULTS, build_partitions, headline
from chandler_airflow.timetables import MonthsByBackfill

from etl.feeds_file import load_what_is_right

for name, feed in load_what_is_right().feeds.items():
    with DAG(
        f"history_{name}",
        schedule=MonthsByBackfill(),
        start_date=BEGINNING,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=2,
        default_args=dict(DEFAULTS),
        tags=["history", feed.exchange],
        description=headline(__doc__),
        doc_md=__doc__,
    ):
        build_partitions(feed, settle=timedelta(0), is_history=True)
