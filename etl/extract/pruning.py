"""Removal of raw pages that are kept no longer, and of what a kill has left; never of what a run may be working on."""

from __future__ import annotations

import math
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from etl.errors import StoreError
from etl.extract.raw import DONE, FOLDED, REFUSED, RawPartition, RawStore, span_of

_AT_REST = timedelta(days=1)  # what was written to later may be what a run works on


@dataclass(slots=True)
class Pruned:
    """Removed files and their bytes."""

    files: int = 0
    size_bytes: int = 0


def at_rest(raw: RawStore, now: datetime) -> list[RawPartition]:
    """Return the partitions that have pages to which nothing was added for a day, in the order of their names."""
    return [
        RawPartition(home, series, span)
        for home, series in raw.homes()
        for folder in sorted(_content(home))
        if (span := span_of(folder.name)) is not None and _newest(folder) < (now - _AT_REST).timestamp()
    ]


def prune(raw: RawStore, now: datetime, keep: timedelta) -> Pruned:
    """Remove what was folded or set aside longer ago than it is kept, and what is left of a removal that was killed.

    Raises:
        StoreError: The file system refuses.
    """
    pruned = Pruned()
    try:
        for home, _ in raw.homes():
            old = (path for place in (FOLDED, REFUSED) for path in home.glob(f"{place}/*"))
            for path in [each for each in old if _newest(each) < (now - keep).timestamp()]:
                _remove(path, pruned)
            if home.is_dir() and home.stat().st_mtime < (now - _AT_REST).timestamp():
                # Nothing came or went for a day, so nobody is about to put something there.
                shutil.rmtree(home / DONE, ignore_errors=True)
                for folder in (home / FOLDED, home / REFUSED, home, *home.parents[:2]):
                    with suppress(OSError):
                        folder.rmdir()
    except OSError as error:
        raise StoreError(f"{error.filename} cannot be removed ({error.strerror}); mend its rights") from error
    return pruned


def _content(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it is gone."""
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []


def _newest(path: Path) -> float:
    """Return when a file, or the last one in a folder, was written; by the clock of the file system.

    What is gone, as a load or another removal has just taken it away, is as new as can be: nothing is to be done.
    """
    try:
        return max(float(each.stat().st_mtime) for each in (path, *(path.iterdir() if path.is_dir() else ())))
    except FileNotFoundError:
        return math.inf


def _remove(path: Path, pruned: Pruned) -> None:
    files = _content(path) if path.is_dir() else [path]
    with suppress(FileNotFoundError):  # another removal was there first
        sizes = [file.stat().st_size for file in files]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        pruned.files += len(files)
        pruned.size_bytes += sum(sizes)
