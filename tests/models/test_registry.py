"""Decisions over models in a real database: one champion at any moment, no half state, all of it on record."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from etl.errors import ConfigError, StoreError
from etl.settings import Settings
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse, open_warehouse
from models.registry import (
    Model,
    State,
    champion,
    decide,
    find_model,
    latest_models,
    list_models,
    read_changes,
    read_report,
)
from models.targets import Target
from tests.models.artifacts import LIMIT, TWO, made_artifact
from tests.models.drafts import ALL_1M, crown, drafts_of, states_of
from tests.models.dying import STEPS, decide_and_die

BTC = TWO[0]


def test_nights_follow_one_another(warehouse: Warehouse) -> None:
    """One stays champion, one takes its place: states, reasons and lineage are on record, each with its run."""
    first = crown(warehouse, 1)
    assert (first.name, first.state, first.has_blob, first.has_report) == ("1m/1", State.CHAMPION, True, True)
    decide(
        warehouse,
        drafts_of(2, states=(State.REJECTED,)),
        against=first,
        run="night 2",
        max_bytes=LIMIT,
        environment={},
    )
    assert states_of(warehouse) == [State.CHAMPION, State.REJECTED]
    third = crown(warehouse, 3, scorer="ewma_z")
    assert states_of(warehouse) == [State.RETIRED, State.REJECTED, State.CHAMPION]
    with warehouse.begin() as connection:
        assert champion(connection, ALL_1M) == third
        first = find_model(connection, "1m/1")
        changes = [(one.before, one.after, one.reason, one.run) for one in read_changes(connection, first)]
        assert read_report(connection, third.id) == "<p>night 3</p>"
        assert champion(connection, Target(Timeframe.M5)) is None
    assert changes == [
        (None, State.CHAMPION, "1 did champion.", "night 1"),
        (State.CHAMPION, State.RETIRED, "1m/3 took its place: 3 did champion.", "night 3"),
    ]
    assert first.reason == changes[-1][2]
    assert third.environment == {"python": "3.11"}
    assert (third.scorer, third.learned, third.as_of) == ("ewma_z", first.learned, made_artifact().as_of)


def test_each_target_has_its_own_versions_and_champion(warehouse: Warehouse) -> None:
    """A series' own models and those of all series do not meet; a night of several targets is a mistake."""
    own = Target(BTC.timeframe, BTC)
    crown(warehouse, 1)
    model = crown(warehouse, 2, series=[BTC], scope=str(BTC))
    assert (model.name, model.target) == ("binance:BTC/USDT:1m/1", own)
    assert states_of(warehouse) == states_of(warehouse, own) == [State.CHAMPION]
    with warehouse.begin() as connection:
        assert find_model(connection, "binance:BTC/USDT:1m/1") == model
    mixed = [*drafts_of(3), *drafts_of(4, series=[BTC], scope=str(BTC))]
    with pytest.raises(ValueError, match="too many values"):
        decide(warehouse, mixed, against=None, run="night", max_bytes=LIMIT, environment={})
    two = drafts_of(3, 4, states=(State.CHAMPION, State.CHAMPION))
    with pytest.raises(ValueError, match="at most one"):
        decide(warehouse, two, against=None, run="night", max_bytes=LIMIT, environment={})


def test_nights_at_once_have_one_champion(warehouse: Warehouse, settings: Settings) -> None:
    """Of those that were compared with the same champion one takes its place; the others say who was faster."""
    before = crown(warehouse, 1)
    together = threading.Barrier(4)

    def night(seed: int) -> list[Model]:
        with open_warehouse(settings) as own:
            together.wait()
            drafts = drafts_of(seed, seed + 10, states=(State.CHAMPION, State.REJECTED))
            return decide(own, drafts, against=before, run=f"night {seed}", max_bytes=LIMIT, environment={})

    with ThreadPoolExecutor(4) as threads:
        nights = list(threads.map(night, range(2, 6)))
    winners = [models[0] for models in nights if models[0].state is State.CHAMPION]
    assert len(winners) == 1
    assert sorted(states_of(warehouse)) == [State.CHAMPION, *[State.REJECTED] * 7, State.RETIRED]
    for models in nights:
        assert models[1].version == models[0].version + 1, "a night is registered in one piece"
        if models[0] not in winners:
            assert f"compared with 1m/1, and {winners[0].name} became champion meanwhile" in models[0].reason


