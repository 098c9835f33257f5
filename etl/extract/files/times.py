"""Open times of the rows of a file: as they stand there into milliseconds since the epoch, or a reason why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from etl.errors import ConfigError
from etl.extract.files.moments import FORMS, DayOrder, Undecided, to_moment
from etl.spelling import counted, nearest
from etl.timeframe import BEGINNING, from_ms, to_ms

_USUAL_DIGITS = {10: 1000, 13: 1}  # seconds and milliseconds since 2001, read without a look at other forms
_HOUR_MS = 3_600_000
_BEGINNING_MS = to_ms(BEGINNING)
# Where the clocks of most who keep candles in local time are set back.
_COMMON_ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Sao_Paulo", "Australia/Sydney", "Pacific/Auckland"),
)


@dataclass(frozen=True, slots=True)
class Undated:
    """Reason why a row states no open time that can be.

    Attributes:
        readings_ms: What it may mean, where that is one of two moments, or the slot that the rows beside it leave:
            milliseconds since the epoch, ascending.
        is_twice: True if the row states a local time that the clock shows twice.
        between_ms: Begin and end of the slots that the rows beside it leave, if they alone tell of it.
    """

    reason: str
    readings_ms: tuple[int, ...] = ()
    is_twice: bool = False
    between_ms: tuple[int, int] | None = None

    @property
    def is_doubtful(self) -> bool:
        """True if the row itself states a time, which may be two moments."""
        return bool(self.readings_ms) and self.between_ms is None


@dataclass(slots=True)
class TimeReader:
    """Reads the open times of a file's rows, in the file's order.

    Attributes:
        clock_ms: When the file was written; nothing in it opened later.
        zone: Of moments that say none; None for UTC.
        width_ms: Of a candle, all of which open on its grid: it may tell which of two hours a local time is in.
        order: Of days and months, if dates need one.
        is_descending: Whether the file begins with its newest row.
        doubled: How often each local time that the zone has twice stands in the file; None while that is counted.
    """

    clock_ms: int
    zone: ZoneInfo | None
    width_ms: int
    order: DayOrder | None = None
    is_descending: bool = False
    doubled: Counter[datetime] | None = None
    counted: Counter[datetime] = field(default_factory=Counter)
    naive: int = 0

    def read(self, text: str) -> int | Undated:
        """Return when a row opens, milliseconds since the epoch; or why that is not known."""
        if len(text) in _USUAL_DIGITS and text.isascii() and text.isdigit():
            moment: int | datetime | Undecided | None = int(text) * _USUAL_DIGITS[len(text)]
        else:
            moment = to_moment(text, self.order)
        at_ms = self._to_ms(moment) if isinstance(moment, datetime) else moment
        if isinstance(at_ms, Undated):
            return at_ms
        if not isinstance(at_ms, int):
            return Undated(f"the open time {text[:40]!r} cannot be read")
        if at_ms < _BEGINNING_MS:
            return Undated(f"the open time {text[:40]!r} is before {BEGINNING:%Y-%m-%d}")
        if at_ms > self.clock_ms:
            written = f"{from_ms(self.clock_ms):%Y-%m-%d %H:%M}"
            return Undated(f"the open time {text[:40]!r} is after {written}, when the file was written")
        return at_ms

    def _to_ms(self, moment: datetime) -> int | Undated:
        if moment.tzinfo is not None:
            return to_ms(moment)
        self.naive += 1
        if self.zone is None:
            return to_ms(moment.replace(tzinfo=UTC))
        first, second = (moment.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        earlier, later = first.utcoffset(), second.utcoffset()
        if earlier is None or later is None or earlier == later:
            return to_ms(first)
        readings = sorted([to_ms(first), to_ms(second)])
        on_grid = [at_ms for at_ms in readings if at_ms % self.width_ms == 0]
        is_one_slot = readings[0] // self.width_ms == readings[1] // self.width_ms
        possible = tuple(on_grid or (readings[:1] if is_one_slot else readings))
        if earlier < later:
            return Undated(
                f"the open time {moment} does not exist in {self.zone.key}: clocks are set forward", possible
            )
        if len(on_grid) == 1:
            return on_grid[0]
        self.counted[moment] += 1
        if self.doubled is not None and self.doubled[moment] != 2:  # noqa: PLR2004 (both of the hours)
            count = counted(self.doubled[moment], "time")
            return Undated(
                f"the open time {moment} is twice in {self.zone.key}, and {count} in the file", possible, True
            )
        is_first = self.counted[moment] == 1
        return to_ms(first if is_first is not self.is_descending else second)


def to_zone(name: str) -> ZoneInfo:
    """Return the time zone of a name.

    Raises:
        ConfigError: There is none.
    """
    known = available_timezones()
    if name not in known:
        raise ConfigError(f"unknown time zone {name!r}; write one such as Europe/Berlin or UTC{nearest(name, known)}")
    return ZoneInfo(name)


def find_order(cells: Iterable[str]) -> DayOrder | None:
    """Return the order of days and months in the dates of a whole file; None if they need none.

    Raises:
        ConfigError: The file does not tell, or contradicts itself.
    """
    first = day_first = month_first = None
    for cell in cells:
        moment = to_moment(cell, None)
        if not isinstance(moment, Undecided):
            continue
        if moment.a != moment.b:
            first = first or cell
        if moment.a > 12 and not day_first:  # noqa: PLR2004 (months)
            day_first = cell
        if moment.b > 12 and not month_first:  # noqa: PLR2004 (months)
            month_first = cell
    if day_first and month_first:
        raise ConfigError(
            f"its dates are {day_first!r} and {month_first!r}, days first and months first; write them as 2024-03-31"
        )
    if first and not day_first and not month_first:
        raise ConfigError(
            f"a date in it can be read in two ways: {first!r}, and no day after the 12th tells which; write dates as "
            "2024-03-31"
        )
    return DayOrder.MONTH_FIRST if month_first else DayOrder.DAY_FIRST


@dataclass(slots=True)
class ClockChanges:
    """Looks for what a file in local time has where clocks are set back: an hour twice.

    Attributes:
        width_ms: Of a candle.
    """

    width_ms: int
    is_descending: bool
    _last_ms: int | None = None
    _backward: list[int] = field(default_factory=list)

    def see(self, at_ms: int) -> None:
        """Take the next open time of the file, read as UTC."""
        if self._last_ms is not None:
            step = at_ms - self._last_ms if not self.is_descending else self._last_ms - at_ms
            if step == self.width_ms - _HOUR_MS <= 0 and len(self._backward) < 100:  # noqa: PLR2004 (years)
                self._backward.append(min(at_ms, self._last_ms))
        self._last_ms = at_ms

    def zones(self) -> list[str]:
        """Return the zones that set their clocks back whenever the file goes back an hour; none if it never does."""
        if not self._backward:
            return []
        return [name for name in _COMMON_ZONES if all(_is_set_back(at_ms, name) for at_ms in self._backward)]

    @property
    def example(self) -> str:
        """The first time that the file has twice."""
        return f"{from_ms(self._backward[0]):%Y-%m-%d %H:%M}"


@cache
def _is_set_back(at_ms: int, zone: str) -> bool:
    local = from_ms(at_ms).replace(tzinfo=ZoneInfo(zone))
    before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
    return (before or timedelta()) > (after or timedelta())


def unreadable(rows: int, dated: int, example: str) -> ConfigError:
    """Return the error of a file of whose rows most state no open time that can be."""
    return ConfigError(
        f"of {counted(rows, 'row')} only {dated:,} state when they open: {example}; what is read is {FORMS}"
    )
