"""Training at every timeframe: enough candles for each part of a history, a champion that judges, days in messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from etl.alerting import Alerting
from etl.errors import ConfigError, InsufficientHistoryError
from etl.learning import HELD_OUT_CANDLES, LEAST_CANDLES, SELDOM_CANDLES, Learning
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse
from models import scorers, training
from models.calibration import LEAST
from models.incidents import merge_at
from models.lessons import split_history
from models.planting import SPACING, plant
from models.registry import list_models
from models.rounds import score_again
from models.scorers.scorer import Lesson, Parts, Progress, Study
from models.targets import Target
from tests.models.made_up import walk
from tests.models.nights import store
from tests.models.test_scorers import market

END = datetime(2026, 9, 1, tzinfo=UTC)
DAY = timedelta(days=1)
COARSE = pytest.mark.parametrize("timeframe", [Timeframe.H1, Timeframe.H4, Timeframe.H12, Timeframe.D1])


def series_of(timeframe: Timeframe) -> Series:
    """Return the series that tests train on."""
    return Series("binance", "BTC/USDT", timeframe)


def last(count: int, timeframe: Timeframe, thinned: int = 1) -> pa.Table:
    """Return so many slots of candles, CANDLE_SCHEMA, up to END; one of `thinned` slots holds one."""
    columns = to_columns(walk(count, seed=3, timeframe=timeframe))
    columns["open_time"] += int(END.timestamp() * 1000) - count * timeframe.ms - columns["open_time"][0]
    return from_columns({name: values[::thinned] for name, values in columns.items()})


@pytest.mark.parametrize("timeframe", Timeframe)
def test_each_part_of_a_history_holds_enough_candles(timeframe: Timeframe) -> None:
    """By default: to fit thresholds to, to plant an anomaly in, and to learn from; up to `15m` the settings count."""
    learning = Learning()
    split, spans = split_history(timeframe, END, learning), learning.spans_at(timeframe)
    assert split.calm.count(timeframe) >= 1.5 * LEAST
    assert split.test.count(timeframe) >= SPACING
    assert (spans.least_history - spans.held_out) / timeframe.delta >= LEAST
    assert spans.history >= spans.least_history
    for name in ("history", "least_history", "held_out"):
        assert getattr(spans, name) >= getattr(learning, name)
        if timeframe.ms <= Timeframe.M15.ms:
            assert getattr(spans, name) == getattr(learning, name)


@pytest.mark.parametrize("timeframe", Timeframe)
def test_something_is_planted_at_every_timeframe(timeframe: Timeframe) -> None:
    """In the last part of the shortest history that is trained with."""
    learning = Learning()
    count = int(learning.spans_at(timeframe).least_history / timeframe.delta)
    count = min(count, 4 * SPACING + 1440)  # planting looks back a day
    test = split_history(timeframe, END, learning).test
    start = max(test.start, END - 2 * SPACING * timeframe.delta)
    _, planted = plant(last(count, timeframe), series_of(timeframe), TimeRange(start, END), seed=1)
    assert planted


@COARSE
def test_the_shortest_history_gives_a_champion_that_judges(
    timeframe: Timeframe, warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the settings that are the defaults; what it finds is as often as the budget has it."""
    quick = {name: scorers.SCORERS[name] for name in ("ewma_z", "seasonal_z")}
    monkeypatch.setattr(scorers, "SCORERS", quick)
    monkeypatch.setattr(scorers, "LEARNED", "ewma_z")
    monkeypatch.setattr(training, "render", lambda night: night.run)
    series = series_of(timeframe)
    store(warehouse, series, last(LEAST_CANDLES, timeframe))
    trained = training.train(warehouse, settings, Target(timeframe), END, "night")
    assert trained.champion.scorer in quick
    assert trained.champion.learned.start == END - LEAST_CANDLES * timeframe.delta
    held_out = TimeRange(END - HELD_OUT_CANDLES * timeframe.delta, END)
    done = score_again(warehouse, settings, Alerting(), series, held_out, run="again", now=END)
    assert done.candles == HELD_OUT_CANDLES
    weeks = held_out.count(timeframe) * timeframe.delta / (7 * DAY)
    assert 1 <= done.opened <= 2 * weeks * settings.models.budget_at(timeframe)


