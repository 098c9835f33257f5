"""### Training: every night models learn what normal looks like, and the best of them judges from then on.

**Schedule** Daily at 04:30 UTC, after the stores were tended. It is not paused. A model learns from what opens before
the end of the data interval, and never from anything later.

**Inputs** Candles in the warehouse, as of the moment when the task begins, and `[models]` in `feeds.toml`: filled,
quarantined and flagged ones are not learned. A mapped task for each timeframe that a feed has, over all its series,
or with `per_series` for each series.

**Outputs** The table `models`: an LSTM that goes on from the last one, or a baseline that did better, with metrics, a
report and the blob. It becomes champion only if it is measurably better than the champion on weeks that neither has
learned, with planted anomalies, at the same alert budget; otherwise all stays as it is. The task's log says which and
why; its button Report (tab Details) leads to the whole comparison. An asset event `models` makes `score_anomalies`
judge what has waited for a model.

**Safe to rerun?** Yes, at any time: all that a night decides is written in one transaction at its end; killed before,
it leaves nothing. A rerun that finds the very same candles has nothing to do; with others (repaired, or loaded since)
it is one more training, with a version of its own. `chandler train` does the same on a terminal.

**When it is red** The task's label names the timeframe, and its log says above `Task failed with exception` what
happened and what to do about it. The champion is what it was. Do it and clear the task, or wait for the next night. A
skipped task (pink) is none of this: there are too few candles to learn from so far, and the log says of which series
how many; `history_<feed>` loads the past.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG
from chandler_airflow.partitions import DEFAULTS, headline
from chandler_airflow.timetables import CronIntervals
from chandler_airflow.training import build_training

from etl.feeds_file import load_what_is_right
from models.targets import targets_of

with DAG(
    "train_models",
    schedule=CronIntervals("30 4 * * *"),
    # A night of the past can be trained too, by hand.
    start_date=datetime(2010, 1, 1, tzinfo=UTC),
    catchup=False,
    is_paused_upon_creation=False,
    max_active_runs=1,
    default_args=dict(DEFAULTS),
    tags=["models"],
    description=headline(__doc__),
    doc_md=__doc__,
):
    build_training([str(target) for target in targets_of(load_what_is_right())])
