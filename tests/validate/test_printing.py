"""Evidence of files that they print empty slots; the exchange's own rows are taken at the exchange's word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.schema import AbsenceKind
from etl.validate.judging import judge
from etl.validate.printing import find_unprinted
from etl.validate.runs import BUCKET, Mask
from etl.validate.silence import Presence
from tests.validate.test_judging import MINUTE, NAMES, START_MS, kinds

NO_TRADES, OUTAGE, HALTED = AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED
DOWN = slice(3 * BUCKET - 600, 3 * BUCKET - 100)


def drawn(share: float, seed: int, buckets: int = 6) -> Mask:
    """Return slots in which a symbol trades: (n_slots,); it does not in `share` of them."""
    traded: Mask = np.random.default_rng(seed).random(buckets * BUCKET) >= share
    return traded


def presence_of(held: Sequence[Mask], are_of_files: Sequence[bool], empty: Sequence[Mask] = ()) -> Presence:
    """Return series that are held in some slots, each by its exchange's API or out of a file.

    Args:
        empty: Of each series the slots whose candles have no volume; none without.
    """
    masks = np.array(held)
    nothing, everything = np.zeros_like(masks[0]), np.ones_like(masks[0])
    empties = empty or [nothing] * len(masks)
    unprinted = [
        find_unprinted(row, everything, nothing, row & is_of_file, zero & row & is_of_file)
        for row, is_of_file, zero in zip(masks, are_of_files, empties, strict=True)
    ]
    names = NAMES[: len(masks)]
    return Presence(MINUTE, START_MS, names, masks, np.ones_like(masks), None, np.array(unprinted))


def told(presence: Presence, of: int) -> tuple[set[AbsenceKind], set[AbsenceKind]]:
    """Return the kinds of a series that an exchange prints empty slots for: while it is down, and otherwise."""
    by_slot = kinds(presence, judge(presence, of, ~presence.held[of], True))
    inside, outside = by_slot[DOWN], np.delete(by_slot, DOWN)
    return {each for each in inside if each}, {each for each in outside if each}


@pytest.mark.parametrize("share", [0.003, 0.05, 0.3, 0.6, 0.9])
def test_a_file_that_leaves_out_empty_slots_has_no_outages_for_them(share: float) -> None:
    """Rarely or mostly silent: a lack of trades, with the assumption in the evidence; of the API's rows a halt."""
    held = [drawn(share, 1), drawn(0, 2)]
    presence = presence_of(held, [True, False])
    verdicts = judge(presence, 0, ~presence.held[0], True)
    assert set(verdicts.kinds) == {NO_TRADES}
    assert all(
        each.endswith("the imported file is taken to leave out slots without trades") for each in verdicts.evidence
    )
    assert set(judge(presence_of(held, [False, False]), 0, ~presence.held[0], True).kinds) == {HALTED}


@pytest.mark.parametrize(("share", "n_files"), [(0.0, 1), (0.002, 1), (0.002, 3), (0.3, 1), (0.3, 3)])
def test_a_long_silence_in_a_file_is_an_outage_all_the_same(share: float, n_files: int) -> None:
    """Alone or of several files; the short ones beside it are a lack of trades. Its chance is told."""
    held = [drawn(share, seed) for seed in range(n_files)]
    for row in held:
        row[DOWN] = False
        row[[DOWN.start - 1, DOWN.stop]] = True
    presence = presence_of(held, [True] * n_files)
    inside, outside = told(presence, 0)
    assert (inside, outside - {NO_TRADES}) == ({OUTAGE}, set())
    (longest,) = (each for each in judge(presence, 0, ~presence.held[0], True) if each.kind is OUTAGE)
    assert "; such a silence has a chance below 1e-15" in longest.evidence


def test_an_outage_in_which_trades_trickle_in_is_found_in_a_file_that_is_seldom_silent() -> None:
    """Silences side by side with candles are no habit of a file that has hardly any elsewhere."""
    held = drawn(0, 0)
    held[DOWN] = False
    held[DOWN.start + 20 : DOWN.stop : 21] = True
    inside, _ = told(presence_of([held], [True]), 0)
    assert inside == {OUTAGE}


def test_a_file_that_prints_empty_slots_is_taken_at_its_word() -> None:
    """With more rows without volume than silences, three slots without a row are a halt, or an outage of the most."""
    traded, missing = [drawn(0.3, seed) for seed in range(3)], slice(DOWN.start, DOWN.start + 3)
    held = [np.ones_like(each) for each in traded]
    held[0][missing] = False
    empty = [~each for each in traded]
    assert told(presence_of(held, [True] * 3, empty), 0) == ({HALTED}, set())
    assert told(presence_of(held, [True] * 3), 0) == ({NO_TRADES}, set()), "without a row like that it is not shown"
    for row in held[1:]:
        row[missing] = False
    assert told(presence_of(held, [True] * 3, empty), 0) == ({OUTAGE}, set())


def test_a_file_that_leaves_out_slots_has_no_say_in_an_outage_of_the_others() -> None:
    """Three thin files are silent in a minute in which one of two others by the API is: that is its halt."""
    held = [drawn(0, 0), drawn(0, 1), *(drawn(0.3, seed) for seed in range(3))]
    at = DOWN.start
    for row in (held[0], *held[2:]):
        row[at] = False
    are_of_files = [False, False, True, True, True]
    assert told(presence_of(held, are_of_files), 0) == ({HALTED}, set())
    held[1][at] = False
    assert told(presence_of(held, are_of_files), 0) == ({OUTAGE}, set())


@given(
    shares=st.lists(st.sampled_from([0.0, 0.002, 0.05, 0.6]), min_size=6, max_size=6),
    is_of_file=st.lists(st.booleans(), min_size=6, max_size=6),
    gaps=st.lists(st.tuples(st.integers(0, 6 * BUCKET), st.sampled_from([1, 50, 900, 2000])), max_size=3),
    seed=st.integers(0, 99),
    bucket=st.integers(1, 4),
)
@settings(max_examples=60)
def test_what_was_left_out_depends_on_the_bucket_and_its_neighbours_alone(
    shares: list[float], is_of_file: list[bool], gaps: list[tuple[int, int]], seed: int, bucket: int
) -> None:
    """Judged from whatever range, and built again in whatever pieces, a slot is taken for the same."""
    held = np.concatenate([drawn(share, seed + place, 1) for place, share in enumerate(shares)])
    for start, length in gaps:
        held[start : start + length] = False
    of_file, empty = held & np.repeat(is_of_file, BUCKET), held & ~drawn(0.003, seed)
    none, every = np.zeros_like(held), np.ones_like(held)
    whole = find_unprinted(held, every, none, of_file, empty & of_file)
    here = slice((bucket - 1) * BUCKET, (bucket + 2) * BUCKET)
    near = find_unprinted(held[here], every[here], none[here], of_file[here], (empty & of_file)[here])
    assert np.array_equal(near[BUCKET : 2 * BUCKET], whole[bucket * BUCKET : (bucket + 1) * BUCKET])
    assert not (whole & held).any()
