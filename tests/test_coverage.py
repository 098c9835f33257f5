"""A letter a day says what is held of it, and what not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.coverage import GRAVITY, STORED, UNKNOWN, SeriesCoverage, read_coverage
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.warehouse import Quality, ensure_series, write_quality
from tests.conftest import BTC

FIRST = datetime(2024, 2, 20, tzinfo=UTC)
DAY = timedelta(days=1)
DAILY = Series.parse("kraken:BTC/USD:1d")


def _days(first: int, end: int) -> TimeRange:
    return TimeRange(FIRST + first * DAY, FIRST + end * DAY)


def _cover(stores: Stores, days: TimeRange, known: Mapping[int, Quality], series: Series = BTC) -> SeriesCoverage:
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, series)
        counted = {(FIRST + number * DAY).date(): quality for number, quality in known.items()}
        write_quality(connection, series_id, _days(-50, 50), counted)
        (cover,) = read_coverage(connection, days, [series])
    return cover


def test_days_are_told_by_letters_and_numbers_count_from_the_first(stores: Stores) -> None:
    """Nothing known, all stored, absent by the gravest kind, in part; what is beside that is counted by the day."""
    known = {
        -1: Quality(1440, 1440),
        1: Quality(1440, 1440, flagged={"jump": 2, "price_outlier": 3}, revisions=4),
        2: Quality(1440, 1400, absent={"no_trades": 30, "outage": 10}),
        3: Quality(1440, 0, absent={"delisted": 1440}),
        4: Quality(600, 599, absent={"refused": 1}, refused={"range": 1, "order": 2}),
        5: Quality(300, 300),
        6: Quality(refused={"range": 7}),
        7: Quality(1440, 1440),
    }
    cover = _cover(stores, _days(0, 7), known)
    assert cover == SeriesCoverage(
        series=str(BTC),
        per_day=1440,
        states=".sodes.",
        missing={"2": {"no_trades": 30, "outage": 10}, "3": {"delisted": 1440}, "4": {"refused": 1}},
        partial={"4": 600, "5": 300},
        refused={"4": 3, "6": 7},
        revised={"1": 4},
        flagged={"1": 5},
    )
    assert _cover(stores, _days(0, 2), {0: Quality(1, 1)}, DAILY).states == "s."
    with stores.warehouse.begin() as connection:
        everything = read_coverage(connection, TimeRange(FIRST + DAY / 2, FIRST + DAY))
        assert [(one.series, one.states) for one in everything] == [(str(BTC), "."), (str(DAILY), "s")]
        assert read_coverage(connection, _days(0, 1), [Series.parse("okx:BTC/USDT:1m")]) == []


def test_each_kind_has_a_letter_of_its_own() -> None:
    """So that adding one is noticed here."""
    assert set(GRAVITY) == set(AbsenceKind)
    assert len({UNKNOWN, STORED, *GRAVITY.values()}) == len(AbsenceKind) + 2


qualities = st.builds(
    Quality,
    expected=st.integers(0, 1440),
    stored=st.integers(0, 1440),
    absent=st.dictionaries(st.sampled_from([kind.value for kind in AbsenceKind]), st.integers(1, 99), max_size=3),
    flagged=st.dictionaries(st.sampled_from(["jump", "frozen_price"]), st.integers(1, 9)),
    revisions=st.integers(0, 2),
)


@given(known=st.dictionaries(st.integers(-3, 30), qualities), first=st.integers(-5, 5), length=st.integers(1, 30))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_coverage_is_what_a_recount_of_the_days_gives(
    known: dict[int, Quality], first: int, length: int, stores: Stores
) -> None:
    """Whatever is known of which day, and wherever the picture begins."""
    cover = _cover(stores, _days(first, first + length), known)
    expected: dict[str, dict[str, Any]] = {name: {} for name in ("missing", "partial", "refused", "revised", "flagged")}
    states = []
    for number in range(first, first + length):
        quality = known.get(number, Quality())
        key = str(number - first)
        kinds = [kind for kind in GRAVITY if kind in quality.absent]
        states.append(GRAVITY[kinds[0]] if kinds else STORED if quality.expected else UNKNOWN)
        for name, what in (("missing", quality.absent), ("revised", quality.revisions)):
            if what:
                expected[name][key] = what
        if 0 < quality.expected < 1440:
            expected["partial"][key] = quality.expected
        if quality.flagged:
            expected["flagged"][key] = sum(quality.flagged.values())
    assert cover == SeriesCoverage(str(BTC), 1440, "".join(states), **expected)
