"""A night on a small market in a real warehouse: what it decides, and what it leaves behind."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from etl.cli import main
from etl.errors import InsufficientHistoryError
from etl.learning import Learning
from etl.series import Series
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse, open_warehouse
from etl.warehouse.tables import models as models_table
from models import scorers, training
from models.lessons import split_history
from models.registry import State, list_models, load_champion, read_report
from models.targets import Target, targets_of
from models.trained import Trained
from tests.models.nights import BTC, END, ETH, LEARNING, TARGET, market, store, with_learning
from tests.patience import PATIENCE_S

LEARNED, BASELINE = "ewma_z", "seasonal_z"
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _few_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two quick scorers take the parts of the LSTM and of a baseline, and a line that of the report."""
    _take_few(monkeypatch.setattr)
    monkeypatch.setattr(training, "render", lambda night: f"report of {night.run}")


def _take_few(put: Callable[..., None]) -> None:
    put(scorers, "SCORERS", {name: scorers.SCORERS[name] for name in (LEARNED, BASELINE)})
    put(scorers, "LEARNED", LEARNED, raising=False)


@pytest.fixture
def warehouse(learning: Settings) -> Iterator[Warehouse]:
    """A warehouse with some weeks of one series."""
    with open_warehouse(learning) as opened:
        store(opened, BTC, market(1))
        yield opened


def _train(warehouse: Warehouse, settings: Settings, end: Any = END, run: str = "night") -> Trained:
    return training.train(warehouse, settings, TARGET, end, run)


def _states(warehouse: Warehouse) -> list[tuple[str, State]]:
    with warehouse.begin() as connection:
        return [(model.scorer, model.state) for model in reversed(list_models(connection, TARGET))]


def test_a_first_night_ends_with_a_champion_that_judges(warehouse: Warehouse, learning: Settings) -> None:
    """It is registered with a report, with what it was measured by, and with where its candles can be read again."""
    store(warehouse, ETH, market(2, days=7))
    steps: list[float] = []
    trained = training.train(warehouse, learning, TARGET, END, "night", lambda step: steps.append(step.share))
    assert steps == sorted(steps)
    assert trained.champion.state is State.CHAMPION
    assert trained.champion.metrics["seconds"].keys() >= {"read", f"fit {LEARNED}", "evaluate"}
    assert any("binance:ETH/USDT:5m is left out: 1,9" in line for line in trained.lines)
    assert any("of the 5,184 that 18 days hold" in line for line in trained.lines)
    judging = load_champion(warehouse, BTC, learning.models)
    assert judging is not None
    assert judging.model.id == trained.champion.id
    # The cuts of the one that judges are from all that was held out, not from the calm part alone.
    assert judging.artifact.held_out == split_history(TARGET.timeframe, END, LEARNING).held_out
    with warehouse.begin() as connection:
        assert read_report(connection, trained.candidate.id) == "report of night"


def test_a_night_that_is_no_better_changes_nothing(warehouse: Warehouse, learning: Settings) -> None:
    """The champion stays, the candidate is kept as rejected with the reason, until its blob is dropped."""
    first = _train(warehouse, learning)
    second = _train(warehouse, learning, run="next")
    assert second.champion.id == first.champion.id
    assert second.candidate.state is State.REJECTED
    assert "stays champion: no model of this night is measurably better" in second.verdict
    assert {state for _, state in _states(warehouse)} == {State.CHAMPION, State.REJECTED}


def test_a_run_that_has_decided_has_nothing_to_do_unless_candles_have_changed(
    warehouse: Warehouse, learning: Settings
) -> None:
    """Run twice is run once; but what was repaired meanwhile is learned."""
    first = _train(warehouse, learning)
    before = _states(warehouse)
    again = _train(warehouse, learning)
    assert (again.candidate.id, again.champion.id) == (first.candidate.id, first.champion.id)
    assert _states(warehouse) == before
    assert again.lines[-1] == first.verdict
    assert any("nothing is left to do" in line for line in again.lines)
    store(warehouse, ETH, market(2))
    third = _train(warehouse, learning)
    assert third.candidate.id > first.candidate.id


