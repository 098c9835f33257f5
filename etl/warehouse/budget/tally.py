"""Count of an exchange for its present clock window.

Binance tells with every answer what the address has spent in the minute by its own clock. Answers overtake each other,
and its minute does not turn when ours does: what is read here allows for both.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
"""

from __future__ import annotations

from collections import deque

_KEPT = 3  # of the latest counts; a late one among them is seen by its size
_DOUBT = 1 / 12  # of a window, at its beginning, in which a count may still be of the window before
_LONGEST_LAG_S = 0.1


class Tally:
    """The latest counts of the present window. Times are seconds since the epoch.

    Args:
        interval_s: The window's length; windows begin at multiples of it.

    Attributes:
        is_told: Whether the exchange gives counts at all.
    """

    def __init__(self, interval_s: float) -> None:
        self.is_told = False
        self._interval_s = interval_s
        self._lag_s = min(_LONGEST_LAG_S, interval_s / 50)
        self._window = -1
        self._before: int | None = None
        self._counts: deque[int] = deque(maxlen=_KEPT)

    def note(self, used_weight: int, now_s: float) -> None:
        """Take a count that has just arrived."""
        self.is_told = True
        self._turn(now_s)
        is_early = (now_s - self._lag_s) % self._interval_s < self._interval_s * _DOUBT
        if is_early and not self._counts and self._before is not None and used_weight >= self._before:
            return  # it has not begun to count anew
        self._counts.append(used_weight)

    def used_weight(self, now_s: float) -> int:
        """Return the last count; 0 if there is none of this window yet."""
        self._turn(now_s)
        return self._counts[-1] if self._counts else 0

    def sure_weight(self, now_s: float) -> tuple[int, int] | None:
        """Return the number of the window and what it has counted at least, whichever of its answers was late."""
        self._turn(now_s)
        return (self._window, min(self._counts)) if self._counts else None

    def left_s(self, now_s: float) -> float:
        """Return how long the present window goes on."""
        return self._interval_s - (now_s - self._lag_s) % self._interval_s

    def _turn(self, now_s: float) -> None:
        window = int((now_s - self._lag_s) // self._interval_s)
        if window != self._window:
            self._before = self._counts[-1] if self._counts and window == self._window + 1 else None
            self._window = window
            self._counts.clear()
