"""Ranges that the archive covers and no checkpoint vouches for: of a lost account, or of a load that was cut off.

A load writes the archive before it commits. If it is killed in between, its cleaned rows still lie on disk, and are
what it has written, value for value. Whatever else the archive covers was committed once, and the account of it is
lost: it is whole and sound, and belongs into the warehouse.

Where the account of a whole series is lost, so is what was committed before the load that was cut off: what it wrote
over cannot be told from what it added, and all of it counts as committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from etl.errors import MissingPagesError
from etl.extract import Route
from etl.handover import read_handover
from etl.remedies import by_importing, by_loading
from etl.schema import to_column, value_hash
from etl.series import Series, TimeRange, clip, subtract, united
from etl.stores import Stores


@dataclass(frozen=True, slots=True)
class Unvouched:
    """Ranges that the archive covers and no checkpoint vouches for; each list is ascending and disjoint.

    Attributes:
        unknown: The warehouse has lost the account of them, or never had it: a rebuild reads them in.
        cut_off: A load has written them and was killed before it committed: it can be run again from its rows.
    """

    unknown: tuple[TimeRange, ...] = ()
    cut_off: tuple[TimeRange, ...] = ()


def find_unvouched(
    stores: Stores, series: Series, covered: Sequence[TimeRange], vouched: Sequence[TimeRange]
) -> Unvouched:
    """Find what of the ranges that files cover no checkpoint vouches for, and tell apart why.

    Args:
        covered: What the archive's files say that they cover, or a part of that; they can be read.
        vouched: What checkpoints of the series vouch for, all of them: ascending, disjoint.

    Raises:
        StoreError: A file cannot be read or trusted.
    """
    rests = [rest for span in covered for rest in subtract(span, vouched)]
    if not rests:
        return Unvouched()
    cut_off = united(_cut_off(stores, series, rests)) if vouched else []
    return Unvouched(tuple(part for rest in rests for part in subtract(rest, cut_off)), tuple(cut_off))


def by_running_again(stores: Stores, series: Series, cut_off: TimeRange) -> str:
    """Return the command that does again what was cut off in a range: of a file's rows no exchange can be asked."""
    for raw in stores.raw.partitions(series):
        if clip(raw.time_range, cut_off) is not None:
            with suppress(MissingPagesError):
                if any(page.route is Route.FILE for page in raw.read_list().pages):
                    return by_importing(series)
    return by_loading(series, cut_off, again=False)


def _cut_off(stores: Stores, series: Series, rests: Sequence[TimeRange]) -> Iterator[TimeRange]:
    """Yield the parts that hold just what a load that has not ended was about to commit."""
    begun = stores.raw.partitions(series)
    # Between two bounds the archive holds what one load has written last.
    bounds = sorted({bound for raw in begun for bound in (raw.time_range.start, raw.time_range.end)})
    parts = [part for rest in rests for part in _split(rest, bounds)]
    for raw in begun:
        own = [part for part in parts if clip(part, raw.time_range) == part]
        if not own:
            continue
        try:
            cleaned = read_handover(raw.folder).candles
        except MissingPagesError:
            continue  # it was killed before it wrote anything
        times = to_column(cleaned, "open_time")
        for part in own:
            first, end = np.searchsorted(times, [part.start_ms, part.end_ms])
            if value_hash(stores.archive.read(series, part)) == value_hash(cleaned.slice(first, end - first)):
                yield part


def _split(span: TimeRange, bounds: Sequence[datetime]) -> list[TimeRange]:
    """Return the range, cut at each of the ascending bounds that lies within it."""
    cuts = [span.start, *(bound for bound in bounds if span.start < bound < span.end), span.end]
    return [TimeRange(start, end) for start, end in pairwise(cuts)]
