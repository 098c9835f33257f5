"""Candles for which a file has several different rows: a few are revisions, many are rows of a finer timeframe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from etl.errors import ConfigError
from etl.spelling import counted
from etl.timeframe import Timeframe, from_ms

_MAX_CANDLES = 4096
"""Candles whose rows are kept: beyond as many, of half of them."""
_MAX_ROWS = 2 * 1440  # for one candle; a day has so many minutes
_FEW = 5
"""So many rows beyond one for each candle are revisions, however short the file is."""
_SPREAD = 0x9E3779B97F4A7C15  # an odd number close to 2**64 divided by the golden ratio: neighbours come far apart


@dataclass(slots=True)
class Crowding:
    """Counts of different rows for one candle, over a sample of candles that depends on their open times alone.

    Attributes:
        timeframe: Of the candles.
    """

    timeframe: Timeframe
    _rows: dict[int, set[int]] = field(default_factory=dict)
    _bits: int = 0

    def see(self, at_ms: int, values: Sequence[str]) -> None:
        """Take a row that opens on the grid.

        Args:
            values: Its prices and its volume, as they are written.
        """
        rows = self._rows.setdefault(at_ms, set())
        if len(rows) < _MAX_ROWS:
            rows.add(hash(tuple(values)))
        while len(self._rows) > _MAX_CANDLES:
            self._bits += 1
            self._rows = {other: kept for other, kept in self._rows.items() if self.is_sampled(other)}

    def is_sampled(self, at_ms: int) -> bool:
        """Return whether rows that open at a moment are counted."""
        return not self._bits or (at_ms // self.timeframe.ms * _SPREAD & (1 << 64) - 1) >> (64 - self._bits) == 0

    def check(self) -> None:
        """Check that the candles have a row each, but for revisions.

        Raises:
            ConfigError: Most candles, or most rows, are of candles with several different rows.
        """
        counts = [len(rows) for rows in self._rows.values()]
        several = [count for count in counts if count > 1]
        more = sum(several) - len(several)
        if more <= _FEW or (2 * len(several) <= len(counts) and 2 * more <= sum(counts)):
            return
        usual, _ = Counter(several).most_common(1)[0]
        example_ms = next(at_ms for at_ms, rows in self._rows.items() if len(rows) == usual)
        finer = [one for one in Timeframe if one.ms * usual == self.timeframe.ms]
        looks = f"candles of {finer[0]}" if finer else "candles of a finer timeframe, or of several series"
        raise ConfigError(
            f"{counted(usual, 'different row')} open at {from_ms(example_ms):%Y-%m-%d %H:%M}, and {len(several):,} of "
            f"{counted(len(counts), 'candle')} have several rows: they look like {looks}, told apart by a column that "
            "is not read; write date and time of day in one column, such as 2024-03-31 14:00, and give its timeframe, "
            "or leave one row for each candle"
        )
