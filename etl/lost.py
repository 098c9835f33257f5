"""Opening a warehouse that may not be there: a lost one is told by what the archive holds, and is never replaced.

An empty warehouse beside a full archive would have no account of what the archive holds. So what loads makes one only
where the archive is empty, and `chandler warehouse rebuild` alone makes one beside candles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from etl.archive import open_archive
from etl.errors import ChandlerError, LostWarehouseError, NoStoreError
from etl.homes import Creates
from etl.settings import Settings
from etl.spelling import counted
from etl.warehouse import Warehouse, open_warehouse


@contextmanager
def open_present(settings: Settings) -> Iterator[Warehouse]:
    """Open the warehouse that is there, and make none; see `open_or_make` for what may be raised."""
    with open_or_make(settings, Creates.NEVER) as warehouse:
        yield warehouse


@contextmanager
def open_or_make(
    settings: Settings,
    creates: Creates = Creates.UNLESS_LOST,
    *,
    wait_s: int | None = None,
    longest_s: int | None = None,
) -> Iterator[Warehouse]:
    """Open the warehouse, or make one where that loses nothing; see `open_warehouse` for the times and further errors.

    Raises:
        NoStoreError: Nothing is loaded yet, and none may be made.
        LostWarehouseError: None is there, and the archive holds candles.
        StoreError: None is there, and the archive does not say what it holds.
    """
    with ExitStack() as stack:
        try:
            is_made = creates is Creates.ALWAYS
            opened = open_warehouse(settings, wait_s=wait_s, longest_s=longest_s, creates=is_made)
            warehouse = stack.enter_context(opened)
        except NoStoreError as error:
            if held := _count(settings):
                raise LostWarehouseError(
                    f"the warehouse is lost: {error.missing}, and the archive {open_archive(settings).place} holds "
                    f"{held}; put a backup of the warehouse back, or build it again from there: "
                    "chandler warehouse rebuild"
                ) from error
            if creates is Creates.NEVER:
                raise
            made = open_warehouse(settings, wait_s=wait_s, longest_s=longest_s, creates=True)
            warehouse = stack.enter_context(made)
        yield warehouse


def archived(settings: Settings) -> str:
    """Return how much the archive holds, such as `3 files of 1 series`; nothing if it is empty or does not answer."""
    try:
        return _count(settings)
    except ChandlerError:
        return ""


def _count(settings: Settings) -> str:
    archive = open_archive(settings)
    counts = [count for series in archive.series() if (count := len(archive.files(series)))]
    return f"{counted(sum(counts), 'file')} of {counted(len(counts), 'series', 'series')}" if counts else ""
