"""### Repair: what is absent is asked for again, a little at a time, until it is there or known not to be.

**Schedule** Hourly, at 20 minutes past, for all exchanges that a feed uses. It is not paused: what a load has left open
is closed without anybody thinking of it. Where nothing is absent and due it talks to no exchange and ends in seconds.

**Inputs** The absences in the warehouse whose next probe is due when the run's data interval ends. Each kind has its
own pauses, which grow; after the last the absence is confirmed and left alone. A run spends a small share of the
exchange's budget at most, and leaves the rest for the next hour.

**Outputs** What has appeared since: candles in archive and warehouse, as of any load; what has not: an absence of the
kind that the candles around it speak for. Then an asset event `candles`, with series and range, for every load that
nobody was told of: repairs, what `chandler` has loaded on a terminal, rows released from quarantine. Each is told of at
least once.

**Safe to rerun?** Yes, any task, any run: what was asked for has its next probe later, and what was told of is not told
again. One run at a time; a `chandler repair` on a terminal is waited for by leaving the exchange to it.

**When it is red** `repair_<exchange>`: the log says above `Task failed with exception` what happened and what to do
about it. The absences stay due, and the next hour asks again. A red `judge` names the series whose absences cannot be
classified; those of all others are. A red `announce` or `note_announced` is made up for by the next run. `finished` is
there to let a run fail though its last tasks have told what there was to tell.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG
from chandler_airflow.partitions import DEFAULTS, headline
from chandler_airflow.repairs import build_repairs
from chandler_airflow.timetables import CronIntervals

from etl.feeds_file import load_what_is_right

with DAG(
    "repair_gaps",
    schedule=CronIntervals("20 * * * *"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args=dict(DEFAULTS),
    tags=["repair"],
    description=headline(__doc__),
    doc_md=__doc__,
):
    build_repairs(load_what_is_right().exchanges_in_use)
