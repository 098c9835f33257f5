"""Earlier values of candles, and their replacements."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select, tuple_

from etl.schema import VALUE_COLUMNS
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.warehouse.tables import candle_revisions, candles, series

Change = tuple[float | None, float | None]
"""A value before and after; None if it is not given."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A value of a candle that was replaced by another.

    Attributes:
        number: 1 is the value first stored.
        before: By column, the value that was replaced.
        after: By column, the value after; None if that is in the archive alone.
        stored_at: Since when the value before stood here; None if an earlier version did not keep that.
        run: The run that brought the value after.
    """

    series: Series
    open_time: datetime
    number: int
    before: Mapping[str, float | None]
    after: Mapping[str, float | None] | None
    stored_at: datetime | None
    replaced_at: datetime
    run: str

    @property
    def changed(self) -> Mapping[str, Change]:
        """By column, the value before and after; what stayed the same is not in it, and nothing if `after` is not."""
        after = self.before if self.after is None else self.after
        return {name: (old, after[name]) for name, old in self.before.items() if old != after[name]}


def read_revisions(
    connection: Connection,
    only: Collection[Series] = (),
    time_range: TimeRange | None = None,
    limit: int | None = None,
) -> list[Revision]:
    """Return revisions, the latest first.

    Args:
        only: Whose; without, of all series.
        time_range: Those of candles that open there.
    """
    own = candle_revisions.c
    wanted = select(candle_revisions, series.c.exchange, series.c.symbol, series.c.timeframe).join(series)
    if only:
        names = [(one.exchange, one.symbol, one.timeframe.value) for one in only]
        wanted = wanted.where(tuple_(series.c.exchange, series.c.symbol, series.c.timeframe).in_(names))
    if time_range is not None:
        wanted = wanted.where(own.open_time >= time_range.start, own.open_time < time_range.end)
    old = wanted.order_by(own.replaced_at.desc(), own.series_id, own.open_time.desc()).limit(limit).subquery("old")
    later = candle_revisions.alias("later")
    same_candle = (candles.c.series_id == old.c.series_id) & (candles.c.open_time == old.c.open_time)
    next_value = (
        (later.c.series_id == old.c.series_id)
        & (later.c.open_time == old.c.open_time)
        & (later.c.revision == old.c.revision + 1)
    )
    names_of = ("exchange", "symbol", "timeframe", "open_time", "revision", "replaced_at", "run")
    is_last = later.c.revision.is_(None)
    query = (
        select(
            *(old.c[name] for name in names_of),
            (is_last & candles.c.open_time.is_(None)).label("is_followed_elsewhere"),
            func.nullif(old.c.stored_at, literal_column("'-infinity'")).label("stored_at"),
            *(old.c[name].label(f"{name}_before") for name in VALUE_COLUMNS),
            *(case((is_last, candles.c[name]), else_=later.c[name]).label(f"{name}_after") for name in VALUE_COLUMNS),
        )
        .join_from(old, later, next_value, isouter=True)
        .join(candles, same_candle, isouter=True)
        .order_by(old.c.replaced_at.desc(), old.c.series_id, old.c.open_time.desc())
    )
    return [_to_revision(row) for row in connection.execute(query)]


def count_revisions(connection: Connection, series_id: int, time_range: TimeRange | None = None) -> int:
    """Return how many values of the series were replaced, of candles that open in `time_range` or of all."""
    own = candle_revisions.c
    query = select(func.count()).where(own.series_id == series_id)
    if time_range is not None:
        query = query.where(own.open_time >= time_range.start, own.open_time < time_range.end)
    return connection.execute(query).scalar_one()


def _to_revision(row: Any) -> Revision:
    before, after = ({name: getattr(row, f"{name}_{when}") for name in VALUE_COLUMNS} for when in ("before", "after"))
    return Revision(
        series=Series(row.exchange, row.symbol, Timeframe(row.timeframe)),
        open_time=row.open_time,
        number=row.revision,
        before=before,
        after=None if row.is_followed_elsewhere else after,
        stored_at=row.stored_at,
        replaced_at=row.replaced_at,
        run=row.run,
    )
