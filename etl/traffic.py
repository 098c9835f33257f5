"""Request outcomes of exchanges: counted while they are asked, brought into the warehouse, and read for people."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from types import TracebackType
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from etl.answers import Answers, Outcome
from etl.errors import ChandlerError, ConfigError
from etl.feeds import ExchangeSettings
from etl.settings import Settings
from etl.spelling import counted
from etl.warehouse import (
    RequestCount,
    Warehouse,
    add_requests,
    hour_of,
    known_series,
    read_pauses,
    read_requests,
    read_spent,
)

log = logging.getLogger(__name__)

KEPT = timedelta(days=90)
"""For so long requests are kept by the hour."""
_EVERY_S = 5.0
_SLOW = 0.95


@dataclass(frozen=True, slots=True)
class HourTraffic:
    """Request outcomes of an exchange in an hour.

    Attributes:
        hour: When it began.
        failed: Requests of another outcome than `ok`.
        outcomes: Requests by outcome.
        mean_s, p95_s, slowest_s: How long a request took: on average, all but one in twenty at most, and the longest.
    """

    hour: datetime
    requests: int
    failed: int
    outcomes: Mapping[str, int]
    mean_s: float | None
    p95_s: float | None
    slowest_s: float


@dataclass(frozen=True, slots=True)
class ExchangeTraffic:
    """Request outcomes of an exchange, and what of its budget is spent.

    Attributes:
        limit: The weight that it lets us spend in an interval; None of one that nobody speaks to any more.
        interval_s: The interval.
        share: What part of that we spend at most.
        spent: What was spent in the last interval, by all processes.
        spent_pct: The same in percent of the limit.
        paused_until: Until when nobody asks it, since it wants us away.
        hours: Those in which it was asked, ascending.
    """

    exchange: str
    limit: int | None
    interval_s: float | None
    share: float
    spent: int
    spent_pct: float
    paused_until: datetime | None
    hours: list[HourTraffic]


class Counting:
    """Counts how an exchange answers, and writes it down every few seconds. Use it as an asynchronous context manager.

    Counted in the loop's thread, written in others. A fetch never fails by it: what cannot be written is tried again,
    and at the end left, with a line in the log.

    Args:
        clock: By which an answer belongs to an hour.
    """

    def __init__(
        self, warehouse: Warehouse, exchange: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._warehouse = warehouse
        self._exchange = exchange
        self._clock = clock
        self._counts: dict[tuple[datetime, Outcome], Answers] = {}
        self._is_over = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin to write now and then."""
        self._writer = asyncio.create_task(self._write_now_and_then())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is left."""
        self._is_over.set()
        if self._writer is not None:
            await self._writer
        # What was counted while it wrote for the last time, and what it could not write then.
        await self._write()
        if self._counts:
            lost = sum(answers.requests for answers in self._counts.values())
            log.warning("not counted: %s to %s", counted(lost, "request"), self._exchange)

    def count(self, outcome: Outcome, seconds: float) -> None:
        """Count a request. An `OnAnswer`."""
        self._counts.setdefault((hour_of(self._clock()), outcome), Answers()).take(seconds)

    async def _write_now_and_then(self) -> None:
        while not self._is_over.is_set():
            try:
                await asyncio.wait_for(self._is_over.wait(), _EVERY_S)
            except TimeoutError:
                await self._write()

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        if counts and not await asyncio.to_thread(self._add, counts):
            for key, answers in counts.items():
                self._counts.setdefault(key, Answers()).add(answers)

    def _add(self, counts: Mapping[tuple[datetime, Outcome], Answers]) -> bool:
        try:
            with self._warehouse.begin() as connection:
                add_requests(connection, self._exchange, counts)
        except (ChandlerError, SQLAlchemyError) as error:
            log.info("how %s answers cannot be written down just now: %s", self._exchange, error)
            return False
        return True


def read_traffic(connection: Connection, settings: Settings, now: datetime, hours: int = 24) -> list[ExchangeTraffic]:
    """Return how each exchange answers that is configured, held, or was asked; in the order of their names.

    Args:
        hours: How many hours back, the present one included.
    """
    since = hour_of(now) - timedelta(hours=hours - 1)
    by_exchange = {
        name: list(counts) for name, counts in groupby(read_requests(connection, since), lambda one: one.exchange)
    }
    away = read_pauses(connection, now)
    configured = {*settings.exchanges, *(feed.exchange for feed in settings.feeds.values())}
    names = {*configured, *by_exchange, *away, *(series.exchange for series in known_series(connection))}
    return [
        _exchange(connection, settings, name, away.get(name), _by_hour(by_exchange.get(name, ())))
        for name in sorted(names)
    ]


def _exchange(
    connection: Connection, settings: Settings, name: str, paused_until: datetime | None, hours: list[HourTraffic]
) -> ExchangeTraffic:
    share = settings.exchanges.get(name, ExchangeSettings()).share
    try:
        traits = settings.traits(name)
    except ConfigError:  # its table has a mistake, or candles of an exchange that is gone lie here still
        return ExchangeTraffic(name, None, None, share, 0, 0.0, paused_until, hours)
    limit, interval_s = traits.weight_limit, traits.limit_interval_s
    spent = read_spent(connection, name, limit, interval_s)
    return ExchangeTraffic(name, limit, interval_s, share, spent, 100 * spent / limit, paused_until, hours)


def _by_hour(counts: Iterable[RequestCount]) -> list[HourTraffic]:
    return [_hour(hour, list(found)) for hour, found in groupby(counts, lambda one: one.hour) if hour is not None]


def _hour(hour: datetime, counts: list[RequestCount]) -> HourTraffic:
    whole = Answers()
    for one in counts:
        whole.add(one.answers)
    outcomes = {one.outcome.value: one.answers.requests for one in counts}
    failed = whole.requests - outcomes.get(Outcome.OK.value, 0)
    mean_s, p95_s = whole.mean_s, whole.quantile_s(_SLOW)
    return HourTraffic(hour, whole.requests, failed, outcomes, mean_s, p95_s, whole.slowest_s)
