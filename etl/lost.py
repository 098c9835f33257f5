"""A lost warehouse, told from one that was never made by what the archive holds of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from etl.archive import open_archive
from etl.errors import ChandlerError, ConfigError, NoStoreError
from etl.settings import Settings
from etl.spelling import counted
from etl.warehouse import Warehouse, open_warehouse


@contextmanager
def open_present(settings: Settings) -> Iterator[Warehouse]:
    """Open the warehouse that is there, and make none.

    Raises:
        ConfigError: Nothing is loaded yet, or the warehouse is lost; see `open_warehouse` for others.
    """
    with ExitStack() as stack:
        try:
            warehouse = stack.enter_context(open_warehouse(settings, creates=False))
        except NoStoreError as error:
            if not (held := archived(settings)):
                raise
            raise ConfigError(
                f"the warehouse is lost: there is no store in {settings.home}, and the archive holds {held}; "
                "to build it again from there: chandler warehouse rebuild"
            ) from error
        yield warehouse


def archived(settings: Settings) -> str:
    """Return how much the archive holds, such as `3 files of 1 series`; nothing if it is empty or does not answer."""
    try:
        archive = open_archive(settings)
        counts = [len(archive.files(series)) for series in archive.series()]
    except ChandlerError:
        return ""
    return f"{counted(sum(counts), 'file')} of {counted(len(counts), 'series', 'series')}" if counts else ""
