"""Protocol of an exchange for the pager, and the pages that it gives, as they arrived."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from etl.errors import MalformedPayloadError
from etl.exchanges import Traits
from etl.extract.files.page_rows import file_rows
from etl.extract.kline_csv import csv_rows
from etl.series import Series, TimeRange

if TYPE_CHECKING:
    from etl.extract.bulk import BulkFile


class Route(StrEnum):
    """Route of a page: AGAIN are candles too, of a window that was looked at twice; FILE is somebody's file."""

    CANDLES = "candles"
    AGAIN = "again"
    TRADES = "trades"
    BULK = "bulk"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of an exchange, as it arrived.

    Attributes:
        window: The range that was asked for.
        fetched_at_ms: The exchange's clock when it was asked; what closes later was still forming.
        body: The answer's text.
        answer: The same, read as JSON already by whoever fetched it.
    """

    series: Series
    window: TimeRange
    fetched_at_ms: int
    body: str
    route: Route = Route.CANDLES
    answer: Any = field(default=None, compare=False, repr=False)

    def rows(self) -> list[Any]:
        """Return the rows as received, in the exchange's order and with its columns: candles, or trades.

        Raises:
            MalformedPayloadError: The body holds no list of rows.
        """
        if self.route is Route.BULK:
            return csv_rows(self.body)
        if self.route is Route.FILE:
            return file_rows(self.body, self.series).rows
        rows = _unwrapped(self._read() if self.answer is None else self.answer)
        if not isinstance(rows, list):
            raise MalformedPayloadError(
                f"the answer is no list of rows: {self.body[:80]!r}", series=self.series, time_range=self.window
            )
        return rows

    def _read(self) -> Any:
        try:
            # A bare NaN is no JSON, but one such row must not cost us the page: the lenient parser has a second look.
            try:
                return orjson.loads(self.body)
            except orjson.JSONDecodeError:
                return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise MalformedPayloadError(
                f"the answer is no JSON ({error}): {self.body[:80]!r}; run it again, and look at the exchange's status "
                "page if it stays so",
                series=self.series,
                time_range=self.window,
            ) from error


def _unwrapped(answer: Any) -> Any:
    """Return the list inside Kraken's envelope, `{"error": [], "result": {"XXBTZUSD": [...], "last": ...}}`."""
    result = answer.get("result") if isinstance(answer, dict) else None
    if not isinstance(result, dict):
        return answer
    return next((value for value in result.values() if isinstance(value, list)), answer)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Beginning and end of a series, as far as they are known.

    Attributes:
        first_ms: When its first candle opens.
        end_ms: When its last candle closed, if it is traded no more.
        served_from_ms: What opens earlier the exchange serves no longer.
        unlisted_ms: When the exchange's list lacked it first, if that says that it is traded no more.
    """

    first_ms: int | None = None
    end_ms: int | None = None
    served_from_ms: int | None = None
    unlisted_ms: int | None = None

    def may_hold(self, window: TimeRange) -> bool:
        """Return whether a candle may open in `window` and be had."""
        return (
            (self.first_ms is None or self.first_ms < window.end_ms)
            and (self.end_ms is None or window.start_ms < self.end_ms)
            and (self.served_from_ms is None or self.served_from_ms < window.end_ms)
        )


class Source(Protocol):
    """One exchange, as the pager sees it."""

    traits: Traits

    async def clock_ms(self) -> int:
        """Return the exchange's clock, milliseconds since the epoch."""

    async def symbols(self) -> Sequence[str]:
        """Return every symbol that the exchange lists."""

    async def is_trading(self, symbol: str) -> bool:
        """Return whether `symbol` is traded now; False for one that is listed and halted or delisted.

        Raises:
            UnknownSymbolError: The exchange does not know it.
        """

    async def fetch_page(self, series: Series, window: TimeRange, route: Route | None = None) -> Page:
        """Ask once for what opens in `window`, which is at most `page_limit` candles wide.

        Args:
            route: Which way; without one, the way that serves candles of that age.

        Raises:
            SourceError: The exchange did not give them; `is_retryable` says whether asking again may help.
        """

    async def bulk_files(self, series: Series, time_range: TimeRange) -> Sequence[BulkFile]:
        """Return the files that should be there of whole months and days in the range; ascending and disjoint."""

    async def fetch_bulk(self, series: Series, file: BulkFile) -> Page | None:
        """Return a file as a page; None if it is not there or cannot be trusted."""
