"""Leases on a budget: weights taken from the bucket in small amounts, and spent here.

A lease is a slot in the bucket, taken by a thread while requests queue up, and good for half a second: what is not
spent by then is given up, so that a pause of the exchange's is seen soon and arrivals stay close to what was counted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from etl.errors import ConfigError, RateLimitError
from etl.warehouse.budget.bucket import HORIZON_S, Bucket, Look, take_slot
from etl.warehouse.budget.memory import MemoryBucket
from etl.warehouse.budget.shared import WarehouseBucket
from etl.warehouse.budget.tally import Tally
from etl.warehouse.budget.terms import Terms
from etl.warehouse.database import Warehouse

log = logging.getLogger(__name__)

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

_FRESH_S = 0.5
_GLANCE_S = 0.25  # the longest sleep without a look at whether the exchange wants us away
_AHEAD_S = 0.2
_TIDY_S = 10.0
_LONGEST_WAIT_S = 300.0  # whoever is to stay away for longer is told so, and keeps no worker waiting
_LONGEST_PAUSE_S = 7 * 86_400.0


class LeasedBudget:
    """The weight that an exchange lets one address spend, for one event loop. Use it as a context manager.

    Args:
        bucket: Where it is counted.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._terms = bucket.terms
        self._tally = Tally(bucket.terms.interval_s)
        self._epoch_s = time.time() - time.monotonic()
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._server: asyncio.Task[None] | None = None
        self._held = 0
        self._fresh_until = 0.0
        self._resume_at = 0.0
        self._under_way = 0
        self._recent = 0
        self._leased_at = 0.0
        self._tidied_at = -math.inf
        self._look: Look | None = None

    async def __aenter__(self) -> Self:
        """Open the bucket.

        Raises:
            StoreUnavailableError: It cannot be reached.
        """
        await _in_thread(self._bucket.open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it. Who still waits is cancelled."""
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait([self._server])
        await _in_thread(self._bucket.close)

    async def spend(self, weight: int) -> None:
        """Wait until `weight` may be spent, in the order of asking, and count it as under way.

        Raises:
            ConfigError: It is more than is permitted at all.
            RateLimitError: The exchange wants us away for more than five minutes.
            StoreUnavailableError: The warehouse does not answer.
        """
        if weight > self._terms.permitted:
            raise ConfigError(f"a request costs {weight}, and {self._terms.permitted} may be spent; permit more")
        if self._queue or not self._may_spend(weight):
            await self._wait(weight)
        else:
            self._grant(weight)

    def settle(self, weight: int, used_weight: int | None) -> None:
        """Take a request as answered.

        Args:
            weight: What was spent on it.
            used_weight: The exchange's own count for its present clock window, where it gave one.
        """
        self._under_way = max(0, self._under_way - weight)
        if used_weight is not None:
            self._tally.note(used_weight, self._now_s())

    async def pause(self, seconds: float) -> None:
        """Hold everyone back for `seconds`, up to a week: here at once, elsewhere within a second.

        Raises:
            StoreUnavailableError: The warehouse does not answer; the pause holds here alone.
        """
        seconds = min(max(0.0, seconds), _LONGEST_PAUSE_S)
        self._stay_away(time.monotonic() + seconds)
        await _in_thread(self._bucket.pause, seconds)

    def use(self) -> tuple[int, int]:
        """Return what was spent in the last interval, by all as far as is known here, and what may be."""
        look = self._look
        if look is None or time.monotonic() - look.seen_at > self._terms.interval_s:
            return 0, self._terms.permitted
        return look.spent_units * self._terms.unit, self._terms.permitted

    async def _wait(self, weight: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((weight, waiter))
        if self._server is None:
            self._server = asyncio.create_task(self._serve())
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._under_way -= weight
                self._held += weight
            raise

    async def _serve(self) -> None:
        """Serve the queue in its order until it is empty."""
        try:
            while self._queue:
                weight, waiter = self._queue[0]
                self._refuse_a_long_wait()
                if waiter.done():
                    self._queue.popleft()
                elif (away_s := self._away_s(weight)) > 0:
                    await asyncio.sleep(min(away_s, _GLANCE_S))
                elif self._may_spend(weight):
                    self._queue.popleft()
                    self._grant(weight)
                    waiter.set_result(None)
                else:
                    await self._lease()
        except Exception as error:  # noqa: BLE001 # it is theirs who wait: each of them raises it
            for _, waiter in self._queue:
                if not waiter.done():
                    waiter.set_exception(error)
        finally:
            self._server = None
            for _, waiter in self._queue:
                waiter.cancel()
            self._queue.clear()

    def _refuse_a_long_wait(self) -> None:
        if (left_s := self._resume_at - time.monotonic()) > _LONGEST_WAIT_S:
            message = f"the exchange wants us away for another {timedelta(seconds=round(left_s))}; run it again then"
            raise RateLimitError(message, retry_after_s=left_s)

    async def _lease(self) -> None:
        """Take the next slot, and wait for its moment."""
        now = time.monotonic()
        # A little more than is asked for, at the pace of late, so that not every page costs a lease.
        ahead = self._recent * min(1.0, _AHEAD_S / max(now - self._leased_at, 0.001))
        wanted = sum(weight for weight, waiter in self._queue if not waiter.done()) + int(ahead) - self._held
        first = math.ceil((self._queue[0][0] - self._held) / self._terms.unit)
        # A request that costs more than a lease is paid at once if it can be, so that no part of it grows old.
        most = max(self._terms.lease_units, first if first <= self._terms.rates[0].limit else 0)
        units = min(max(1, math.ceil(wanted / self._terms.unit)), most)
        slot = await _in_thread(take_slot, self._bucket, units, self._tally.sure_weight(self._now_s()))
        self._see(slot.look)
        await self._tidy(slot.look)
        if not slot.is_taken:
            await asyncio.sleep(min(max(0.0, slot.ready_at - time.monotonic() - HORIZON_S / 2), _GLANCE_S))
            return
        self._recent, self._leased_at = 0, now
        if await self._reach(slot.ready_at):
            self._held += units * self._terms.unit
            self._fresh_until = slot.ready_at + _FRESH_S

    async def _reach(self, ready_at: float) -> bool:
        """Wait for a moment; return whether nobody was sent away meanwhile."""
        while (left_s := ready_at - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, _GLANCE_S))
            if left_s > _GLANCE_S:
                self._see(await _in_thread(self._bucket.look))
            if self._resume_at > time.monotonic():
                return False
        return True

    async def _tidy(self, look: Look) -> None:
        if look.seen_at - self._tidied_at > _TIDY_S:
            self._tidied_at = look.seen_at + random.uniform(0, _TIDY_S / 2)  # noqa: S311 # processes shall take turns
            await _in_thread(self._bucket.tidy, look.now_ms)

    def _see(self, look: Look) -> None:
        self._look = look
        self._epoch_s = look.now_ms / 1000 - look.seen_at
        if look.away_s > 0:
            self._stay_away(look.seen_at + look.away_s)

    def _stay_away(self, until: float) -> None:
        if until > self._resume_at + _GLANCE_S:
            log.info("nothing is asked for in the next %.1f s: the exchange wants us away", until - time.monotonic())
        self._resume_at = max(self._resume_at, until)
        self._held = 0

    def _may_spend(self, weight: int) -> bool:
        if time.monotonic() > self._fresh_until:
            self._held = 0
        return self._held >= weight and self._away_s(weight) <= 0

    def _away_s(self, weight: int) -> float:
        """Return how long nothing may be sent, whatever is held: a pause, or the exchange's own count."""
        now_s = self._now_s()
        left_s = 0.0
        if self._tally.is_told and (
            self._tally.used_weight(now_s) + self._under_way + weight > self._terms.weight_limit
        ):
            left_s = self._tally.left_s(now_s)
        return max(self._resume_at - time.monotonic(), left_s)

    def _grant(self, weight: int) -> None:
        self._held -= weight
        self._under_way += weight
        self._recent += weight

    def _now_s(self) -> float:
        """Return the bucket's time, in seconds since the epoch."""
        return self._epoch_s + time.monotonic()


async def _in_thread(
    function: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Call what waits for a database. Who is cancelled waits for it still, so that nothing is closed under it."""
    call = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        if not call.cancelled():
            call.exception()
        raise


class SharedBudget(LeasedBudget):
    """The budget of an exchange that every process and machine with this warehouse shares.

    Args:
        warehouse: Where it is counted.
        exchange: Whose it is: a letter and up to 31 letters or digits, in lower case.
        weight_limit: What the exchange lets one address spend in an interval.
        interval_s: The interval.
        share: What part of that we spend, over 0 and up to 1.

    Raises:
        ConfigError: Nothing is left to spend, or the exchange cannot be part of a table's name.
    """

    def __init__(
        self, warehouse: Warehouse, exchange: str, *, weight_limit: int, interval_s: float, share: float
    ) -> None:
        super().__init__(WarehouseBucket(warehouse, exchange, Terms.of(weight_limit, interval_s, share)))


def local_budget(*, weight_limit: int, interval_s: float, share: float) -> LeasedBudget:
    """Return a budget for this process alone, for where no warehouse is at hand. Arguments as of `SharedBudget`.

    Raises:
        ConfigError: Nothing is left to spend.
    """
    return LeasedBudget(MemoryBucket(Terms.of(weight_limit, interval_s, share)))
