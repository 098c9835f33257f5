"""Records that the archive returns of its files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from etl.series import Series, TimeRange


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One file.

    Attributes:
        path: Below the archive's root; of what a fallback alone holds, the fallback's, below its root.
        span: The month or year that it may hold.
        size_bytes: On disk.
    """

    path: str
    span: TimeRange
    size_bytes: int
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Fallback:
    """A file of rows that could not be written as Parquet.

    Attributes:
        path: Whole.
    """

    series: Series
    span: TimeRange
    path: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that nobody reads.

    Attributes:
        path: Whole.
        what: What it is, for a person. What was cut off may be under way, if it is young.
    """

    path: str
    what: str
    size_bytes: int
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """Place of a range that was written.

    Attributes:
        files: The Parquet files that hold it, or will once their fallbacks are converted; below the root.
        fallbacks: Those fallbacks; whole paths.
    """

    files: list[str]
    fallbacks: list[str]
