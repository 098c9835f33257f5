"""### Delivery: what is strange, and what is wrong with the pipeline, reaches people where they read.

**Schedule** When `score_anomalies` has put alerts into the outbox (asset `alerts`), and every five minutes besides. It
is not paused. Without channels in `alerts.toml` it sends nothing.

**Inputs** The outbox: alerts of incidents and of the pipeline, messages that wait for a channel. `alerts.toml`; where a
channel leads stands in the Connection `chandler_channel_<name>`.

**Outputs** `watch` puts old gaps, fallback files and dead channels into the outbox. `ask` asks a language model for a
second opinion, where `[opinion]` says so, and is skipped otherwise. `deliver` decides whom to tell, groups what belongs
together, and sends; its log says what became of each message. A channel that is down makes no task red: its messages
wait, with growing pauses, and are sent once it is back.

**Safe to rerun?** Yes, any task, any run, at any time: what was sent is not sent again. Killed while it sends, a
message may arrive twice, and the second says so. `chandler alerts send` does the same on a terminal.

**When it is red** The log says above `Task failed with exception` what happened and what to do about it: the warehouse
is away, or `alerts.toml` says something that cannot be meant. Nothing is lost: alerts stay in the outbox, and the next
run sends them.
"""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule
from chandler_airflow.alerting import ALERTS, build_delivery
from chandler_airflow.partitions import DEFAULTS, headline
from chandler_airflow.timetables import CronIntervals

with DAG(
    "deliver_alerts",
    schedule=AssetOrTimeSchedule(timetable=CronIntervals("*/5 * * * *"), assets=[ALERTS]),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    # Soon again, since the next run waits for this one; and nobody is told that telling has failed.
    default_args={
        **DEFAULTS,
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "max_retry_delay": timedelta(minutes=1),
        "on_failure_callback": None,
        # Before loads: what is to be told waits for no day of candles.
        "priority_weight": 50,
    },
    tags=["alerts"],
    description=headline(__doc__),
    doc_md=__doc__,
):
    build_delivery()
