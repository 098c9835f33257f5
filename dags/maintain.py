"""### Maintenance: the stores are tidied up, checked and kept fast, every night.

**Schedule** Daily at 03:40 UTC, for all series. It is not paused. Ages are reckoned from the end of the data interval.

**Inputs** Archive, raw pages and warehouse as they are, and `[keep]` in `feeds.toml`. No exchange is asked.

**Outputs** `convert`: rows that could not be written as Parquet are. `fold_raw`, `prune_raw`: raw pages that a killed
run has left are folded, those older than `raw` go. `make_days`: days that an earlier version has counted get their
candle. `flag_again`: candles that earlier rules or parameters have flagged are flagged by today's. `retire`: candles
older than `warehouse` leave the warehouse, once the archive is proved to hold them.
`tend_warehouse`: TimescaleDB compresses after `uncompressed`, empty chunks go.
`check_sample`: a thirtieth of the archive's files is read to the last byte, another one each night.
`refresh_aggregates`: coarser candles follow the finer ones. `vacuum`: tables of which much has changed. `summary` says
in its log what each has done, how long it took, and what is wrong.

**Safe to rerun?** Yes, any task, any run, at any time; `chandler maintain` does the same on a terminal.

**When it is red** The red step's log says above `Task failed with exception` what is wrong and what to do about it; the
others were done all the same. Do it, and clear the step, or wait for the next night. `finished` is there to let a run
fail with any of its steps. What each step may say stands in `docs/stores.md`.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG
from chandler_airflow.maintenance import build_maintenance
from chandler_airflow.partitions import DEFAULTS, headline
from chandler_airflow.timetables import CronIntervals

with DAG(
    "maintain_stores",
    schedule=CronIntervals("40 3 * * *"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args=dict(DEFAULTS),
    tags=["maintenance"],
    description=headline(__doc__),
    doc_md=__doc__,
):
    build_maintenance()
