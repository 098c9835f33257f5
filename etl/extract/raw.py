"""Raw pages on disk, as they arrived: what lets a killed fetch go on, and a refused row be looked at.

A page is one file, named by its window and written whole. Once its range is loaded the pages are folded into one
compressed file: what is loaded again later is fetched again, not read from there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC
from pathlib import Path

import orjson
import pyarrow as pa

from etl.errors import StoreError
from etl.extract.source import Page
from etl.schema import Series, TimeRange


class RawStore:
    """The raw pages of every series, below one local folder.

    Args:
        root: The folder; it is made when first written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, series: Series) -> Path:
        """Return where the files of `series` lie."""
        return self.root / series.path

    def write_page(self, page: Page) -> None:
        """Keep `page`; it is there wholly or not at all.

        Raises:
            StoreError: The file system refuses.
        """
        header = orjson.dumps({"fetched_at_ms": page.fetched_at_ms})
        write_whole(self._page_path(page.series, page.window), header + b"\n" + page.body.encode())

    def read_page(self, series: Series, window: TimeRange) -> Page | None:
        """Return the page of exactly that window, or None if it was never kept."""
        try:
            header, _, body = self._page_path(series, window).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        return Page(series, window, orjson.loads(header)["fetched_at_ms"], body.decode())

    def fold(self, series: Series, time_range: TimeRange, windows: Sequence[TimeRange]) -> None:
        """Put the pages that made up `time_range` into one compressed JSON Lines file, and remove them.

        A line is a page: window, clock and body. Pages are removed only after the file is whole, so where one is gone
        already, an earlier try was cut off in the middle of removing them.
        """
        pages = [page for window in windows if (page := self.read_page(series, window)) is not None]
        if len(pages) == len(windows):
            lines = b"".join(
                orjson.dumps({**page.window.to_dict(), "fetched_at_ms": page.fetched_at_ms, "body": page.body}) + b"\n"
                for page in pages
            )
            path = self.folder(series) / "folded" / f"{range_name(time_range)}.jsonl.zst"
            write_whole(path, pa.compress(lines, codec="zstd", asbytes=True))
        for window in windows:
            self._page_path(series, window).unlink(missing_ok=True)

    def set_aside(self, series: Series, windows: Iterable[TimeRange]) -> Path:
        """Move pages out of the way, kept as evidence, so that a rerun fetches them again."""
        aside = self.folder(series) / "refused"
        aside.mkdir(parents=True, exist_ok=True)
        for window in windows:
            path = self._page_path(series, window)
            if path.exists():
                path.replace(aside / path.name)
        return aside

    def _page_path(self, series: Series, window: TimeRange) -> Path:
        return self.folder(series) / "pages" / f"{range_name(window)}.page"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there wholly or not at all, and survives a crash once this returns.

    Raises:
        StoreError: The file system refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend its rights") from error


def range_name(time_range: TimeRange) -> str:
    """Return a range as part of a file's name: `20261120T0000-20261121T0000`."""
    start, end = (bound.astimezone(UTC).strftime("%Y%m%dT%H%M") for bound in (time_range.start, time_range.end))
    return f"{start}-{end}"
