"""Rows of a file that state no open time, and what the rows before and after them tell of it.

A row out of which no time can be read still is a row: the slot that it leaves in the order of the others is not known
to be empty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from etl.extract.files.times import Undated
from etl.timeframe import from_ms

FileRow = tuple[int, int | Undated | None, str]
"""The place of a line in the file, when it opens, or why that is not known (None if it is blank), and the line."""

_MOST_WAITING = 1000
"""Rows without a time, one after the other, that are in memory until one with a time tells of them."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The order of a file's rows, as evidence of when those open that do not state it.

    Attributes:
        width_ms: Of a candle.
        is_descending: Whether the file begins with its newest row.
        names: The lines that name columns; a copy of one among the rows stands for no candle.
    """

    width_ms: int
    is_descending: bool
    names: Collection[str] = ()

    def tell(self, rows: Iterable[FileRow]) -> Iterator[FileRow]:
        """Yield rows in their order, those without a time with what the rows beside them tell; see `Undated`.

        Where as many slots are free as there are such rows, or one, each row is of its own; else they may be of any.
        Of rows whose local times may be two moments, and that fill the free slots, each opens where it fills its own.
        """
        waiting: deque[tuple[int, Undated, str]] = deque()
        before_ms: int | None = None
        is_whole = True
        for row in rows:
            number, opened, line = row
            if opened is None or (isinstance(opened, Undated) and before_ms is None):
                yield row
            elif isinstance(opened, Undated):
                waiting.append((number, opened, line))
                if len(waiting) > _MOST_WAITING:
                    is_whole = False
                    yield waiting.popleft()
            else:
                slot_ms = opened - opened % self.width_ms
                if waiting and before_ms is not None:
                    yield from self._told(waiting, before_ms, slot_ms, is_whole)
                    waiting.clear()
                    is_whole = True
                before_ms = slot_ms
                yield row
        yield from waiting

    def _told(
        self, waiting: Collection[tuple[int, Undated, str]], before_ms: int, after_ms: int, is_whole: bool
    ) -> Iterator[FileRow]:
        first_ms, last_ms = sorted((before_ms, after_ms))
        free = range(first_ms + self.width_ms, last_ms, self.width_ms)
        if not free or (before_ms > after_ms) is not self.is_descending:
            yield from waiting
            return
        between_ms = (free[0], free[-1] + self.width_ms)
        slots = self._slots([row for row in waiting if row[2] not in self.names], free) if is_whole else {}
        for number, opened, line in waiting:
            at_ms = slots.get(number)
            if line in self.names:
                yield number, opened, line
            elif opened.readings_ms:
                yield number, opened if at_ms is None else at_ms, line
            elif at_ms is None:
                yield number, replace(opened, between_ms=between_ms), line
            else:
                reason = f"{opened.reason}; between the rows beside it opens {from_ms(at_ms):%Y-%m-%d %H:%M}"
                yield number, Undated(reason, (at_ms,), between_ms=between_ms), line

    def _slots(self, rows: Sequence[tuple[int, Undated, str]], free: range) -> dict[int, int]:
        """Return when each of some rows opens that fill all free slots, or one; nothing where they do not."""
        if len(free) == 1 and not any(opened.readings_ms for _, opened, _ in rows):
            return {number: free[0] for number, _, _ in rows}
        if len(rows) != len(free):
            return {}
        slots = {}
        for (number, opened, _), slot_ms in zip(rows, free[::-1] if self.is_descending else free, strict=True):
            own = [at_ms for at_ms in opened.readings_ms if at_ms - at_ms % self.width_ms == slot_ms]
            if opened.readings_ms and not (opened.is_twice and own):
                return {}
            slots[number] = own[0] if own else slot_ms
        return slots
