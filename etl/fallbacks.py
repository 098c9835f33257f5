"""Fallbacks: rows that could not be written as Parquet, and wait to become so. No candle of them is lost meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from etl.archive import Fallback
from etl.errors import StoreError
from etl.series import Series
from etl.stores import Stores
from etl.warehouse import known_series, lock_series

log = logging.getLogger(__name__)

CONVERT = "chandler archive convert"


@dataclass(frozen=True, slots=True)
class Conversion:
    """Result of converting a fallback.

    Attributes:
        failure: Why it still waits; None if it is Parquet now.
    """

    fallback: Fallback
    failure: str | None


def waiting_fallbacks(stores: Stores, only: Collection[Series] = ()) -> list[Fallback]:
    """Return the fallbacks that wait to be converted, of some series or of all.

    Raises:
        StoreError: The archive cannot be listed.
    """
    return [fallback for fallback in stores.archive.fallbacks() if not only or fallback.series in only]


def warning_of(fallback: Fallback) -> str:
    """Return what to tell of a fallback: where the rows are, and what makes Parquet of them."""
    place = f"{fallback.series} {fallback.span}"
    return f"{place}: Parquet could not be written; the candles are kept in {fallback.path}; run {CONVERT}"


def convert_fallbacks(stores: Stores) -> Iterator[Conversion]:
    """Make Parquet of what could not be written as such, and yield what has become of each.

    Raises:
        StoreUnavailableError: The warehouse, whose locks keep loads away meanwhile, does not answer.
    """
    for fallback in stores.archive.fallbacks():
        try:
            with _holding(stores, fallback.series):
                stores.archive.convert(fallback)
        except StoreError as error:
            log.warning("%s still waits: %s", fallback.path, error.message)
            yield Conversion(fallback, error.message)
        else:
            log.info("%s %s: %s is Parquet now", fallback.series, fallback.span, fallback.path)
            yield Conversion(fallback, None)


@contextmanager
def _holding(stores: Stores, series: Series) -> Iterator[None]:
    """Hold off the loads of a series. One that the warehouse does not know nobody loads."""
    with stores.warehouse.begin() as connection:
        if (series_id := known_series(connection).get(series)) is not None:
            lock_series(connection, series_id)
        yield
