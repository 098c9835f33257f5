"""### Scoring: what a load has brought is judged by the champion of its time, and what is strange becomes an incident.

**Schedule** None by the clock: a run starts when candles were loaded (asset `candles`), or a model was trained (asset
`models`). It is not paused. `due` looks up in the journal of loads what no model has judged yet, so that nothing is
lost though a run was; a mapped task for each series.

**Inputs** The candles of the loads, revised ones among them, those before them, and the same asset on other
exchanges; the champion, and `alerts.toml`.

**Outputs** Tables `anomalies` and `incidents`: consecutive anomalies are one incident, with what it looks like, how
seldom such a one is, and whether the market saw it or this venue alone. In the same transaction an alert in the
outbox, for what is news: backfills, repairs and candles older than `news` in `alerts.toml` become incidents and alert
nobody. Then an asset event `alerts`, which makes `deliver_alerts` run.

**Safe to rerun?** Yes, any task, any run: what is found again is not written again, nor told again. What another
model or a revision makes of a candle replaces what was found before, which stays on record. `chandler score` does the
same on a terminal.

**When it is red** The task's label names the series, and its log says above `Task failed with exception` what happened
and what to do about it. Do it and clear the task, or wait for the next load: what is not scored is still due. A skipped
`due` has nothing to do: its log says which series wait for a model, and what makes one. `finished` is there to let a
run fail though its alerts were announced.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG
from chandler_airflow.partitions import CANDLES, DEFAULTS, headline
from chandler_airflow.scoring import build_scoring
from chandler_airflow.training import MODELS

with DAG(
    "score_anomalies",
    schedule=(CANDLES | MODELS),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args=dict(DEFAULTS),
    tags=["models", "alerts"],
    description=headline(__doc__),
    doc_md=__doc__,
):
    build_scoring()
