"""The archive: candles as Parquet files that are replaced whole and proven when read, and what stands in for them.

Layout: `candles/exchange=binance/symbol=BTC-USDT/timeframe=1m/2026-11.parquet`. The keys stand in the path, the
columns are CANDLE_COLUMNS, sorted by open_time. Readable by whatever reads Parquet. What could not be written as
Parquet lies beside it as `2026-11.jsonl`, or below the second root, until `chandler archive convert` has made Parquet
of it. This module reads it from there; other programs do not: what reads `*.parquet` (DuckDB, polars) sees the file as
it was before, and what takes a whole folder for Parquet (pandas) refuses it meanwhile.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from etl.archive.contents import Content, FileFacts, between, merge
from etl.archive.fallback import open_fallback
from etl.archive.layout import FALLBACK, PARQUET, Spot, clipped, series_of, spot_of, spots
from etl.archive.parquet import ParquetFile, open_parquet
from etl.archive.place import Place, Sheet
from etl.archive.records import ArchiveFile, Fallback, Leftover, Written
from etl.archive.root import Entry, Root, VanishedError
from etl.errors import ConfigError, SchemaMismatchError, StoreError, StoreUnavailableError
from etl.schema import empty_candles
from etl.series import Series, TimeRange, united
from etl.settings import Settings

log = logging.getLogger(__name__)

_TOGETHER = 4  # files read side by side
_TRIES = 5  # at reading what somebody else replaces meanwhile
_KINDS = {r"\..*\.tmp": "a write that was cut off", r"\.?.*\.aside\d+": "set aside, since it could not be trusted"}
_T = TypeVar("_T")
_Listing = tuple[dict[str, Entry], dict[str, Entry]]

CoveredBefore = Callable[[TimeRange], Sequence[TimeRange]]


def _nothing(span: TimeRange) -> Sequence[TimeRange]:
    return ()


class Archive:
    """The files below one root, and what a second one had to take in.

    Args:
        url: A folder, or a URI that pyarrow has a filesystem for (`s3://bucket/prefix`).
        fallback: A local folder for what the first takes in no form, best on another disk.

    Raises:
        ConfigError: `url` names no filesystem that pyarrow knows, or both are one.
    """

    def __init__(self, url: str, fallback: Path) -> None:
        self.url = url
        self._roots = self._root, self._second = Root(url), Root(str(fallback))
        if self._root.is_local and self._root.address == self._second.address:
            raise ConfigError(f"archive_fallback is {fallback}, the archive itself; name another folder")

    @property
    def place(self) -> str:
        """The folder or bucket of the files, without a password, for people."""
        return self._root.place_of("").rstrip("/")

    def write(
        self,
        series: Series,
        time_range: TimeRange,
        candles: pa.Table,
        covered: Sequence[TimeRange] | None = None,
        *,
        covered_before: CoveredBefore = _nothing,
    ) -> Written:
        """Make the archive hold exactly `candles` in `time_range`; what lies outside it stays.

        Args:
            candles: CANDLE_SCHEMA, ascending by open_time, each in the range.
            covered: What the files are to say that they hold, each of its span; without, `time_range` is added to
                what they say.
            covered_before: Returns what a file that is not there yet, of that span, is to say besides `time_range`.

        Returns:
            Where the range is. Files that held it already are not written again.

        Raises:
            StoreError: A file cannot be read or trusted, or what it is to hold can be kept nowhere. What was there is
                whole.
        """
        written = Written([], [])
        for spot in spots(series, time_range):
            place = self._place(spot)
            held = place.content()
            said = covered
            if said is None:
                is_begun = not held.covered and between(candles, spot.span).num_rows
                said = [*(covered_before(spot.span) if is_begun else held.covered), time_range]
            wanted = merge(held, spot, time_range, candles, said)
            if wanted.candles.num_rows == 0 and held.candles.num_rows == 0 and place.counting is None:
                continue
            if place.counting is not None or not wanted.equals(held):
                try:
                    place.put_parquet(wanted)
                except StoreError as error:
                    fallback = place.put_fallback(wanted, self._second, error.message)
                    log.warning("%s: candles kept as %s; chandler archive convert", error.message, fallback)
                    written.fallbacks.append(fallback)
            written.files.append(spot.path + PARQUET)
        return written

    def read(self, series: Series, time_range: TimeRange) -> pa.Table:
        """Return the candles that open in `time_range`: CANDLE_SCHEMA, ascending by open_time.

        Raises:
            StoreError: A file cannot be read or does not match its hash.
            SchemaMismatchError: A file was written by a newer version.
        """
        return self.read_covered(series, time_range)[0]

    def read_covered(self, series: Series, time_range: TimeRange) -> tuple[pa.Table, list[TimeRange]]:
        """Return what `read` does, and what of `time_range` the files say that they cover; united.

        Raises:
            StoreError: A file cannot be read or does not match its hash.
            SchemaMismatchError: A file was written by a newer version.
        """
        places = list(spots(series, time_range))

        def read_all() -> list[Content]:
            listing = self._list(series)
            with ThreadPoolExecutor(min(_TOGETHER, len(places))) as pool:
                return list(pool.map(lambda spot: self._look(spot, listing).content(), places))

        contents = _steadily(read_all)
        candles = pa.concat_tables([empty_candles(), *(content.candles for content in contents)])
        covered = united(part for content in contents for part in clipped(time_range, content.covered))
        return between(candles, time_range), covered

    def covered(self, series: Series, time_range: TimeRange) -> list[TimeRange]:
        """Return what the files that `time_range` touches say that they cover, within the range or not; united.

        Raises:
            StoreError: A file cannot be read or trusted.
        """
        return united(
            span
            for spot in spots(series, time_range)
            if (facts := self._facts(spot)) is not None
            for span in facts.covered
        )

    def files(self, series: Series) -> list[ArchiveFile]:
        """Return the files of `series`, ascending; one for each month or year of which there is something."""
        first, second = _steadily(lambda: self._list(series))
        found: dict[TimeRange, ArchiveFile] = {}
        for entries, ending in ((second, FALLBACK), (first, FALLBACK), (first, PARQUET)):
            for path, entry in entries.items():
                if (spot := spot_of(path, ending)) is not None:
                    found[spot.span] = ArchiveFile(path, spot.span, entry.size_bytes, entry.written_at)
        return sorted(found.values(), key=lambda file: file.span)

    def facts(self, series: Series, file: ArchiveFile) -> FileFacts:
        """Return what a file says of itself, from its footer or header alone.

        Raises:
            StoreError: It cannot be read or trusted, or is gone.
        """
        facts = self._facts(Spot(series, file.span))
        if facts is None:
            raise StoreError(f"{self._root.place_of(file.path)} is not there any more", series=series)
        return facts

    def series(self) -> list[Series]:
        """Return the series that the archive has a folder of, in the order of their names."""
        return sorted({series for root in self._roots for series in _series_below(root)})

    def set_aside(self, file: ArchiveFile) -> str:
        """Take a file out of the archive and keep it beside its place, under a name that nobody reads.

        Returns:
            Where it is now, below the root.

        Raises:
            StoreError: It cannot be moved.
        """
        spot = spot_of(file.path, PARQUET) or spot_of(file.path, FALLBACK)
        if spot is None:
            raise StoreError(f"{self._root.place_of(file.path)} is no file of the archive")
        return self._place(spot).set_aside()

    def fallbacks(self) -> list[Fallback]:
        """Return the fallbacks that are there, ascending; a stale one too."""
        found = [(spot_of(entry.path, FALLBACK), root, entry) for root, entry in self._everything()]
        fallbacks = [Fallback(spot.series, spot.span, root.place_of(entry.path)) for spot, root, entry in found if spot]
        return sorted(fallbacks, key=lambda one: (one.series, one.span, one.path))

    def convert(self, fallback: Fallback) -> None:
        """Make Parquet of a fallback, if it counts, and remove it. The caller holds the series' lock.

        Raises:
            StoreError: It cannot be trusted, or the Parquet file still cannot be written.
        """
        place = self._place(Spot(fallback.series, fallback.span))
        if place.sheets:
            place.put_parquet(place.content())

    def leftovers(self) -> list[Leftover]:
        """Return the files that nobody reads, ascending by path.

        Raises:
            StoreError: The archive cannot be listed.
        """
        found = []
        for root, entry in self._everything():
            spot = spot_of(entry.path, FALLBACK)
            if spot is not None:
                what = "a fallback that a Parquet file has taken in"
                if all(sheet.root is not root for sheet in self._place(spot).stale):
                    continue
            elif root is self._root and spot_of(entry.path, PARQUET) is not None:
                continue
            else:
                kinds = (kind for form, kind in _KINDS.items() if re.fullmatch(form, entry.name))
                what = next(kinds, "no file of the archive")
            found.append(Leftover(root.place_of(entry.path), what, entry.size_bytes, entry.written_at))
        return sorted(found, key=lambda one: one.path)

    def _everything(self) -> list[tuple[Root, Entry]]:
        return [(root, entry) for root in self._roots for entry in root.files(is_deep=True)]

    def _list(self, series: Series) -> _Listing:
        """Return what both roots have of a series, seen at one moment: a fallback may move between them."""
        second, first, again = (
            {entry.path: entry for entry in root.files(series.path)}
            for root in (self._second, self._root, self._second)
        )
        if second != again:
            raise VanishedError(series.path)
        return first, second

    def _place(self, spot: Spot) -> Place:
        return _steadily(lambda: self._look(spot, self._list(spot.series)))

    def _facts(self, spot: Spot) -> FileFacts | None:
        return _steadily(lambda: self._look(spot, self._list(spot.series), is_whole=False).facts())

    def _look(self, spot: Spot, listing: _Listing, *, is_whole: bool = True) -> Place:
        """Read what lies at a place; of a Parquet file just the footer, unless it is wanted whole.

        Fallbacks come first: a Parquet file that takes one in is there before the fallback goes.
        """
        found = [(root, entries.get(spot.path + FALLBACK)) for root, entries in zip(self._roots, listing, strict=True)]
        sheets = [_sheet(root, spot, entry) for root, entry in found if entry is not None]
        sheets.sort(key=lambda sheet: sheet.file.number if sheet.file else 0)
        parquet, fault = None, None
        try:
            parquet = self._parquet(spot, listing[0].get(spot.path + PARQUET), is_whole=is_whole)
        except StoreUnavailableError:
            raise
        except StoreError as error:
            fault = error
        return Place(self._root, spot, parquet, fault, sheets)

    def _parquet(self, spot: Spot, entry: Entry | None, *, is_whole: bool) -> ParquetFile | None:
        if entry is None:
            return None
        if is_whole:
            content = pa.BufferReader(self._root.read(entry))
            return open_parquet(self._root.place_of(entry.path), content, spot.series)
        with self._root.open(entry) as source:
            return open_parquet(self._root.place_of(entry.path), source, spot.series)


def open_archive(settings: Settings) -> Archive:
    """Return the archive that the settings name."""
    url = settings.archive_url or str(settings.home / "archive")
    return Archive(url, settings.archive_fallback or settings.home / "fallback")


def _sheet(root: Root, spot: Spot, entry: Entry) -> Sheet:
    try:
        return Sheet(root, open_fallback(root.place_of(entry.path), root.read(entry), spot))
    except StoreUnavailableError:
        raise
    except (StoreError, SchemaMismatchError) as error:
        return Sheet(root, None, error)


def _series_below(root: Root) -> list[Series]:
    folders = [third for first in root.folders() for second in root.folders(first) for third in root.folders(second)]
    return [series for folder in folders if (series := series_of(folder)) is not None]


def _steadily(read: Callable[[], _T]) -> _T:
    """Read again from the start when a file was replaced by another meanwhile."""
    for _ in range(_TRIES):
        try:
            return read()
        except VanishedError:
            continue
    raise StoreUnavailableError("the archive's files change faster than they can be read; run this again")
