"""Raw pages on disk, as they arrived: what lets a killed fetch go on, and a refused row be looked at.

A partition has a folder, in which one process at a time works (`etl.warehouse.partition_locks`). A page is one file,
named by its window and its route and written whole; a list of the pages that make up the range, written last, is what
the clean step goes by. Once the partition is loaded its pages are folded into one compressed file and the folder goes:
what is loaded again is fetched again.
"""

from __future__ import annotations

import secrets
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa

from etl.errors import ConfigError, MissingPagesError, StoreError
from etl.extract.source import Bounds, Page, Route
from etl.files import write_whole
from etl.series import Series, TimeRange, symbol_from_path
from etl.timeframe import Timeframe

_LIST = "pages.json"
_BEGUN = "begun.json"
FOLDED, DONE, REFUSED = "folded", "done", "refused"
"""Names of the folders beside those of partitions: loaded, being removed, refused by an earlier version."""


class PageKey(NamedTuple):
    """Key of a page within its partition."""

    window: TimeRange
    route: Route


@dataclass(frozen=True, slots=True)
class Fetched:
    """List of a finished fetch.

    Attributes:
        pages: Those that make up the range; of two rows for one candle the later page's counts.
        bounds: Where the series begins and ends, as far as the fetch has found out.
        asked_at_ms: When the exchange was asked, by its clock; the first of the askings.
    """

    pages: tuple[PageKey, ...]
    bounds: Bounds
    asked_at_ms: int


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

    def partitions(self, series: Series) -> list[RawPartition]:
        """Return the partitions of a series that have pages, in the order of their names."""
        home = self.root / series.path
        names = sorted(path.name for path in home.iterdir()) if home.is_dir() else []
        return [RawPartition(home, series, span) for name in names if (span := span_of(name)) is not None]

    def homes(self) -> Iterator[tuple[Path, Series]]:
        """Yield the folder of each series that has one."""
        for home in sorted(self.root.glob("exchange=*/symbol=*/timeframe=*")):
            exchange, symbol, timeframe = (part.partition("=")[2] for part in home.parts[-3:])
            with suppress(ConfigError, ValueError):
                yield home, Series(exchange, symbol_from_path(symbol), Timeframe(timeframe))


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
        body = page.body.encode()
        header = orjson.dumps({"fetched_at_ms": page.fetched_at_ms, "crc32": zlib.crc32(body)})
        # Not synced, which would take longer than to fetch it: a page that a crash of the machine has spoilt is told
        # by its checksum, and fetched again.
        write_whole(self._path(PageKey(page.window, page.route)), header + b"\n" + body, is_synced=False)

    def read_page(self, key: PageKey) -> Page | None:
        """Return the page of exactly that window and route, or None if it was never kept, or is not whole."""
        try:
            header, _, body = self._path(key).read_bytes().partition(b"\n")
            facts = orjson.loads(header)
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        if facts["crc32"] != zlib.crc32(body):
            return None
        return Page(self.series, key.window, facts["fetched_at_ms"], body.decode(), key.route)

    def note_begun(self, last_load: int) -> None:
        """Keep the number of the last load that there was when the fetch began: pages of an earlier load are left over.

        Raises:
            StoreError: The file system refuses.
        """
        write_whole(self.folder / _BEGUN, orjson.dumps({"last_load": last_load}), is_synced=False)

    def read_begun(self) -> int | None:
        """Return what `note_begun` wrote; None if it never did, or not to the end."""
        try:
            return int(orjson.loads((self.folder / _BEGUN).read_bytes())["last_load"])
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None

    def write_list(self, fetched: Fetched) -> None:
        """Say which pages make up the range: the fetch is done.

        Raises:
            StoreError: The file system refuses.
        """
        pages = [[key.window.start_ms, key.window.end_ms, key.route] for key in fetched.pages]
        facts = {"pages": pages, "bounds": asdict(fetched.bounds), "asked_at_ms": fetched.asked_at_ms}
        write_whole(self.folder / _LIST, orjson.dumps(facts))

    def read_list(self) -> Fetched:
        """Return what `write_list` wrote.

        Raises:
            MissingPagesError: It never did.
        """
        try:
            facts = orjson.loads((self.folder / _LIST).read_bytes())
            asked_at_ms = facts["asked_at_ms"]  # which an earlier version did not write
        except (FileNotFoundError, KeyError) as error:
            raise self._missing(self.time_range, "the list of raw pages") from error
        pages = (PageKey(TimeRange.from_ms(start, end), Route(route)) for start, end, route in facts["pages"])
        return Fetched(tuple(pages), Bounds(**facts["bounds"]), asked_at_ms)

    def read_pages(self, fetched: Fetched) -> Iterator[Page]:
        """Yield the pages that `fetched` lists.

        Raises:
            MissingPagesError: One is missing.
        """
        for key in fetched.pages:
            page = self.read_page(key)
            if page is None:
                raise self._missing(key.window, "the raw page")
            yield page

    def fold(self) -> None:
        """Put the listed pages into one compressed JSON Lines file, and remove the folder.

        A line is a page: window, route, clock and body.

        Raises:
            StoreError: The file system refuses. The folder is still there.
        """
        self._fold(self.read_pages(self.read_list()))

    def fold_rest(self) -> None:
        """Do what `fold` does with whatever pages are there: the range was loaded by others.

        Raises:
            StoreError: The file system refuses. The folder is still there.
        """
        keys = sorted(key for path in self.folder.iterdir() if (key := _key_of(path.name)) is not None)
        self._fold(page for key in keys if (page := self.read_page(key)) is not None)

    def _fold(self, pages: Iterable[Page]) -> None:
        lines = b"".join(
            orjson.dumps(
                {**page.window.to_dict(), "route": page.route, "fetched_at_ms": page.fetched_at_ms, "body": page.body}
            )
            + b"\n"
            for page in pages
        )
        path = self._home / FOLDED / f"{_name(self.time_range)}.jsonl.zst"
        write_whole(path, pa.compress(lines, codec="zstd", asbytes=True))
        # Renamed at once and then removed, so that nobody finds a half of it; a killed removal is ended by the next.
        self._move(self._home / DONE, f"{_name(self.time_range)}.{secrets.token_hex(4)}")
        shutil.rmtree(self._home / DONE, ignore_errors=True)

    def _move(self, place: Path, name: str) -> Path:
        try:
            while True:
                with suppress(FileExistsError):  # `exist_ok` fails where the place is removed as it looks at it
                    place.mkdir()
                try:
                    return self.folder.rename(place / name)
                except FileNotFoundError:
                    # The load of another range of the series has just removed the place.
                    if not self.folder.exists():
                        raise
        except OSError as error:
            message = f"{self.folder} cannot be moved to {place} ({error.strerror}); mend its rights"
            raise StoreError(message, series=self.series, time_range=self.time_range) from error

    def _path(self, key: PageKey) -> Path:
        return self.folder / f"{_name(key.window)}.{key.route}"

    def _missing(self, time_range: TimeRange, what: str) -> MissingPagesError:
        message = f"{what} is not there; fetch this partition first (in Airflow: clear its fetch task)"
        return MissingPagesError(message, series=self.series, time_range=time_range)


def _name(time_range: TimeRange) -> str:
    """Return a range as a file's name: `20261120T0000-20261121T0000`; to the millisecond where a bound needs it."""
    is_whole = time_range.start_ms % 60_000 == time_range.end_ms % 60_000 == 0
    bounds = (bound.astimezone(UTC) for bound in (time_range.start, time_range.end))
    return "-".join(
        f"{bound:%Y%m%dT%H%M}" if is_whole else f"{bound:%Y%m%dT%H%M%S}{bound.microsecond // 1000:03d}"
        for bound in bounds
    )


def span_of(name: str) -> TimeRange | None:
    """Return the range that `_name` has written as `name`; None if it never wrote such a name."""
    with suppress(ValueError):
        start, end = (
            datetime.strptime(bound[:13], "%Y%m%dT%H%M").replace(tzinfo=UTC)
            + timedelta(milliseconds=int(bound[13:] or 0))
            for bound in name.split("-")
        )
        return TimeRange(start, end)
    return None


def _key_of(name: str) -> PageKey | None:
    window, _, route = name.rpartition(".")
    span = span_of(window)
    return PageKey(span, Route(route)) if span is not None and route in list(Route) else None
