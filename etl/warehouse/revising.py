"""Changing candles that are stored: their old values become revisions, in the statement that puts the new ones in.

Each statement says the series and the bounds of what it touches, so that of compressed candles only those are unpacked.
"""

from __future__ import annotations

import pyarrow as pa
from sqlalchemy import ARRAY, Connection, DateTime, SmallInteger, bindparam, text

from etl.schema import CANDLE_COLUMNS, VALUE_COLUMNS, to_column, to_columns
from etl.timeframe import from_ms
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of

_NAMES = (*(column.name for column in CANDLE_COLUMNS), "stored_at")
_STAGING = "CREATE TEMP TABLE IF NOT EXISTS touched_candles (LIKE candles INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
# The new value stands since now, as the staging table has it.
_REVISE = """
WITH differing AS (
    SELECT old.*, (SELECT count(*) FROM candle_revisions earlier
                   WHERE earlier.series_id = old.series_id AND earlier.open_time = old.open_time) AS so_far
    FROM candles old JOIN touched_candles new ON new.open_time = old.open_time
    WHERE old.series_id = :series_id AND old.open_time >= :first AND old.open_time <= :last
      AND ({old_values}) IS DISTINCT FROM ({new_values})
), kept AS (
    INSERT INTO candle_revisions (series_id, {names}, revision, run)
    SELECT series_id, {names}, so_far + 1, :run FROM differing
)
UPDATE candles SET {assignments} FROM touched_candles new
WHERE candles.series_id = :series_id AND candles.open_time >= :first AND candles.open_time <= :last
  AND candles.open_time = new.open_time AND ({stored_values}) IS DISTINCT FROM ({new_values})
""".format(  # noqa: S608  # made of our own columns' names
    names=", ".join(_NAMES),
    old_values=", ".join(f"old.{name}" for name in VALUE_COLUMNS),
    new_values=", ".join(f"new.{name}" for name in VALUE_COLUMNS),
    stored_values=", ".join(f"candles.{name}" for name in VALUE_COLUMNS),
    assignments=", ".join(f"{name} = new.{name}" for name in _NAMES if name != "open_time"),
)
# Of two changes in one transaction nobody saw what was between them.
KEEP_FLAGS = """
INSERT INTO flag_changes (series_id, open_time, flags)
SELECT candles.series_id, candles.open_time, candles.flags FROM candles JOIN {new} AS new USING (open_time)
WHERE candles.series_id = :series_id AND candles.open_time >= :first AND candles.open_time <= :last
  AND candles.flags <> new.flags
ON CONFLICT DO NOTHING
"""
_NEW_FLAGS = "unnest(:times, :flags)"
_REFLAG = f"""
WITH kept AS ({KEEP_FLAGS.format(new=f"(SELECT * FROM {_NEW_FLAGS} AS given(open_time, flags))")})
UPDATE candles SET flags = new.flags FROM {_NEW_FLAGS} AS new(open_time, flags)
WHERE candles.series_id = :series_id AND candles.open_time >= :first AND candles.open_time <= :last
  AND candles.open_time = new.open_time
"""  # noqa: S608  # made of constants


def revise(connection: Connection, series_id: int, changed: pa.Table, run: str) -> None:
    """Keep the old values of candles as revisions and put the new ones in their place.

    Args:
        changed: The new values of candles that are stored: CANDLE_SCHEMA, ascending by open_time.
        run: The run that brought them.
    """
    connection.execute(text(_STAGING))
    with cursor_of(connection) as cursor:
        copy_in(cursor, "touched_candles", series_id, changed)
    times = to_column(changed, "open_time")
    bounds = {"first": from_ms(int(times[0])), "last": from_ms(int(times[-1]))}
    connection.execute(text(_REVISE), {"series_id": series_id, "run": run, **bounds})


def reflag(connection: Connection, series_id: int, reflagged: pa.Table) -> None:
    """Let the rules' flags stand that hold now, and keep what they were. The values stay: nothing is revised.

    Args:
        reflagged: CANDLE_SCHEMA, ascending by open_time.
    """
    columns = to_columns(reflagged)
    times = [from_ms(at) for at in columns["open_time"].tolist()]
    statement = text(_REFLAG).bindparams(
        bindparam("times", type_=ARRAY(DateTime(timezone=True))), bindparam("flags", type_=ARRAY(SmallInteger))
    )
    bounds = {"series_id": series_id, "first": times[0], "last": times[-1]}
    connection.execute(statement, {"times": times, "flags": columns["flags"].tolist(), **bounds})
