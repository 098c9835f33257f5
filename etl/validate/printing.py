"""Empty slots that the writer of a file has left out, though the exchange itself prints a candle for them.

That an exchange prints empty slots holds for the rows that it sends. Many tools make candles out of trades and leave
out slots without any, as Kraken's own downloads do: that a file prints them must be shown by the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from etl.validate.runs import BUCKET, Mask
from etl.validate.silence import Presence, by_block

_OFTEN = 0.25


def find_unprinted(held: Mask, covered: Mask, stated: Mask, is_of_file: Mask, is_empty: Mask) -> Mask:
    """Return the silent slots of a series that the writer of a file may have left out because nothing was traded.

    They are those beside rows of a file, unless more empty slots of the file have a row than there are silences without
    one. Counted over the bucket and its two neighbours; beside means a bucket away at most.

    Args:
        held: (n_slots,) a candle is there, over whole buckets.
        covered: (n_slots,) silence says something.
        stated: (n_slots,) a file has a row without a price.
        is_of_file: (n_slots,) the candle came out of such a file.
        is_empty: (n_slots,) and is one without volume.

    Returns:
        (n_slots,)
    """
    silent = covered & ~held & ~stated
    with_row, of_file = held | stated, is_of_file | stated
    beside = silent & (_beside(with_row, of_file) | _beside(with_row[::-1], of_file[::-1])[::-1])
    if not beside.any():
        return beside
    # Cut between buckets, so that what is counted in one depends on it alone.
    begins = silent & ~np.concatenate(([False], silent[:-1]))
    begins[::BUCKET] = silent[::BUCKET]
    is_printed = _around(is_empty | (stated & ~held)) > _around(begins)
    return beside & ~np.repeat(is_printed, BUCKET)


def habit_chances(presence: Presence, silence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how likely the silence is that each slot lies in, by how silent the series is usually.

    Of a silence counts what lies within a bucket of the slot.

    Args:
        silence: From `usual_silence`.

    Returns:
        (n_series, n_slots) natural logarithms; 0 where a series is not silent.
    """
    silent = presence.covered & ~presence.held
    slots = np.arange(silent.shape[1])
    begun = np.maximum.accumulate(np.where(silent, -1, slots), axis=1)
    ended = np.minimum.accumulate(np.where(silent, len(slots), slots)[:, ::-1], axis=1)[:, ::-1]
    length = np.minimum(slots - begun, BUCKET) + np.minimum(ended - slots, BUCKET) - 1
    return np.where(silent, length * np.repeat(np.log(silence), BUCKET, axis=1), 0.0)


def is_often_silent(presence: Presence) -> Mask:
    """Return where a quarter of the blocks around that have candles have silent slots too: (n_series, n_slots)."""
    candles, silent = by_block(presence.held), by_block(presence.covered & ~presence.held)
    is_mixed, has_candles = (candles > 0) & (silent > 0), candles > 0
    is_often = np.count_nonzero(is_mixed, axis=2) >= _OFTEN * np.count_nonzero(has_candles, axis=2)
    return np.repeat(is_often, BUCKET, axis=1)


def _beside(with_row: Mask, of_file: Mask) -> Mask:
    """Return where the last slot with a row, a bucket before at most, is one of a file: (n_slots,)."""
    slots = np.arange(len(with_row))
    last = np.maximum.accumulate(np.where(with_row, slots, -1))
    near: Mask = (last >= 0) & (slots - last <= BUCKET) & of_file[last]
    return near


def _around(mask: Mask) -> NDArray[np.int64]:
    """Count the slots of each bucket and its two neighbours: (n_buckets,)."""
    counts = np.pad(np.count_nonzero(mask.reshape(-1, BUCKET), axis=1), 1)
    around: NDArray[np.int64] = counts[:-2] + counts[1:-1] + counts[2:]
    return around
