"""An answer about to be sent, taken apart, so that something can go wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import orjson

from etl.replay.wire import JSON, Answer, Trouble, WireRow


@dataclass(frozen=True, slots=True)
class Page:
    """An answer about to be sent, taken apart.

    Attributes:
        answer: What would be sent if all were well.
        rows: Its rows as they go over the wire.
        now_ms: The exchange's clock.
        words: Says a trouble in the exchange's words.
        maintenance_status: The HTTP status under which it says maintenance.
        hold_s: How long a mishap that holds an answer holds it.
        slow_s: How long a mishap that dribbles an answer takes over it.
        body: What is sent instead of the rows.
        wait_s: How long the answer is held back.
        dribble_s: Over how long the body is sent in pieces.
        is_cut: Whether the connection closes in the middle of the body.
        is_dropped: Whether it closes before anything is sent.
    """

    answer: Answer
    rows: tuple[WireRow, ...]
    now_ms: int
    words: Callable[[Trouble, int], bytes]
    maintenance_status: int = 503
    hold_s: float = 30.0
    slow_s: float = 1.0
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON
    body: bytes | None = None
    wait_s: float = 0.0
    dribble_s: float = 0.0
    is_cut: bool = False
    is_dropped: bool = False

    def encode(self) -> bytes:
        """Return the body."""
        if self.body is not None:
            return self.body
        if self.answer.layout is None:
            return self.answer.head
        return b"".join((self.answer.head, orjson.dumps(self.rows), self.answer.tail))


Mishap = Callable[[Page], Page]


def table(*mishaps: Mishap) -> Mapping[str, Mishap]:
    """Return mishaps by their names."""
    return MappingProxyType({mishap.__name__: mishap for mishap in mishaps})
