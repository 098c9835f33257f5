from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from etl.findings import Findings
from etl.schema import AbsenceKind
from etl.series import TimeRange, symbol_to_path
from etl.timeframe import Timeframe, to_ms
from etl.validate.judging import judge, surroundings
from etl.validate.runs import BUCKET, Mask, find_runs
from etl.validate.silence import Presence, find_outages, usual_silence

MINUTE = Timeframe.M1
START_MS = 12_345 * BUCKET * MINUTE.ms
NAMES = ("BTC/USD", "ETH/USD", "LTC/USD", "XRP/USD", "DOGE/USD")
THICK, THIN = 0.01, 0.4
HALF_YEAR_MS = to_ms(datetime(2018, 1, 1, tzinfo=UTC))
Kinds = NDArray[np.object_]


def market(*rates: float, buckets: int = 5, seed: int = 0) -> Presence:
    """All is loaded, and each series is silent by chance at its rate; 0 for an exchange that prints empty minutes."""
    drawn = np.random.default_rng(seed).random((len(rates), buckets * BUCKET))
    held = drawn >= np.array(rates)[:, None]
    return Presence(MINUTE, START_MS, NAMES[: len(rates)], held, np.ones_like(held))


def kinds(presence: Presence, verdicts: Findings) -> Kinds:
    """The kind of each slot, None where nothing was judged."""
    by_slot: Kinds = np.full(presence.held.shape[1], None, dtype=object)
    for verdict in verdicts:
        first, end = ((at - presence.start_ms) // MINUTE.ms for at in (verdict.span.start_ms, verdict.span.end_ms))
        assert first < end
        assert not np.any(by_slot[first:end]), "no slot is judged twice"
        by_slot[first:end] = verdict.kind
    return by_slot


def judged(presence: Presence, of: int, prints_empty: bool) -> Kinds:
    """Every silent slot of one series, judged."""
    return kinds(presence, judge(presence, of, ~presence.held[of], prints_empty))


@st.composite
def presences(draw: st.DrawFn) -> Presence:
    """A few buckets of a few series, thick and thin, with stretches that are not loaded, halts and outages."""
    rates = draw(st.lists(st.sampled_from([0.0, THICK, THIN, 0.95]), min_size=1, max_size=len(NAMES)))
    presence = market(*rates, buckets=draw(st.integers(3, 6)), seed=draw(st.integers(0, 2**32)))
    n_series, n_slots = presence.held.shape
    stretches = st.tuples(st.integers(0, n_slots - 1), st.sampled_from([1, 2, 7, 60, 700, 3000]))
    for start, length in draw(st.lists(stretches, max_size=4)):
        silent = draw(st.lists(st.booleans(), min_size=n_series, max_size=n_series))
        presence.held[silent, start : start + length] = False
    for start, length in draw(st.lists(stretches, max_size=2)):
        each = draw(st.integers(0, n_series - 1))
        presence.held[each, start : start + length] = presence.covered[each, start : start + length] = False
    return presence


@given(presence=presences(), prints_empty=st.booleans(), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_verdicts_are_of_exactly_the_slots_asked_for(presence: Presence, prints_empty: bool, seed: int) -> None:
    """They ascend, do not overlap, cover what is absent and no more, and change their kind where they touch."""
    wanted = np.random.default_rng(seed).random(presence.held.shape[1]) < 0.9
    absent = ~presence.held[0] & presence.covered[0] & wanted
    verdicts = judge(presence, 0, absent, prints_empty)
    assert np.array_equal(kinds(presence, verdicts) != None, absent)  # noqa: E711 (element by element)
    for one, other in itertools.pairwise(verdicts):
        assert one.span.end < other.span.start or (one.span.end == other.span.start and one.kind is not other.kind)
    if prints_empty:
        assert AbsenceKind.NO_TRADES not in {verdict.kind for verdict in verdicts}
    assert all(verdict.evidence for verdict in verdicts)


@given(presence=presences(), prints_empty=st.booleans(), at=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60)
def test_what_lies_further_away_does_not_matter(presence: Presence, prints_empty: bool, at: float) -> None:
    """A silence is judged alike from its surroundings alone and from all that is held."""
    silent = ~presence.held[0] & presence.covered[0]
    starts, ends = find_runs(silent)
    if not len(starts):
        return
    each = int(at * len(starts))
    first_ms, end_ms = (presence.start_ms + int(slot) * MINUTE.ms for slot in (starts[each], ends[each]))
    around = surroundings(TimeRange.from_ms(first_ms, end_ms), MINUTE)
    begin = max(0, (around.start_ms - presence.start_ms) // MINUTE.ms)
    here = slice(begin, (around.end_ms - presence.start_ms) // MINUTE.ms)
    absent = np.zeros_like(silent)
    absent[starts[each] : ends[each]] = True
    near = Presence(
        MINUTE,
        presence.start_ms + begin * MINUTE.ms,
        presence.series,
        presence.held[:, here],
        presence.covered[:, here],
    )
    assert list(judge(near, 0, absent[here], prints_empty)) == list(judge(presence, 0, absent, prints_empty))


@given(
    rates=st.lists(st.sampled_from([THICK, THIN]), min_size=1, max_size=4),
    start=st.integers(BUCKET, 4 * BUCKET),
    length=st.integers(5, 600),
    seed=st.integers(0, 99),
)
@settings(max_examples=40)
def test_when_all_are_silent_for_long_it_is_an_outage(rates: list[float], start: int, length: int, seed: int) -> None:
    """Thick or thin, whether the exchange prints empty minutes or not."""
    presence = market(THICK, *rates, seed=seed)
    stretch = slice(start, start + length)
    presence.held[:, stretch] = False
    # Midnight may leave a slot or two alone, too few for an outage by chance.
    whole = start // BUCKET == (start + length - 1) // BUCKET
    for of in range(len(rates) + 1):
        for prints_empty in (True, False) if whole else (True,):
            assert set(judged(presence, of, prints_empty)[stretch]) == {AbsenceKind.OUTAGE}


@given(start=st.integers(BUCKET, 4 * BUCKET), length=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_who_is_silent_alone_is_halted_or_hardly_traded(start: int, length: int, seed: int) -> None:
    """A minute or three of one symbol: a halt where empty minutes are printed, a lack of trades where not."""
    stretch = slice(start, start + length)
    printing, other = market(0, 0, 0, 0, seed=seed), market(0, 0, 0, THIN, seed=seed)
    for presence in (printing, other):
        presence.held[3, stretch] = False
    assert set(judged(printing, 3, True)[stretch]) == {AbsenceKind.HALTED}
    assert set(judged(other, 3, False)[stretch]) == {AbsenceKind.NO_TRADES}


def test_a_thick_symbol_that_is_long_silent_alone_is_halted() -> None:
    """An hour, most of a day, or a week with no candle near its middle is more than a lack of trades."""
    for length in (60, 1200, 7 * BUCKET):
        presence = market(THICK, THIN, THICK, buckets=11)
        stretch = slice(2 * BUCKET + 100, 2 * BUCKET + 100 + length)
        presence.held[2, stretch] = False
        (verdict,) = (v for v in judge(presence, 2, ~presence.held[2], False) if v.kind is AbsenceKind.HALTED)
        assert verdict.span.count(MINUTE) == length
        assert f"of {length:,} slots, BTC/USD in" in verdict.evidence
        assert set(judged(presence, 0, False)) <= {None, AbsenceKind.NO_TRADES}, "others are not touched by it"


def test_the_majority_tells_an_outage_from_halts_where_empty_minutes_are_printed() -> None:
    """One minute without three of four symbols is an outage for the three; without two of them, two halts."""
    presence = market(0, 0, 0, 0)
    presence.held[:3, 3000] = presence.held[:2, 4000] = False
    for of in (0, 1):
        by_slot = judged(presence, of, True)
        assert (by_slot[3000], by_slot[4000]) == (AbsenceKind.OUTAGE, AbsenceKind.HALTED)


def test_an_outage_of_days_is_one_verdict() -> None:
    """All series are known to be silent even if nothing is held for longer than rates are counted over."""
    presence = market(THICK, THICK, buckets=9)
    presence.held[:, BUCKET + 9 : 7 * BUCKET] = False
    (verdict,) = (v for v in judge(presence, 0, ~presence.held[0], False) if v.kind is AbsenceKind.OUTAGE)
    assert verdict.span.count(MINUTE) == 6 * BUCKET - 9
    assert verdict.evidence.startswith("0 candles of 2 series came, where ")


def test_outages_are_found_bucket_by_bucket() -> None:
    """Across midnight there are two, so that what is said of a day does not hang on days beyond its neighbours."""
    presence = market(THICK, THICK, THICK)
    presence.held[:, 2 * BUCKET - 30 : 2 * BUCKET + 30] = False
    starts, ends = find_outages(presence, usual_silence(presence))
    assert starts[1] == ends[0] == 2 * BUCKET


def test_trades_that_trickle_in_do_not_end_an_outage() -> None:
    """While one series has a candle now and then, the others' silence is the outage's, not a halt of each."""
    presence = market(THICK, THICK, THIN, THIN)
    stretch = slice(3000, 3180)
    presence.held[:, stretch] = False
    presence.held[0, 3005:3180:10] = True
    for of in (1, 2, 3):
        assert set(judged(presence, of, False)[stretch]) == {AbsenceKind.OUTAGE}
    (verdict,) = (v for v in judge(presence, 1, ~presence.held[1], False) if v.kind is AbsenceKind.OUTAGE)
    assert verdict.evidence.startswith("18 candles of 4 series came, where ")


def test_a_quiet_night_of_thin_symbols_is_no_outage() -> None:
    """No exchange is said to be down if many symbols trade half as often for eight hours of each day."""
    rng = np.random.default_rng(7)
    is_night = np.arange(5 * BUCKET) % BUCKET < 480
    held = rng.random((40, 5 * BUCKET)) >= np.where(is_night, 0.8, 0.6)
    names = [f"A{number}/USD" for number in range(40)]
    presence = Presence(MINUTE, START_MS, names, held, np.ones_like(held))
    for of in (0, 1):
        assert set(judged(presence, of, False)) == {None, AbsenceKind.NO_TRADES}


def test_a_series_without_company_says_so() -> None:
    """With nothing else loaded, a long silence is an outage that may be a halt, and the evidence says that."""
    presence = market(THICK, THICK)
    presence.held[0, 3000:3060] = presence.held[1, 2900:3200] = presence.covered[1, 2900:3200] = False
    for prints_empty in (True, False):
        (verdict,) = (v for v in judge(presence, 0, ~presence.held[0], prints_empty) if v.span.count(MINUTE) == 60)
        assert verdict.kind is AbsenceKind.OUTAGE
        said, _, chance = verdict.evidence.partition("; ")
        assert said == "nothing else of the exchange is loaded that could tell an outage from a halt"
        assert chance == ("" if prints_empty else "such a silence has a chance below 1e-15")
    presence.held[1, 3030:3200] = presence.covered[1, 3030:3200] = True
    (first, second) = (v for v in judge(presence, 0, ~presence.held[0], False) if v.span.count(MINUTE) == 30)
    assert (first.kind, second.kind) == (AbsenceKind.OUTAGE, AbsenceKind.HALTED), "each half by what is known of it"


def clustered(share: float, n_series: int, seed: int) -> Presence:
    """A week of symbols, silent in `share` of all slots; thin ones more so at night, and in lulls that all have."""
    rng = np.random.default_rng(seed)
    n_slots = 7 * BUCKET
    is_night = np.arange(n_slots) % BUCKET < 480
    lulls = np.repeat(rng.gamma(30.0 if share <= 0.5 else 0.7, size=n_slots // 60), 60)
    busy = np.where(is_night, 0.7 if share <= 0.5 else 0.25, 1.0) * lulls
    low, high = 1e-9, 1e6
    for _ in range(80):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if np.exp(-middle * busy).mean() > share else (low, middle)
    held = rng.random((n_series, n_slots)) >= np.exp(-low * busy)
    return Presence(MINUTE, START_MS, NAMES[:n_series], held, np.ones_like(held))


LONG_ENOUGH = {0.05: 30, 0.5: 240, 0.9: BUCKET}
"""Minutes of an outage that are known from a lull, by the share of silent slots; with 99 % none are."""


def lulled(share: float, n_series: int, seed: int, factor: float) -> tuple[Presence, Mask]:
    """A week as `clustered`, with hours in which all symbols trade less, and with outages beside and within them.

    Returns:
        All that is held, and (n_slots,) where the exchange is down.
    """
    rng = np.random.default_rng(seed)
    thin, down = clustered(share, n_series, seed), np.zeros(7 * BUCKET, dtype=np.bool_)
    traded = thin.held.copy()
    for day in (2, 4):
        start, hours = day * BUCKET + int(rng.integers(0, 960)), (3, 8)[seed % 2]
        lull = slice(start, start + 60 * hours)
        # Of candles at a rate r a share of 1 - exp(-r) is there: one of 1 - exp(-r / factor) is left.
        rates = -np.log(np.clip(1 - traded[:, lull].mean(), 1e-3, 1 - 1e-9))
        traded[:, lull] &= rng.random((n_series, 60 * hours)) < -np.expm1(-rates / factor) / -np.expm1(-rates)
    length = LONG_ENOUGH.get(share, 0)
    for start in (3 * BUCKET, 5 * BUCKET + 300) if length < BUCKET else (5 * BUCKET,):
        down[start : start + length] = True
    traded[:, down] = False
    return Presence(MINUTE, START_MS, NAMES[:n_series], traded, np.ones_like(traded)), down


@pytest.mark.parametrize("factor", [2, 5, 10])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_lulls_of_all_symbols_are_no_outages_and_outages_beside_them_are(share: float, factor: float) -> None:
    """For hours all symbols trade two to ten times less: a lack of trades; what the exchange was down is found."""
    found, wrong, missed = 0, 0, 0
    for seed, n_series in itertools.product(range(2), (1, 2, 4)):
        presence, down = lulled(share, n_series, seed, factor)
        for of in range(n_series):
            by_slot = judged(presence, of, False)
            assert AbsenceKind.HALTED not in set(by_slot)
            is_outage = by_slot == AbsenceKind.OUTAGE
            near = down.copy()  # an outage takes in the silent minutes that it touches
            for start, end in zip(*find_runs(~presence.held[of]), strict=True):
                near[start:end] |= down[start:end].any()
            found += int(np.count_nonzero(is_outage & down))
            missed += int(np.count_nonzero(~is_outage & down))
            wrong += int(np.count_nonzero(is_outage & ~near))
    assert wrong == 0
    assert found >= (0.9 if share < 0.9 else 0.7) * (found + missed), "most of what it was down"


def minutes(presence: Presence, of: int) -> Counter[AbsenceKind]:
    """Return how many minutes of a series are of each kind, from its first candle on."""
    by_slot = judged(presence, of, False)[np.flatnonzero(presence.held[of])[0] :]
    return Counter(kind for kind in by_slot if kind is not None)


@pytest.mark.parametrize("n_series", [1, 2, 4])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.99])
def test_silence_that_is_usual_on_an_exchange_is_never_a_halt_or_an_outage(share: float, n_series: int) -> None:
    """Thick or thin, with nights and with hours in which hardly anybody trades: nobody was halted, nothing was down."""
    for seed in range(4):
        presence = clustered(share, n_series, seed)
        for of in range(n_series):
            told = minutes(presence, of)

            assert told[AbsenceKind.OUTAGE] == 0, f"seed {seed}, {NAMES[of]}: {told}"
            assert set(told) <= {AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE}, f"seed {seed}, {NAMES[of]}: {told}"


@pytest.mark.parametrize(("share", "length"), [(0.05, 30), (0.5, 240), (0.9, 3 * BUCKET), (0.99, 40)])
def test_made_up_halts_and_outages_are_found_as_far_as_it_can_be_known(share: float, length: int) -> None:
    """Half an hour of a thick symbol, hours or days of thinner ones; never a silence that is like many others."""
    stretch = slice(3 * BUCKET - 600, 3 * BUCKET - 600 + length)
    for seed in range(3):
        halt, outage = clustered(share, 3, seed), clustered(share, 3, seed)
        halt.held[0, stretch] = outage.held[:, stretch] = False
        of_halt, of_outage = (set(judged(each, 0, False)[stretch]) for each in (halt, outage))
        known = share < 0.99
        assert of_halt == {AbsenceKind.HALTED if known else AbsenceKind.NO_TRADES}
        assert of_outage == {AbsenceKind.OUTAGE if known else AbsenceKind.NO_TRADES}


def test_only_whole_buckets_are_taken() -> None:
    """A presence that begins in mid-bucket, or lacks a slot, would be judged otherwise than its neighbours."""
    held = np.ones((1, BUCKET), dtype=np.bool_)
    for start_ms, mask in ((START_MS + MINUTE.ms, held), (START_MS, held[:, 1:])):
        with pytest.raises(ValueError, match="not whole buckets"):
            Presence(MINUTE, start_ms, ("BTC/USD",), mask, mask)


def test_the_kinds_make_sense_on_half_a_year_of_bitfinex(real_data: Path) -> None:
    """Four symbols side by side: three days with long outages, no halt, and thin symbols that just do not trade."""
    folder = real_data / "bitfinex"
    if not folder.is_dir():
        pytest.skip("no recordings of bitfinex")
    held = np.zeros((4, 181 * BUCKET), dtype=np.bool_)
    for row, symbol in zip(held, NAMES, strict=False):
        times = pq.read_table(folder / symbol_to_path(symbol) / "1m.parquet", columns=["open_time"]).column(0)
        row[(np.asarray(times.cast("int64").combine_chunks()) - HALF_YEAR_MS) // MINUTE.ms] = True
    presence = Presence(MINUTE, HALF_YEAR_MS, NAMES[:4], held, np.ones_like(held))
    by_series = np.array([judged(presence, of, False) for of in range(4)])
    is_outage = by_series == AbsenceKind.OUTAGE
    assert not np.any(by_series == AbsenceKind.HALTED)
    silent = (~presence.held).sum(axis=0)
    assert is_outage[:, silent == 1].sum() == 1, "one silent symbol is none, but at the slow end of an outage"
    assert is_outage[:, silent == 4].all(axis=0).sum() == 389, "four are, but for lone minutes that are too likely"
    days = Counter((np.flatnonzero(is_outage[0]) // BUCKET).tolist())
    assert sorted(day for day, minutes in days.items() if minutes > 10) == [79, 100, 155], "21 March, 11 April, 5 June"
    assert is_outage.sum(axis=1).tolist() == [397, 419, 459, 458]