def test_a_champion_whose_blob_is_broken_is_replaced_and_told_of(warehouse: Warehouse, learning: Settings) -> None:
    """It cannot judge, so it does not matter how well it once did."""
    first = _train(warehouse, learning)
    with warehouse.begin() as connection:
        own = models_table.c
        connection.execute(update(models_table).where(own.id == first.champion.id).values(artifact=b"no zip"))
    second = _train(warehouse, learning, run="next")
    assert second.champion.id > first.champion.id
    assert second.night.reason.startswith(f"{first.champion.name} cannot be used (")


def test_a_past_night_does_not_judge_a_champion_that_has_seen_what_it_holds_out(
    warehouse: Warehouse, learning: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be compared on what it has learned; and its weights would bring that to what the past night trains."""
    store(warehouse, ETH, market(2))
    first = training.train(warehouse, with_learning(learning, held_out=3 * DAY), TARGET, END, "night")
    studies, fit = [], training.fit
    monkeypatch.setattr(training, "fit", lambda *given, **named: studies.append(given[5]) or fit(*given, **named))
    second = _train(warehouse, with_learning(learning, least_history=16 * DAY), END - DAY, "past")
    assert second.champion.id == first.champion.id
    assert "it has learned from candles that this night holds out" in second.verdict
    assert [study.begin_with for study in studies] == [None, None]
    _train(warehouse, with_learning(learning, held_out=3 * DAY), END, "next")
    assert studies[-2].begin_with is not None


def test_what_the_cut_of_the_champion_gave_is_counted(warehouse: Warehouse, learning: Settings) -> None:
    """Incidents of the days that came after those that it was made from, by series, beside what was asked for."""
    first = _train(warehouse, learning, END - 3 * DAY)
    second = _train(warehouse, with_learning(learning, least_history=16 * DAY), END)
    [since] = second.night.since
    assert (since.series, round(since.weeks * 7, 1)) == (BTC, 3.0)
    asked = f"{first.champion.scorer} {first.champion.name} was asked for 1 incident per series and week, and gave"
    assert any(line.startswith(asked) for line in second.lines)


def test_too_little_history_is_an_error_that_says_of_whom_and_what_to_do(
    warehouse: Warehouse, settings: Settings
) -> None:
    """Nothing is registered, and nothing is learned from a week."""
    with pytest.raises(InsufficientHistoryError) as caught:
        training.train(warehouse, settings, TARGET, END, "night")
    message = str(caught.value)
    assert "too little of 5m to learn from: 28 days are needed. Load more" in message
    assert "lower least_history in [models]" in message
    assert "\n  binance:BTC/USDT:5m: 6,8" in message
    with pytest.raises(InsufficientHistoryError, match="too little of 1h to learn from: there are no candles"):
        training.train(warehouse, settings, Target(Timeframe.H1), END, "night")
    assert _states(warehouse) == []


def test_who_lacks_the_same_history_stands_in_one_line(warehouse: Warehouse, settings: Settings) -> None:
    """However many series there are, the message is short: what is needed is said once, and each reason."""
    for number in range(5):
        store(warehouse, Series("binance", f"C{number}/USDT", Timeframe.M5), market(1))
    with pytest.raises(InsufficientHistoryError) as caught:
        training.train(warehouse, settings, TARGET, END, "night")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("too little of 5m to learn from: 28 days are needed.")
    assert lines[1].startswith("  binance:BTC/USDT:5m, binance:C0/USDT:5m, binance:C1/USDT:5m and 3 more: 6,8")
    assert len(lines) == 2


def test_a_model_for_one_series_learns_from_that_alone(warehouse: Warehouse, learning: Settings) -> None:
    """It has versions and a champion of its own, which that series is judged by."""
    store(warehouse, ETH, market(2))
    trained = training.train(warehouse, learning, Target(TARGET.timeframe, ETH), END, "night")
    assert trained.champion.name.startswith("binance:ETH/USDT:5m/")
    own = load_champion(warehouse, ETH, learning.models)
    assert own is not None
    assert list(own.artifact.norms) == [ETH]
    assert load_champion(warehouse, BTC, learning.models) is None


def _die_learning(environment: dict[str, str], settings: Settings) -> None:
    os.environ.update(environment)
    _take_few(lambda owner, name, value, **_: setattr(owner, name, value))
    training.fit = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    with open_warehouse(settings) as opened:
        _train(opened, settings)


def test_killed_while_it_learns_it_leaves_nothing_and_a_rerun_goes_through(
    warehouse: Warehouse, learning: Settings
) -> None:
    """Whatever was done until then is gone, and in nobody's way."""
    child = multiprocessing.get_context("fork").Process(target=_die_learning, args=(dict(os.environ), learning))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert _states(warehouse) == []
    assert _train(warehouse, learning).champion.version in {1, 2}


def test_two_at_once_end_with_one_champion(
    warehouse: Warehouse, learning: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower one was compared with nobody, and does not take the place of the one that was faster."""
    both_have_decided, register = threading.Barrier(2, timeout=PATIENCE_S), training.register

    def register_together(*arguments: Any) -> Any:
        both_have_decided.wait()
        return register(*arguments)

    monkeypatch.setattr(training, "register", register_together)
    with ThreadPoolExecutor(2) as threads:
        nights = [threads.submit(_train, warehouse, learning, END, name) for name in ("one", "other")]
        trained = [night.result() for night in nights]
    assert len({one.champion.id for one in trained}) == 1
    assert [state for _, state in _states(warehouse)].count(State.CHAMPION) == 1
    [slower] = [one for one in trained if one.champion.run != one.night.run]
    assert "became champion meanwhile" in slower.verdict


def test_the_feeds_say_what_is_trained() -> None:
    """A model for each timeframe of any feed, finest first; by setting, one for each series."""
    feed = {
        "exchange": "binance",
        "symbols": ["BTC/USDT", "ETH/USDT"],
        "timeframes": ["1h", "5m"],
        "start": "2024-01-01",
    }
    settings = Settings.model_validate({"feeds": {"a": feed, "b": {**feed, "exchange": "kraken"}}})
    assert [str(target) for target in targets_of(settings)] == ["5m", "1h"]
    own = settings.model_copy(update={"models": Learning(per_series=True)})
    names = [str(target) for target in targets_of(own)]
    assert names[:2] == ["binance:BTC/USDT:5m", "binance:ETH/USDT:5m"]
    assert len(names) == 8
    assert [Target.parse(name) for name in names] == targets_of(own)


@pytest.fixture
def chandler(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """Return a function that runs the command in this process: its exit status, and what it printed in one line."""
    for name in ("history", "least_history", "held_out"):
        monkeypatch.setenv(f"CHANDLER_MODELS__{name.upper()}", f"{getattr(LEARNING, name).days}d")

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["chandler", "train", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, " ".join(printed.err.split())

    return run


def test_a_person_trains_by_hand(chandler: Callable[..., tuple[object, str, str]]) -> None:
    """The command shows the comparison and the verdict, and where the report is; what is left out is not hidden."""
    end = f"{END:%Y-%m-%d}"
    status, out, _ = chandler("--timeframe", "5m", "--end", end)
    assert status == 0
    for row in ("VUS-PR", f"{LEARNED} (candidate)", f"{BASELINE} (baseline)", "is champion. There was no champion."):
        assert row in out
    assert "The report: chandler models report 5m/1 --out night.html" in out
    status, out, err = chandler("--timeframe", "5m", "--timeframe", "1h", "--end", end, "--json")
    [trained] = json.loads(out)
    assert trained["target"] == "5m"
    assert {one["model"].partition(" ")[0] for one in trained["models"]} == {LEARNED, BASELINE}
    assert status == 1
    assert "too little of 1h to learn from" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--timeframe", "5min"), "'5min' is no timeframe; nearest: 5m"),
        (("--timeframe", "binance:BTC/USDT:5m"), "for one series: --series binance:BTC/USDT:5m"),
        ((), "feeds.toml says what to train; name it: --timeframe 1m"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_read(
    chandler: Callable[..., tuple[object, str, str]], arguments: tuple[str, ...], said: str
) -> None:
    """With what would have been right."""
    status, _, err = chandler(*arguments)
    assert status == 2
    assert said in err
