"""### Ingest: every candle of a feed, day by day, each one accounted for.

**Schedule** Daily at midnight UTC, over the day that has just ended. One DAG for each feed in `feeds.toml`.

**Inputs** The exchange's candles over the run's data interval, and of the `settle` hours before it (24 by default),
where the exchange may have corrected what it gave before.

**Outputs** Parquet files in the archive, rows in the warehouse with a checkpoint, and an asset event `candles` for each
series and range. A candle that is not there is recorded as an absence, a row that is refused as quarantined.
`account`, last of all and however the loads have ended, judges why candles are absent, and its log says for each series
what is expected, stored, absent, refused and flagged; so does the page behind its button Quality (tab Details).

**Safe to rerun?** Yes, any task, any run, as often as you like: what is equal is not written again, what the exchange
has changed leaves a revision. To load days of the past run a backfill (Trigger, then Backfill); for whole months there
is `history_<feed>`. A single run (Trigger) loads the day before its logical date, which cannot be in the future. Both
load also what lies before the feed's `start`.

**Which series?** `list_series` keeps the feed's series for the run. A task of an old run that is cleared loads the
series that it is labelled with, whatever `feeds.toml` says by now. To take up a changed list, clear `list_series` too.

**When it is red** The task's label names the series. Its log says above `Task failed with exception` what happened and
what to do about it. Clear the series' `fetch` with what follows (downstream): that reruns this one partition and no
other. What a retry cannot help (a symbol that the exchange does not list, an answer that makes no sense) fails at once;
the rest was tried six times. A red `account` leaves the run as it is: what it has not judged the next run does, or
`repair_gaps`.
People are told of a red task, and of a run that has not ended `late_after` it was due (`alerts.toml`).
"""

from airflow.sdk import DAG
from chandler_airflow.alerting import late_load_alert
from chandler_airflow.partitions import BEGINNING, DEFAULTS, build_partitions, headline
from chandler_airflow.timetables import CronIntervals

from etl.feeds_file import load_what_is_right

# Today's candles before the past: where both wait for the exchange, the day goes first.
PRIORITY = 20

for name, feed in load_what_is_right().feeds.items():
    with DAG(
        f"ingest_{name}",
        schedule=CronIntervals("0 0 * * *", earliest=feed.start),
        start_date=BEGINNING,
        catchup=False,
        max_active_runs=4,
        deadline=late_load_alert(),
        default_args={**DEFAULTS, "priority_weight": PRIORITY},
        tags=["ingest", feed.exchange],
        description=headline(__doc__),
        doc_md=__doc__,
    ):
        build_partitions(feed, feed.settle)
