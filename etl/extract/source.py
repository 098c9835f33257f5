"""What the pager needs of an exchange, and what it gets: pages as they arrived."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from etl.errors import MalformedPayloadError
from etl.schema import Series, TimeRange


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of an exchange, as it arrived.

    Attributes:
        window: The range that was asked for.
        fetched_at_ms: The exchange's clock when it was asked; what closes later was still forming.
        body: The answer's text.
    """

    series: Series
    window: TimeRange
    fetched_at_ms: int
    body: str

    def rows(self) -> list[Any]:
        """Return the rows as received, in the exchange's order and with its columns.

        Raises:
            MalformedPayloadError: The body is no JSON array.
        """
        try:
            # A bare NaN is no JSON, but one such row must not cost us the page: the lenient parser has a second look.
            try:
                rows = orjson.loads(self.body)
            except orjson.JSONDecodeError:
                rows = json.loads(self.body)
        except ValueError as error:
            raise MalformedPayloadError(
                f"the answer is no JSON ({error}): {self.body[:80]!r}; run it again, and look at the exchange's status "
                "page if it stays so",
                series=self.series,
                time_range=self.window,
            ) from error
        if not isinstance(rows, list):
            raise MalformedPayloadError(
                f"the answer is no list of candles: {self.body[:80]!r}", series=self.series, time_range=self.window
            )
        return rows


class Source(Protocol):
    """One exchange, as the pager sees it."""

    page_limit: int

    async def clock_ms(self) -> int:
        """Return the exchange's clock, milliseconds since the epoch."""

    async def fetch_page(self, series: Series, window: TimeRange) -> Page:
        """Ask once for the candles that open in `window`, which is at most `page_limit` candles wide.

        Raises:
            SourceError: The exchange did not give them; `is_retryable` says whether asking again may help.
        """

    async def symbols(self) -> Sequence[str]:
        """Return every symbol that the exchange lists."""
