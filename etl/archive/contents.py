"""Content of a file of the archive, and what its footer or header states of it. Knows no encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from etl.archive.layout import Spot, clipped
from etl.errors import StoreError
from etl.schema import CANDLE_COLUMNS, SCHEMA_VERSION, Column, content_hash, empty_candles, to_columns
from etl.series import Series, TimeRange, united
from etl.spelling import parse_moment


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Facts that a file states of itself.

    Attributes:
        covered: The ranges that it was told to hold: ascending, disjoint, not touching each other.
        schema_version: That it was written in.
        content_hash: Of its candles, see `etl.schema.content_hash`.
    """

    rows: int
    covered: list[TimeRange]
    schema_version: int
    content_hash: str

    def seal(self, series: Series) -> str:
        """Return a hash of what the file says, by which it is known and proven."""
        said = [self.rows, to_json(self.covered), self.schema_version, self.content_hash, str(series)]
        return hashlib.sha256(orjson.dumps(said)).hexdigest()


@dataclass(frozen=True, slots=True)
class Content:
    """Content of a file, present or planned.

    Attributes:
        candles: CANDLE_SCHEMA, ascending by open_time.
        covered: The ranges that it was told to hold: ascending, disjoint, not touching each other.
    """

    candles: pa.Table
    covered: list[TimeRange]

    def facts(self, columns: Sequence[Column] = CANDLE_COLUMNS, version: int = SCHEMA_VERSION) -> FileFacts:
        """Return what a file that holds this says of itself."""
        return FileFacts(self.candles.num_rows, self.covered, version, content_hash(self.candles, columns))

    def equals(self, other: Content) -> bool:
        """Return whether both are the same."""
        return self.covered == other.covered and bool(self.candles.equals(other.candles))


NOTHING = Content(empty_candles(), [])
"""What a place without a file holds: a file without candles is none, and covers nothing."""


def merge(held: Content, spot: Spot, time_range: TimeRange, candles: pa.Table, covered: Sequence[TimeRange]) -> Content:
    """Return what the file at `spot` is to hold once it holds exactly `candles` in `time_range`; see `NOTHING`.

    Args:
        covered: What it is to say that it covers.
    """
    span = spot.span
    table = pa.concat_tables(
        [
            between(held.candles, span, until=time_range),
            between(candles, span),
            between(held.candles, span, after=time_range),
        ]
    )
    if table.num_rows == 0:
        return NOTHING
    return Content(table.combine_chunks(), united(clipped(span, covered)))


def between(
    candles: pa.Table, span: TimeRange, *, until: TimeRange | None = None, after: TimeRange | None = None
) -> pa.Table:
    """Return the candles that open in `span`, before the one range begins or after the other one ends."""
    start_ms = span.start_ms if after is None else max(span.start_ms, after.end_ms)
    end_ms = span.end_ms if until is None else min(span.end_ms, until.start_ms)
    if candles.num_rows == 0 or start_ms >= end_ms:
        return candles.slice(0, 0)
    first, last = np.searchsorted(to_columns(candles.select(["open_time"]), _TIME)["open_time"], [start_ms, end_ms])
    return candles.slice(first, last - first)


def to_json(covered: Sequence[TimeRange]) -> list[dict[str, str]]:
    """Return ranges as JSON can hold them."""
    return [span.to_dict() for span in covered]


def from_json(covered: Any) -> list[TimeRange]:
    """Read what `to_json` wrote."""
    return [TimeRange(parse_moment(span["start"]), parse_moment(span["end"])) for span in covered]


def distrust(path: str, reason: str, series: Series) -> StoreError:
    """Return the error that a file raises which is not what it says it is."""
    what = f"{path} cannot be trusted ({reason}); chandler audit says what mends it"
    return StoreError(what, series=series)


_TIME = CANDLE_COLUMNS[:1]
