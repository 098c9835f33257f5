"""One look at every line of a file: what of its days it holds, and whether it can be what the user says."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from etl.errors import ConfigError
from etl.extract.files.cells import NOT_GIVEN
from etl.extract.files.columns import FileColumns
from etl.extract.files.crowding import Crowding
from etl.extract.files.decimals import is_number
from etl.extract.files.identity import check_is_of, check_same
from etl.extract.files.names import PRICES
from etl.extract.files.times import ClockChanges, TimeReader, Undated, unreadable
from etl.series import Series
from etl.spelling import counted
from etl.timeframe import Timeframe, from_ms

_DAY_MS = 86_400_000
_LEAST_CHANCE = math.log(1e-6)
"""Less likely than so, open times do not happen to lie on a coarser grid."""
_MAX_NAMES = 20
MOST_OPEN = 1000
"""Stretches of slots that rows without a time leave open, each of which is a load of its own less."""
_CURRENCIES = frozenset({"bases", "quotes"})


@dataclass(slots=True)
class Day:
    """The rows of one UTC day in a file, by the slots that they open in; milliseconds since the epoch."""

    first_ms: int
    last_ms: int


@dataclass(slots=True)
class Survey:
    """Counts over the lines of a file.

    Attributes:
        blank: Lines without anything.
        rows: All others.
        dated: Rows that state an open time that can be.
        off_grid: Of these, how many do not open on the timeframe's grid.
        doubtful: Rows that state a time which may be two moments.
        text_bytes: About how long the lines are, by the UTC day that they are of, counted since the epoch.
        possible_ms: The slots in which doubtful rows may open; milliseconds since the epoch.
        first_reason: Reason why the first row that states no moment does not.
        open_ms: Begin and end of slots of which rows without a time may be any, as the rows beside them tell.
        remarks: What the rows say of themselves that tells nothing of the series; complete once it was checked.
    """

    columns: FileColumns
    series: Series
    times: TimeReader
    blank: int = 0
    rows: int = 0
    dated: int = 0
    off_grid: int = 0
    doubtful: int = 0
    text_bytes: Counter[int] = field(default_factory=Counter)
    days: dict[int, Day] = field(default_factory=dict)
    possible_ms: set[int] = field(default_factory=set)
    open_ms: set[tuple[int, int]] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    first_reason: str = ""
    _step_ms: int = 0
    _distinct: int = 0
    _last_ms: int | None = None
    _text_bytes: int = 0
    _off_grid_ms: int = 0
    _day: int | None = None
    _same: dict[str, set[str]] = field(default_factory=dict)
    _nameless: dict[str, int] = field(default_factory=dict)
    _changes: ClockChanges | None = None
    _crowding: Crowding = field(init=False)
    _twins: list[tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._crowding = Crowding(self.series.timeframe)
        self._twins = self.columns.twins()
        if self.times.zone is None:
            self._changes = ClockChanges(self.series.timeframe.ms, self.times.is_descending)

    def take(self, line: str, opened: int | Undated | None) -> None:
        """Take the next line, and when it opens; or why that is not known; None if it is blank."""
        if opened is None:
            self.blank += 1
            return
        self.rows += 1
        self._text_bytes += len(line) + 16  # and its stamp
        if isinstance(opened, Undated):
            self._take_undated(opened)
        else:
            self._take_time(opened)
            if opened % self.series.timeframe.ms == 0 and self._crowding.is_sampled(opened):
                self._take_values(opened, line)
            if self._twins:
                self._check_twins(line)
            if self.columns.same:
                self._take_names(line)
        if self._day is not None:
            self.text_bytes[self._day] += self._text_bytes
            self._text_bytes = 0

    def _take_undated(self, opened: Undated) -> None:
        self.first_reason = self.first_reason or opened.reason
        self.doubtful += opened.is_doubtful
        width_ms = self.series.timeframe.ms
        if opened.is_doubtful:
            self.possible_ms.update(at_ms // width_ms * width_ms for at_ms in opened.readings_ms)
        for at_ms in opened.readings_ms[:1]:
            self._day = at_ms // _DAY_MS
        if opened.between_ms is not None and not opened.readings_ms:
            self.open_ms.add(opened.between_ms)
            if len(self.open_ms) > MOST_OPEN:
                raise too_open(self.first_reason)

    def _take_time(self, at_ms: int) -> None:
        self.dated += 1
        if at_ms != self._last_ms:
            self._distinct += 1
            self._last_ms = at_ms
        self._step_ms = math.gcd(self._step_ms, at_ms)
        if self._changes is not None:
            self._changes.see(at_ms)
        if at_ms % self.series.timeframe.ms:
            self.off_grid += 1
            self._off_grid_ms = at_ms
            at_ms -= at_ms % self.series.timeframe.ms  # its slot, which the file says something of
        self._day = at_ms // _DAY_MS
        day = self.days.setdefault(self._day, Day(at_ms, at_ms))
        day.first_ms, day.last_ms = min(day.first_ms, at_ms), max(day.last_ms, at_ms)

    def _check_twins(self, line: str) -> None:
        """Refuse columns of one name that say different things: nothing tells which is meant."""
        cells = self.columns.cells(line)
        for one, other in self._twins if len(cells) == self.columns.width else ():
            if cells[one].strip() != cells[other].strip():
                names = self.columns.names
                raise ConfigError(
                    f"its columns {one + 1} and {other + 1} have the same name, {names[one]!r} and {names[other]!r}, "
                    f"and different values: {cells[one][:40]!r} and {cells[other][:40]!r}; rename or remove one of them"
                )

    def _take_values(self, at_ms: int, line: str) -> None:
        cells = self.columns.cells(line)
        if len(cells) != self.columns.width:
            return
        values = [cells[self.columns.places[name]].strip() for name in (*PRICES, "volume")]
        if any(value.lower() not in NOT_GIVEN for value in values[:-1]):
            self._crowding.see(at_ms, values)

    def _take_names(self, line: str) -> None:
        cells = self.columns.cells(line)
        if len(cells) != self.columns.width:
            return
        for kind, place in (self.columns.same or {}).items():
            names = self._same.setdefault(kind, set())
            name = cells[place].strip()
            if name.lower() in NOT_GIVEN:
                self._nameless[kind] = self._nameless.get(kind, 0) + 1
            is_value = kind in _CURRENCIES and is_number(name, ".")  # a price or a volume
            if len(names) < _MAX_NAMES and name.lower() not in NOT_GIVEN and not is_value:
                names.add(name)

    def check(self) -> None:
        """Check that the file can be candles of one series and of this timeframe, in UTC or in its zone.

        Raises:
            ConfigError: It cannot.
        """
        if self.rows == 0:
            raise ConfigError("it holds no row below its header")
        if 2 * (self.dated + self.doubtful) <= self.rows:
            raise unreadable(self.rows, self.dated + self.doubtful, self.first_reason)
        self._check_names()
        if 2 * self.off_grid > self.dated:
            raise ConfigError(
                f"{self.off_grid} of {self.dated} rows do not open on the {self.series.timeframe} grid, for example at "
                f"{from_ms(self._off_grid_ms):%Y-%m-%d %H:%M:%S}; give the timeframe that they have"
            )
        self._check_coarser()
        if self._changes is not None and self.times.naive and (zones := self._changes.zones()):
            raise ConfigError(
                f"{self._changes.example} is in it twice, as where clocks are set back that night "
                f"({', '.join(zones)}); name the zone of its times, for example --zone {zones[0]}, or --zone UTC"
            )
        self._crowding.check()

    def _check_names(self) -> None:
        for kind, names in self._same.items():
            check_same(kind, names)
            column = self.columns.names[(self.columns.same or {})[kind]]
            for name in sorted(names)[:1]:
                if (remark := check_is_of(kind, name, column, self.series)) is not None:
                    self.remarks.append(remark)
            if names and (nameless := self._nameless.get(kind)):
                says = "row says" if nameless == 1 else "rows say"
                self.remarks.append(f"{nameless:,} {says} nothing in column {column!r}: taken for the others' series")

    def _check_coarser(self) -> None:
        """Refuse open times that all lie on a coarser grid, where so many do not do so by chance."""
        coarser = [
            other
            for other in Timeframe
            if other.ms > self.series.timeframe.ms
            and self._step_ms % other.ms == 0
            and self._distinct * math.log(self.series.timeframe.ms / other.ms) < _LEAST_CHANCE
        ]
        if coarser:
            raise ConfigError(
                f"all {self.dated:,} rows open on the {coarser[-1]} grid: they are no candles of "
                f"{self.series.timeframe}; give their timeframe, for example {coarser[-1]}"
            )


def too_open(example: str) -> ConfigError:
    """Return the error of a file too many of whose rows may be of any of several slots."""
    places = counted(MOST_OPEN, "place")
    return ConfigError(
        f"rows state no open time, and those beside them leave several slots, at more than {places}, the first: "
        f"{example}; mend or remove these rows"
    )
