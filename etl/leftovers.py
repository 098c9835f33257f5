"""Raw pages of loaded ranges, left by a process that was killed before it loaded them, or before it folded them."""

from __future__ import annotations

import logging

from etl.errors import StoreError, StoreUnavailableError
from etl.extract import RawPartition
from etl.series import Series, TimeRange, subtract, united
from etl.spelling import counted
from etl.stores import Stores
from etl.warehouse import loaded_since, try_lock_partition, unlock_partition

log = logging.getLogger(__name__)


def fold_leftovers(stores: Stores, series: Series, besides: TimeRange | None = None) -> int:
    """Fold the raw pages of a series that a killed process has left and loads have covered; return how many ranges.

    Loads of other ranges count, too: one that is wider, or several that cover the pages' range together. Pages that
    were fetched after the loads stay: a run is to clean and load them. So do those of a partition on which another
    process works.

    Args:
        besides: The range that the caller is about to fetch, whose pages it may use again.

    Raises:
        StoreUnavailableError: The warehouse does not answer.
    """
    folded = 0
    for raw in stores.raw.partitions(series):
        if raw.time_range == besides or not try_lock_partition(stores.warehouse, series, raw.time_range):
            continue
        try:
            if _is_loaded(stores, raw):
                raw.fold_rest()
                folded += 1
        except StoreUnavailableError:
            raise
        except (StoreError, FileNotFoundError) as error:
            # The range is loaded; its pages can wait for `fold_raw`.
            log.warning("%s %s: raw pages are left where they are: %s", series, raw.time_range, error)
        finally:
            unlock_partition(stores.warehouse, series, raw.time_range)
    if folded:
        log.info("%s: folded raw pages of %s, left by a killed process", series, counted(folded, "loaded range"))
    return folded


def _is_loaded(stores: Stores, raw: RawPartition) -> bool:
    """Return whether loads that committed after the fetch had begun cover all of its range."""
    begun = raw.read_begun()
    if begun is None:
        return False
    with stores.warehouse.begin() as connection:
        return not subtract(raw.time_range, united(loaded_since(connection, raw.series, begun)))
