"""Files at the place of one archive file, and which of them counts: Parquet, fallbacks, or both after a bad day.

A fallback holds all that the file was to hold when it could not be written. It counts as long as the Parquet file is
the one that it succeeds, or is gone, or is broken. Once a Parquet file has taken it in it is stale. So that no stale
one ever comes to count again, stale ones go before the Parquet file is replaced, and the one that counts goes after.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa

from etl.archive.contents import NOTHING, Content, FileFacts
from etl.archive.fallback import FallbackFile, to_fallback
from etl.archive.layout import FALLBACK, PARQUET, Spot
from etl.archive.parquet import ParquetFile, to_parquet
from etl.archive.root import Root
from etl.errors import ChandlerError, StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A fallback that lies there.

    Attributes:
        file: None if its header cannot be trusted.
        fault: Why not.
    """

    root: Root
    file: FallbackFile | None
    fault: ChandlerError | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Files at the place of one archive file.

    Attributes:
        parquet: None if there is none, or if its footer cannot be trusted.
        fault: Why not.
        sheets: The later behind the earlier.
    """

    root: Root
    spot: Spot
    parquet: ParquetFile | None
    fault: StoreError | None
    sheets: list[Sheet]

    @property
    def seal(self) -> str | None:
        """The seal of the Parquet file, None without one."""
        return None if self.parquet is None else self.parquet.facts.seal(self.spot.series)

    @property
    def counting(self) -> Sheet | None:
        """The fallback that holds what the place does, if one does."""
        known = [sheet for sheet in self.sheets if sheet.file is not None and _would_count(sheet.file, self.seal)]
        return known[-1] if known else None

    @property
    def stale(self) -> list[Sheet]:
        """The fallbacks that do not count, those that are broken left out."""
        return [sheet for sheet in self.sheets if sheet.file is not None and sheet is not self.counting]

    def facts(self) -> FileFacts | None:
        """Return what the file that counts says of itself; None if there is none.

        Raises:
            StoreError: A fallback cannot be trusted, or the Parquet file, without one to stand in for it.
        """
        file = self._file()
        return None if file is None else file.facts

    def content(self) -> Content:
        """Return what the place holds; may raise what `facts` does."""
        file = self._file()
        return NOTHING if file is None else Content(file.read(), file.facts.covered)

    def _file(self) -> FallbackFile | ParquetFile | None:
        for sheet in self.sheets:
            if sheet.fault is not None:
                raise sheet.fault
        if self.counting is not None:
            return self.counting.file
        if self.fault is not None:
            raise self.fault
        return self.parquet

    def put_parquet(self, wanted: Content) -> None:
        """Make a Parquet file hold what is wanted, and remove what fallbacks there are.

        Raises:
            StoreError: It cannot be written, or a fallback that would come back cannot be removed.
        """
        facts = wanted.facts()
        content, seal = self._encoded(wanted.candles, facts)
        path = self.spot.path + PARQUET
        for sheet in self.stale:
            self._remove(sheet, seal)
        if content is None:
            self.root.remove(path)
        else:
            self.root.write(path, content)
        if self.counting is not None:
            self._remove(self.counting, seal)

    def _encoded(self, candles: pa.Table, facts: FileFacts) -> tuple[pa.Buffer | None, str | None]:
        if candles.num_rows == 0:
            return None, None
        try:
            return to_parquet(candles, facts, self.spot.series), facts.seal(self.spot.series)
        except (pa.ArrowException, OSError) as error:
            path = self.root.place_of(self.spot.path + PARQUET)
            raise StoreError(f"{path} cannot be encoded ({str(error).splitlines()[0]})") from error

    def _remove(self, sheet: Sheet, seal: str | None) -> None:
        """Remove a fallback; one that could not count beside a Parquet file of this seal may stay."""
        try:
            sheet.root.remove(self.spot.path + FALLBACK)
        except StoreError as error:
            if sheet.file is None or _would_count(sheet.file, seal):
                raise
            log.warning("%s; it counts no more, and chandler archive convert removes it", error.message)

    def put_fallback(self, wanted: Content, second: Root, reason: str) -> str:
        """Write what is wanted as a fallback, beside the Parquet file or else below the second root.

        Returns:
            Where it is.

        Raises:
            StoreError: Neither can be written. What was there is as it was.
        """
        seal = self.seal
        if self.parquet is None and self.counting is not None and self.counting.file is not None:
            seal = self.counting.file.replaces
        number = 1 + max((sheet.file.number for sheet in self.sheets if sheet.file is not None), default=0)
        content = to_fallback(wanted.candles, wanted.facts(), self.spot, number, seal)
        path, reasons = self.spot.path + FALLBACK, [reason]
        for root in (self.root, second):
            try:
                root.write(path, content)
            except StoreError as error:
                reasons.append(error.message)
                continue
            for sheet in self.sheets:
                if sheet.root is not root:
                    self._remove_superseded(sheet)
            return root.place_of(path)
        raise StoreError("the candles can be kept nowhere: " + "; ".join(reasons), series=self.spot.series)

    def _remove_superseded(self, sheet: Sheet) -> None:
        try:
            sheet.root.remove(self.spot.path + FALLBACK)
        except StoreError as error:
            log.warning("%s; a later one counts instead of it", error.message)

    def set_aside(self) -> str:
        """Move all that lies there to names that nobody reads; what counts goes last.

        Returns:
            Where what has counted is now, below its root.

        Raises:
            StoreError: It cannot be moved.
        """
        counting = self.counting
        aside = ""
        for sheet in self.sheets:
            if sheet is not counting:
                aside = sheet.root.set_aside(self.spot.path + FALLBACK)
        if self.parquet is not None or self.fault is not None:
            aside = self.root.set_aside(self.spot.path + PARQUET)
        return aside if counting is None else counting.root.set_aside(self.spot.path + FALLBACK)


def _would_count(file: FallbackFile, seal: str | None) -> bool:
    """Return whether a fallback counts beside a Parquet file of this seal; None: beside none that can be read."""
    return seal is None or file.replaces == seal