def test_a_first_night_that_was_overtaken_by_another(warehouse: Warehouse) -> None:
    """A model that was compared when nobody was champion does not take the place of the champion of now."""
    crown(warehouse, 1)
    (late,) = decide(warehouse, drafts_of(2), against=None, run="late", max_bytes=LIMIT, environment={})
    assert late.state is State.REJECTED
    assert "compared when there was no champion, and 1m/1 became champion meanwhile" in late.reason


def test_the_latest_nights_are_told_apart_from_the_rest(warehouse: Warehouse) -> None:
    """Those of each target, with how a model did itself; and who judges, however long ago it was trained."""
    metrics = {"model": "a", "summaries": [{"model": name, "vus_pr": vus_pr} for name, vus_pr in (("b", 1), ("a", 2))]}
    champion_of_all = crown(warehouse, 1, metrics=metrics)
    for seed in range(2, 6):
        nights = drafts_of(seed, states=(State.REJECTED,), metrics=metrics)
        decide(warehouse, nights, against=champion_of_all, run="night", max_bytes=LIMIT, environment={})
    crown(warehouse, 6, series=[BTC], scope=str(BTC))
    with warehouse.begin() as connection:
        connection.exec_driver_sql("UPDATE models SET created_at = created_at - (6 - id) * interval '1 day'")
        latest, more = latest_models(connection, 2)
        whole = list_models(connection)
    assert [model.name for model in latest] == [f"{BTC}/1", "1m/5", "1m/4", "1m/1"]
    assert more == 2
    assert latest[1].metrics == {"model": "a", "summaries": [{"model": "a", "vus_pr": 2}]}
    assert latest[1] == replace(whole[1], metrics=latest[1].metrics)


@pytest.mark.parametrize("step", STEPS)
def test_a_night_that_is_killed_while_it_decides_leaves_nothing(
    step: str, warehouse: Warehouse, settings: Settings
) -> None:
    """Killed with SIGKILL anywhere before the commit: all is as it was, and the night done again goes through."""
    before = crown(warehouse, 1)
    assert decide_and_die(step, settings) == -signal.SIGKILL
    with warehouse.begin() as connection:
        assert list_models(connection) == [before]
        assert len(read_changes(connection, before)) == 1
    assert crown(warehouse, 3).name == "1m/2"
    assert states_of(warehouse) == [State.RETIRED, State.CHAMPION]


def test_the_database_itself_allows_one_champion_and_keeps_its_blob(warehouse: Warehouse) -> None:
    """Whatever anybody writes there by hand."""
    crown(warehouse, 1)
    crown(warehouse, 2)
    for statement in ("UPDATE models SET state = 'champion'", "UPDATE models SET artifact = NULL"):
        with pytest.raises(StoreError, match="models_one_champion|models_blob_stays"), warehouse.begin() as connection:
            connection.exec_driver_sql(statement)


def test_a_name_that_names_no_model_is_told(warehouse: Warehouse) -> None:
    """With what was meant, or how to write it."""
    crown(warehouse, 1)
    for name, complaint in (
        ("1m", "'1m' names no model; write timeframe/version"),
        ("1m/x", "names no model"),
        ("7m/1", "'7m' is no timeframe"),
        ("1m/3", "no model 1m/3; nearest: 1m/1"),
        ("5m/1", "no model 5m/1; none is registered for this"),
        ("binance:BTC/USDT:1m/1", "none is registered for this"),
    ):
        with pytest.raises(ConfigError, match=complaint), warehouse.begin() as connection:
            find_model(connection, name)
