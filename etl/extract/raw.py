"""Raw pages on disk, as they arrived: what lets a killed fetch go on, and a refused row be looked at.

A partition has a folder, shared with nobody, in which a page is one file, named by its window and written whole. Once
the partition is loaded its pages are folded into one compressed file and the folder goes: what is loaded again is
fetched again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

import orjson
import pyarrow as pa

from etl.extract.source import Page
from etl.files import write_whole
from etl.schema import Series, TimeRange


class RawStore:
    """The raw pages of every series, below one local folder.

    Args:
        root: The folder; it is made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def partition(self, series: Series, time_range: TimeRange) -> RawPartition:
        """Return the place of one partition's pages, which need not exist yet."""
        return RawPartition(self.root / series.path, series, time_range)


class RawPartition:
    """The raw pages of one series over one range.

    Args:
        home: The series' folder.
    """

    def __init__(self, home: Path, series: Series, time_range: TimeRange) -> None:
        self.series = series
        self.time_range = time_range
        self.folder = home / _name(time_range)
        self._home = home

    def write_page(self, page: Page) -> None:
        """Keep `page`; it is there wholly or not at all.

        Raises:
            StoreError: The file system refuses.
        """
        header = orjson.dumps({"fetched_at_ms": page.fetched_at_ms})
        write_whole(self._path(page.window), header + b"\n" + page.body.encode())

    def read_page(self, window: TimeRange) -> Page | None:
        """Return the page of exactly that window, or None if it was never kept."""
        try:
            header, _, body = self._path(window).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        return Page(self.series, window, orjson.loads(header)["fetched_at_ms"], body.decode())

    def fold(self, windows: Sequence[TimeRange]) -> None:
        """Put the pages of those windows into one compressed JSON Lines file, and remove the folder.

        A line is a page: window, clock and body.

        Raises:
            StoreError: The file system refuses. The folder is still there.
        """
        pages = [page for window in windows if (page := self.read_page(window)) is not None]
        lines = b"".join(
            orjson.dumps({**page.window.to_dict(), "fetched_at_ms": page.fetched_at_ms, "body": page.body}) + b"\n"
            for page in pages
        )
        path = self._home / "folded" / f"{_name(self.time_range)}.jsonl.zst"
        write_whole(path, pa.compress(lines, codec="zstd", asbytes=True))
        # Renamed at once and then removed, so that nobody finds a half of it; a killed removal is ended by the next.
        done = self._home / "done"
        done.mkdir(exist_ok=True)
        self.folder.rename(done / f"{_name(self.time_range)}.{os.getpid()}")
        shutil.rmtree(done, ignore_errors=True)

    def set_aside(self) -> Path:
        """Move the pages out of the way, kept as evidence, so that a rerun fetches them again.

        Returns:
            Where they are now.
        """
        aside = self._home / "refused"
        aside.mkdir(exist_ok=True)
        number = sum(path.name.startswith(_name(self.time_range)) for path in aside.iterdir()) + 1
        return self.folder.rename(aside / f"{_name(self.time_range)}.{number}")

    def _path(self, window: TimeRange) -> Path:
        return self.folder / f"{_name(window)}.page"


def _name(time_range: TimeRange) -> str:
    """Return a range as a file's name: `20261120T0000-20261121T0000`."""
    return "-".join(f"{bound.astimezone(UTC):%Y%m%dT%H%M}" for bound in (time_range.start, time_range.end))
