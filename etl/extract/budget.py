"""Protocol of a budget for sources: leave to spend, and a way to say that the exchange has had enough."""

from __future__ import annotations

from typing import Protocol


class Budget(Protocol):
    """The weight that an exchange lets one address spend, shared by all who spend it."""

    async def spend(self, weight: int) -> None:
        """Wait until `weight` may be spent, and count it as spent."""

    def settle(self, weight: int, used_weight: int | None) -> None:
        """Take a request as answered. `used_weight` is the exchange's own count for the minute, where it gave one."""

    async def pause(self, seconds: float) -> None:
        """Hold everyone back for `seconds`, in whatever process they are."""

    def use(self) -> tuple[int, int]:
        """Return what was spent in the last interval, as far as is known here, and what may be."""
