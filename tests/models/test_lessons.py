"""Training data of a night: which candles, of which days, as of which moment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
import pytest
from sqlalchemy import text

from etl.errors import ConfigError, InsufficientHistoryError
from etl.feeds import SeriesSettings
from etl.learning import Learning
from etl.read import read_candles
from etl.schema import to_columns
from etl.series import TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import Warehouse, ensure_series, known_series, open_warehouse, vouch
from etl.warehouse.copying import copy_in
from etl.warehouse.reading import cursor_of
from models.lessons import read_lessons, split_history
from tests.models.nights import BTC, END, ETH, LEARNING, TARGET, market, store, wild

DAY = timedelta(days=1)


@pytest.fixture
def warehouse(learning: Settings) -> Iterator[Warehouse]:
    """A warehouse with some weeks of one series."""
    with open_warehouse(learning) as opened:
        store(opened, BTC, market(1))
        yield opened


def test_the_very_candles_can_be_read_again(learning: Settings) -> None:
    """As of the moment that is kept with a model, whatever was stored later; a load under way counts as later."""
    candles = market(1)
    with open_warehouse(learning) as warehouse:
        store(warehouse, BTC, candles.slice(0, candles.num_rows - 50))
        with warehouse.begin() as loading, cursor_of(loading) as cursor:
            cursor.execute("SELECT 1")  # a load has begun, and stores after the night has read
            lessons = read_lessons(warehouse, learning, TARGET, END, lambda _: None)
            copy_in(cursor, "candles", ensure_series(loading, BTC), candles.slice(candles.num_rows - 50))
        again = read_candles(BTC, lessons.split.whole, as_of=lessons.as_of, settings=learning)
        assert again.num_rows == candles.num_rows - 50
        assert again.equals(lessons.candles[BTC])
        assert read_lessons(warehouse, learning, TARGET, END, lambda _: None).data_hash != lessons.data_hash


def test_nothing_that_opens_at_or_after_the_end_is_looked_at(warehouse: Warehouse, learning: Settings) -> None:
    """A rerun of a past night learns the same, whatever has come since."""
    late = learning.model_copy(update={"models": LEARNING.model_copy(update={"history": 22 * DAY})})
    before = read_lessons(warehouse, late, TARGET, END - DAY, lambda _: None)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM candles WHERE open_time >= :end"), {"end": END - DAY})
    after = read_lessons(warehouse, late, TARGET, END - DAY, lambda _: None)
    assert after.data_hash == before.data_hash
    assert after.split == before.split


def test_what_the_archive_alone_keeps_is_not_learned_and_said(warehouse: Warehouse, learning: Settings) -> None:
    """Its candles cannot be read as of a moment, so learning begins after them."""
    early = TimeRange(END - 30 * DAY, END - 22 * DAY)
    with warehouse.begin() as connection:
        series_id = known_series(connection)[BTC]
        vouch(connection, series_id, TARGET.timeframe, early, "load", ())
        connection.execute(text("UPDATE checkpoints SET is_retired = true"))
    lessons = read_lessons(warehouse, learning, TARGET, END, lambda _: None)
    assert int(to_columns(lessons.candles[BTC])["open_time"].min()) >= early.end_ms
    assert lessons.remarks == (
        f"{BTC}: the archive alone keeps what is older than {early.end:%Y-%m-%d %H:%M}; not learned",
    )


def test_the_parts_of_a_history_follow_one_another() -> None:
    """The part to compare follows the part for thresholds, and that the part to learn: whole days of the end."""
    split = split_history(Timeframe.M1, END + timedelta(hours=4, minutes=30, seconds=7), Learning())
    end = END + timedelta(hours=4, minutes=30)
    assert split.whole == TimeRange(end - 90 * DAY, end)
    assert (split.learned.end, split.calm.end) == (end - 21 * DAY, end - 7 * DAY)
    assert (split.calm.start, split.test.start) == (split.learned.end, split.calm.end)
    assert split.held_out == TimeRange(end - 21 * DAY, end)
    wrong = r"held_out: 30 days at 1m must be shorter than least_history, 28 days: .* or raise least_history$"
    with pytest.raises(ConfigError, match=wrong):
        split_history(Timeframe.M1, END, Learning(held_out=30 * DAY))


@pytest.mark.parametrize(
    ("changes", "advised"),
    [
        ({}, 'held_out = "7d", least_history = "8d"'),
        ({"least_history": 12 * DAY}, 'held_out = "7d"'),
        ({"history": 7 * DAY}, 'held_out = "7d", least_history = "8d", history = "8d"'),
    ],
)
def test_advice_for_a_part_with_too_few_candles_works_as_a_whole(
    changes: dict[str, timedelta], advised: str, learning: Settings
) -> None:
    """The first line has the reason, not a number of days that are held; the settings that it names do train."""
    models = LEARNING.model_copy(update={"held_out": 6 * DAY, "least_history": 7 * DAY, **changes})
    candles = market(1)
    hole = TimeRange(END - 6 * DAY, END - 2 * DAY - timedelta(hours=8))
    with open_warehouse(learning) as warehouse:
        store(warehouse, BTC, _without(candles, hole))
        asked = learning.model_copy(update={"models": models})
        with pytest.raises(InsufficientHistoryError) as caught:
            read_lessons(warehouse, asked, TARGET, END, lambda _: None)
        first, why = str(caught.value).splitlines()
        assert first == "too little of 5m to learn from: a part of the history has too few candles"
        assert "to find thresholds in" in why
        assert "that no rule flags, and 200 are needed" in why
        assert f"; set {advised} in [models]" in why
        told = dict(re.findall(r'(\w+) = "(\w+)"', why))
        followed = learning.model_copy(update={"models": Learning.model_validate({**models.model_dump(), **told})})
        assert BTC in read_lessons(warehouse, followed, TARGET, END, lambda _: None).tracks


def test_settings_that_do_not_help_are_not_advised(learning: Settings) -> None:
    """Nothing of the last days is held: no length of the parts makes up for them."""
    models = LEARNING.model_copy(update={"held_out": 6 * DAY, "least_history": 7 * DAY})
    with open_warehouse(learning) as warehouse:
        store(warehouse, BTC, _without(market(1), TimeRange(END - 5 * DAY, END)))
        with pytest.raises(InsufficientHistoryError, match="are needed; load what is absent there, or wait$"):
            read_lessons(warehouse, learning.model_copy(update={"models": models}), TARGET, END, lambda _: None)


def _without(candles: pa.Table, hole: TimeRange) -> pa.Table:
    times = to_columns(candles)["open_time"]
    return candles.filter(pa.array((times < hole.start_ms) | (times >= hole.end_ms)))


def test_flagged_candles_are_not_learned(warehouse: Warehouse, learning: Settings) -> None:
    """They are there and are judged, but what is normal is found without them."""
    store(warehouse, ETH, wild(market(1), each=200))
    lessons = read_lessons(warehouse, learning, TARGET, END, lambda _: None)
    calm, odd = lessons.tracks[BTC], lessons.tracks[ETH]
    assert odd.is_held.sum() == calm.is_held.sum()
    is_wild = odd.close / calm.close > 1.3
    assert is_wild.sum() == calm.is_held.sum() // 200
    assert not odd.is_clean[is_wild].any()


def test_what_another_coin_of_the_name_did_is_not_learned(warehouse: Warehouse, learning: Settings) -> None:
    """Learning begins where the settings split the series, and says so; a split that comes later is none yet."""
    split = END - 22 * DAY
    known = {f"{BTC.exchange}:{BTC.symbol}": SeriesSettings(split=(split, END + DAY))}
    told = learning.model_copy(update={"series": known})
    lessons = read_lessons(warehouse, told, TARGET, END, lambda _: None)
    assert int(to_columns(lessons.candles[BTC])["open_time"].min()) == to_ms(split)
    assert lessons.remarks == (
        f"{BTC}: another coin had the symbol before {split:%Y-%m-%d %H:%M} (split in [series]); not learned",
    )
