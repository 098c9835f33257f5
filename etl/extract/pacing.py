"""Staying below an exchange's limit, by the exchange's own count.

Binance says with every answer what this address has spent in the current minute. That count holds for every process
and machine behind the address, so it is the one to go by: nothing is guessed and nothing is shared between processes.
"""

from __future__ import annotations

import asyncio
import logging
import time

log = logging.getLogger(__name__)

_MINUTE_S = 60.0


class Pacer:
    """Holds requests back while the minute's weight is spent, or while the exchange wants us to stay away.

    Args:
        weight_per_minute: What may be spent in a minute of the exchange's clock.
    """

    def __init__(self, weight_per_minute: int) -> None:
        self.weight_per_minute = weight_per_minute
        self._used = 0
        self._in_flight = 0
        self._resume_at = 0.0

    async def spend(self, weight: int) -> None:
        """Wait until `weight` may be spent, and count it as under way."""
        while True:
            now = time.monotonic()
            if now < self._resume_at:
                await asyncio.sleep(self._resume_at - now)
            elif self._used + self._in_flight + weight > self.weight_per_minute:
                self._used = 0
                self.pause(_MINUTE_S - time.time() % _MINUTE_S + 0.1)
                log.info("the minute's weight is spent; going on with the next minute")
            else:
                self._in_flight += weight
                return

    def settle(self, weight: int, used_weight: int | None) -> None:
        """Take a request as done. `used_weight` is the exchange's count, where it gave one."""
        self._in_flight -= weight
        if used_weight is not None:
            self._used = used_weight

    def pause(self, seconds: float) -> None:
        """Hold everyone back for `seconds`."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)
