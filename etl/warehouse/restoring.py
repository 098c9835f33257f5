"""Putting the tables right again, from what is intact. The caller holds the series' lock.

Nothing of it is a revision: the exchange has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, func, select, text, update

from etl.schema import to_column, value_hash
from etl.series import TimeRange, clip
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import tables
from etl.warehouse.absences import read_absences
from etl.warehouse.checkpoints import Checkpoint
from etl.warehouse.copying import copy_in
from etl.warehouse.loads import LoadReport, write_load
from etl.warehouse.reading import cursor_of
from etl.warehouse.revising import KEEP_FLAGS

_GONE = text(
    "DELETE FROM candles WHERE series_id = :series_id AND open_time >= :first AND open_time <= :last AND open_time IN"
    " (SELECT to_timestamp(at / 1000.0) FROM unnest(:times) AS gone(at))"
).bindparams(bindparam("times", type_=ARRAY(BigInteger)))

# A candle stands here since it came, or since its last earlier value was replaced; not since it was put right.
_SINCE = """
UPDATE restored_candles SET stored_at = coalesce(
    (SELECT stored_at FROM candles
     WHERE candles.series_id = restored_candles.series_id AND candles.open_time = restored_candles.open_time),
    (SELECT max(replaced_at) FROM candle_revisions old
     WHERE old.series_id = restored_candles.series_id AND old.open_time = restored_candles.open_time),
    stored_at)
"""

# A value stands until the next comes: extended, an earlier value tells nothing before it was known. What follows the
# last one is not here if it was retired: that one stays as it is.
_FOLLOW = """
WITH chain AS (
    SELECT series_id, open_time, old.revision, old.stored_at, old.replaced_at,
           row_number() OVER in_order AS place,
           least(candles.stored_at, min(nullif(old.stored_at, '-infinity')) OVER after_it) AS following
    FROM candle_revisions old LEFT JOIN candles USING (series_id, open_time)
    WHERE series_id = :series_id AND open_time >= :start AND open_time < :end
    WINDOW in_order AS (PARTITION BY open_time ORDER BY old.revision),
           after_it AS (in_order ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
)
UPDATE candle_revisions SET
    revision = -place, stored_at = least(chain.stored_at, following),
    replaced_at = CASE WHEN chain.stored_at = '-infinity' THEN least(chain.replaced_at, following)
                       ELSE coalesce(following, chain.replaced_at) END
FROM chain
WHERE candle_revisions.series_id = chain.series_id AND candle_revisions.open_time = chain.open_time
  AND candle_revisions.revision = chain.revision
"""


def restore_candles(connection: Connection, series_id: int, gone: NDArray[np.int64], right: pa.Table) -> None:
    """Take candles out, and put others in or in the place of those that are there.

    Args:
        gone: Open times in milliseconds since the epoch.
        right: CANDLE_SCHEMA.
    """
    connection.execute(text("CREATE TEMP TABLE restored_candles (LIKE candles INCLUDING DEFAULTS) ON COMMIT DROP"))
    with cursor_of(connection) as cursor:
        copy_in(cursor, "restored_candles", series_id, right)
    connection.execute(text(_SINCE))
    replaced = np.concatenate([gone, to_column(right, "open_time")])
    if len(replaced):
        # Without bounds, all compressed candles of the series would be unpacked.
        bounds = {"first": from_ms(int(replaced.min())), "last": from_ms(int(replaced.max()))}
        connection.execute(text(KEEP_FLAGS.format(new="restored_candles")), {"series_id": series_id, **bounds})
        connection.execute(_GONE, {"series_id": series_id, "times": replaced.tolist(), **bounds})
    connection.execute(text("INSERT INTO candles SELECT * FROM restored_candles"))
    connection.execute(text("DROP TABLE restored_candles"))


def follow_revisions(connection: Connection, series_id: int, time_range: TimeRange) -> None:
    """Number the earlier values of each candle from 1, and let each stand until the next one."""
    bounds = {"series_id": series_id, "start": time_range.start, "end": time_range.end}
    connection.execute(text(_FOLLOW), bounds)
    own = tables.candle_revisions
    # In two steps, so that no two of a candle have one number on the way.
    connection.execute(
        update(own).where(own.c.series_id == series_id, own.c.revision < 0).values(revision=-own.c.revision)
    )


def renew_checkpoint(
    connection: Connection,
    series_id: int,
    timeframe: Timeframe,
    checkpoint: Checkpoint,
    files: Sequence[str],
    candles: pa.Table,
) -> bool:
    """Let a checkpoint say what is held now; who has loaded it and when stays.

    Args:
        files: The archive's that hold it.
        candles: What is held of its range.

    Returns:
        Whether it said something else.
    """
    span = checkpoint.time_range
    inside = (clip(absence.span, span) for absence in read_absences(connection, series_id, span))
    renewed = replace(
        checkpoint,
        rows=candles.num_rows,
        absent=sum(piece.count(timeframe) for piece in inside if piece is not None),
        value_hash=value_hash(candles),
        archive_files=tuple(files),
    )
    own = tables.checkpoints
    where = (own.c.series_id == series_id, own.c.range_start == span.start, own.c.range_end == span.end)
    facts = {"rows": renewed.rows, "absent": renewed.absent, "value_hash": renewed.value_hash}
    connection.execute(update(own).where(*where).values(**facts, archive_files=list(files)))
    return renewed != checkpoint


def log_mending(connection: Connection, series_id: int, time_range: TimeRange, run: str) -> None:
    """Write into the journal that a range was accounted for anew: its absences are to be judged, nobody to be told."""
    own = tables.candles.c
    is_there = (own.series_id == series_id, own.open_time >= time_range.start, own.open_time < time_range.end)
    rows = connection.execute(select(func.count()).where(*is_there)).scalar_one()
    report = LoadReport(rows=rows, new=0, revised=0, absent=0, quarantined=0)
    write_load(connection, series_id, time_range, run, report, is_announced=True, is_history=True)
