"""Building blocks of every protocol of the replay exchange: routes, requests, answers and refusals.

A protocol is a `Dialect`, a value in a module of its own (`binance`, `coinbase`, `kraken`, `data_site`); `dialects`
lists them. Rows travel encoded, one `bytes` each, so that a page is a slice and a join.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from etl.timeframe import Timeframe

if TYPE_CHECKING:
    from etl.replay.book import Book

JSON = "application/json;charset=UTF-8"
TEXT = "text/plain"
HTML = "text/html"

WireRow = tuple[Any, ...]


class RefusedError(Exception):
    """A request that is not answered as asked, with what is answered instead.

    Args:
        body: What the exchange says, encoded.
        status: The HTTP status.
        retry_after_s: What the header Retry-After says, where there is one.
    """

    def __init__(self, body: bytes, *, status: int, retry_after_s: int | None = None, content_type: str = JSON) -> None:
        super().__init__(body.decode(errors="replace"))
        self.body = body
        self.status = status
        self.headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        self.content_type = content_type


class Trouble(Enum):
    """Trouble of an exchange as a whole; each says it in its own words."""

    RATE_LIMIT = auto()
    BAN = auto()
    INTERNAL = auto()
    OVERLOADED = auto()
    MAINTENANCE = auto()


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that a request asks for.

    Attributes:
        symbol: ccxt's unified symbol.
        timeframe: The candles' width; None where trades are asked for.
        start_ms: The first moment asked for; None for the latest rows.
        end_ms: The last moment asked for, inclusive as on the wire; None for now.
        limit: The most rows wanted.
        route: The name of the route that was asked.
    """

    symbol: str
    timeframe: Timeframe | None
    start_ms: int | None
    end_ms: int | None
    limit: int
    route: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        query: The parameters after the question mark.
        path: The parts of the path that the route names in braces.
        now_ms: The exchange's clock.
    """

    query: Mapping[str, str]
    path: Mapping[str, str]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of a row.

    Attributes:
        time: Of a candle its open time, of a trade its moment.
        unit_ms: The unit of `time`, in milliseconds.
        close: Of a candle its close, of a trade its price.
        high: The high; None in a trade.
        low: The low; None in a trade.
        is_newest_first: Whether the rows descend.
    """

    time: int
    unit_ms: int
    close: int
    high: int | None = None
    low: int | None = None
    is_newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of a route: a head, and where it has a layout, rows and a tail.

    Attributes:
        head: What stands before the rows, or all there is.
        pieces: The rows, each encoded as JSON without its brackets.
        tail: What stands behind the rows.
        layout: Where what stands in a row; None for an answer that is no rows.
        window: What was asked for, where rows were.
        forming: Makes the candle that is forming now, where one is.
        status: The HTTP status.
        headers: Headers of its own.
        blank: The body of a list of symbols if it had none; None for an answer that is no such list.
        file: The file that is sent, or whose checksum is; None for an answer of another kind.
    """

    head: bytes = b""
    pieces: Sequence[bytes] = ()
    tail: bytes = b""
    layout: Layout | None = None
    window: Window | None = None
    forming: Callable[[], WireRow | None] = field(default=lambda: None)
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    blank: bytes | None = None
    file: bytes | None = None

    def encode(self) -> bytes:
        """Return the body."""
        if self.layout is None:
            return self.head
        rows = b"],[".join(self.pieces)
        return b"".join((self.head, b"[[" if rows else b"[", rows, b"]]" if rows else b"]", self.tail))

    def rows(self) -> tuple[WireRow, ...]:
        """Return the rows, read back."""
        return tuple(tuple(orjson.loads(b"[%b]" % piece)) for piece in self.pieces)


def answer_json(value: Any, blank: Any = None) -> Answer:
    """Return an answer that is no rows.

    Args:
        blank: Of a list of symbols, the same without any.
    """
    return Answer(head=orjson.dumps(value), blank=None if blank is None else orjson.dumps(blank))


def to_pieces(rows: Iterable[WireRow]) -> list[bytes]:
    """Return each row as JSON without its brackets, as `Answer.pieces` has them.

    No row may be empty, and no text in it may have brackets.
    """
    return [piece for piece in orjson.dumps(list(rows))[2:-2].split(b"],[") if piece]


class Limits(Protocol):
    """Limit of an exchange for one address."""

    def spend(self, address: str, weight: int, now_ms: int) -> None:
        """Count a request.

        Raises:
            RefusedError: It is one too many.
        """

    def headers(self, address: str) -> Mapping[str, str]:
        """Return what an answer's headers tell of it."""


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked for.

    Attributes:
        name: What `Fault.route` and `Window.route` call it.
        path: The path, in which `{name}` stands for a part of it and `{name:pattern}` for more.
        answer: Makes the answer, or raises `RefusedError`.
        weight: What it costs.
        is_long: Whether an answer may take so long that it is made in a thread of its own.
    """

    name: str
    path: str
    answer: Callable[[Book, Asked], Answer]
    weight: int = 1
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """One exchange's protocol.

    Attributes:
        name: The exchange.
        routes: What can be asked for.
        limits: Makes the counter of what addresses spend; its argument says whether it refuses.
        words: Says a trouble, at a moment in milliseconds, as the body of an answer.
        maintenance_status: The HTTP status under which maintenance is said.
    """

    name: str
    routes: tuple[Route, ...]
    limits: Callable[[bool], Limits]
    words: Callable[[Trouble, int], bytes]
    maintenance_status: int = 503