@COARSE
def test_too_short_a_history_says_how_many_days_are_needed(
    timeframe: Timeframe, warehouse: Warehouse, settings: Settings
) -> None:
    """And from which day on; a setting that would not help is not named."""
    store(warehouse, series_of(timeframe), last(LEAST_CANDLES - 1, timeframe))
    with pytest.raises(InsufficientHistoryError) as caught:
        training.train(warehouse, settings, Target(timeframe), END, "night")
    days = LEAST_CANDLES * timeframe.delta / DAY
    said = str(caught.value)
    assert f"{days:.0f} days are needed" in said
    assert f"719 candles; enough from {END - days * DAY:%Y-%m-%d} on" in said
    assert "least_history" not in said
    with warehouse.begin() as connection:
        assert list_models(connection, Target(timeframe)) == []


def test_a_thin_market_needs_more_days(warehouse: Warehouse, settings: Settings) -> None:
    """As many as hold enough candles, if as few of its slots go on to hold one."""
    store(warehouse, series_of(Timeframe.H4), last(2000, Timeframe.H4, thinned=4))
    with pytest.raises(InsufficientHistoryError, match=r"with candles in 25% of its slots it takes 480 days"):
        training.train(warehouse, settings, Target(Timeframe.H4), END, "night")
    store(warehouse, series_of(Timeframe.H12), last(2000, Timeframe.H12, thinned=20))
    with pytest.raises(InsufficientHistoryError, match=r"it takes 7,200 days: raise history in \[models\] to that"):
        training.train(
            warehouse,
            settings.model_copy(update={"models": Learning(history=1000 * DAY)}),
            Target(Timeframe.H12),
            END,
            "night",
        )


def test_the_guide_has_the_lengths_that_count() -> None:
    """The table of docs/models.md: `15m` stands for all that are finer."""
    learning, wide = Learning(), [one for one in Timeframe if one.ms >= Timeframe.M15.ms]
    rows = [
        f"| `{name}`, days | " + " | ".join(f"{getattr(learning.spans_at(one), name) // DAY:,}" for one in wide) + " |"
        for name in ("history", "least_history", "held_out")
    ]
    told = (Path(__file__).parent.parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    assert [row for row in rows if row not in told] == []
    assert "| " + " | ".join(f"{learning.budget_at(one):.2g}" for one in wide) + " |" in told


def test_parts_that_leave_nothing_to_learn_are_refused_at_every_timeframe() -> None:
    """By the lengths that count at it."""
    for timeframe in (Timeframe.M1, Timeframe.D1):
        with pytest.raises(ConfigError, match=r"held_out: 1,000 days at .* must be shorter"):
            split_history(timeframe, END, Learning(held_out=1000 * DAY))


def test_the_lstm_learns_from_the_shortest_history() -> None:
    """Its rows are cut shorter: some are learned, and others say how well."""
    told: list[Progress] = []

    def learn_from(count: int) -> Parts:
        lesson = Lesson(market(count, seed=1), np.ones(count, dtype=np.bool_))
        return scorers.SCORERS["lstm"].fit([lesson], Study(epochs=1, watch=told.append))

    parts = learn_from(LEAST_CANDLES - HELD_OUT_CANDLES)
    assert all(np.isfinite(numbers).all() for numbers in parts.numbers.values())
    assert told[-1].share == 1.0
    assert told[-1].loss is not None
    with pytest.raises(InsufficientHistoryError, match="192 candles of one series"):
        learn_from(191)


def test_a_budget_calls_no_common_candle_an_anomaly() -> None:
    """One incident a week stays one up to `4h`; of daily candles it would be every seventh."""
    learning = Learning()
    assert [learning.budget_at(one) for one in (Timeframe.M1, Timeframe.H4)] == [1.0, 1.0]
    assert learning.budget_at(Timeframe.D1) == pytest.approx(7 / SELDOM_CANDLES)
    assert [merge_at(one) for one in (Timeframe.M1, Timeframe.H4, Timeframe.H12, Timeframe.D1)] == [5, 5, 2, 1]
