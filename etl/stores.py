"""Partitions of a run, one series over one range each, and the open stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from etl.archive import Archive, open_archive
from etl.extract import RawStore
from etl.homes import Creates
from etl.lost import open_or_make
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.warehouse import Warehouse


@dataclass(frozen=True, slots=True)
class Partition:
    """One series over one range: what a run loads and a user reruns."""

    series: Series
    time_range: TimeRange

    def __str__(self) -> str:
        return f"{self.series} {self.time_range}"

    def to_dict(self) -> dict[str, str]:
        """Return the partition as JSON can hold it."""
        return {"series": str(self.series), **self.time_range.to_dict()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, str]) -> Partition:
        """Read what `to_dict` wrote."""
        start, end = (datetime.fromisoformat(facts[bound]) for bound in ("start", "end"))
        return cls(Series.parse(facts["series"]), TimeRange(start, end))


@dataclass(frozen=True, slots=True)
class Stores:
    """All stores, opened."""

    settings: Settings
    warehouse: Warehouse
    archive: Archive
    raw: RawStore


@contextmanager
def open_stores(settings: Settings, creates: Creates = Creates.UNLESS_LOST) -> Iterator[Stores]:
    """Open warehouse, archive and raw store; see `open_or_make` for what may be raised.

    Args:
        creates: Where a warehouse is made, if there is none.
    """
    with open_or_make(settings, creates) as warehouse:
        yield Stores(settings, warehouse, open_archive(settings), RawStore(settings.home / "raw"))
