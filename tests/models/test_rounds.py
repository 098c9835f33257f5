"""Scoring of loads, in a real database: once, whatever is rerun, revised, killed or done twice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import delete

from etl.alerting import Alerting
from etl.feeds import SeriesSettings
from etl.incidents import Detector, IncidentState, Scope, Severity
from etl.schema import from_columns, to_columns
from etl.series import TimeRange
from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse
from etl.warehouse.incident_tables import (
    alerts,
    anomalies,
    incident_changes,
    incidents,
    replaced_anomalies,
    scorings,
)
from models.registry import find_model, read_artifact
from models.rounds import due, score_again, score_loads
from tests.models.dying_rounds import STEPS, score_and_die
from tests.models.scored import (
    DAY,
    FIVE,
    HELD_OUT,
    HERE,
    NOW,
    START,
    THERE,
    TODAY,
    between,
    contents,
    crashed,
    crown,
    crown_artifact,
    incidents_of,
    load,
    market,
    score_all,
    scored_warehouse,
    slot,
    told_of,
    with_cut,
)

CRASH = slot(12)


@pytest.fixture(scope="module")
def calm() -> pa.Table:
    """Twenty-one days in which nothing was planted."""
    return market()


@pytest.fixture
def warehouse(settings: Settings, calm: pa.Table) -> Iterator[Warehouse]:
    """Two exchanges with twenty days that were scored, and a champion that knows both."""
    with scored_warehouse(settings, calm) as opened:
        yield opened


def test_what_a_load_brought_is_one_incident_and_one_alert(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """A crash of three candles is one incident of the market, people are told once, and a rerun finds nothing new."""
    before = len(incidents_of(warehouse))
    for series in (THERE, HERE):
        load(warehouse, series, crashed(calm, CRASH))
    rounds = score_all(warehouse, settings)
    mine = incidents_of(warehouse, [HERE])[0]
    assert mine.found.time_range.start == START + 20 * DAY + timedelta(hours=12)
    assert (mine.found.scope, mine.state, mine.is_history) == (Scope.MARKET, IncidentState.CLOSED, False)
    assert mine.found.severity is Severity.CRITICAL
    assert mine.found.evidence.witnesses[0].series == THERE
    assert len(incidents_of(warehouse)) == before + 2
    assert sum(one.alerts for one in rounds) == 2 == len(told_of(warehouse))
    whole = contents(warehouse)
    assert not whole["unscored"]
    assert [one.candles for one in score_all(warehouse, settings)] == [0, 0]
    again = score_again(warehouse, settings, Alerting(), HERE, TODAY, run="again", now=NOW)
    assert (again.candles, again.opened, again.changed, again.withdrawn, again.alerts) == (288, 0, 0, 0, 0)
    assert contents(warehouse) == whole


def test_what_is_history_alerts_nobody(warehouse: Warehouse, settings: Settings, calm: pa.Table) -> None:
    """A backfill of the same crash is an incident, and no alert; neither is what is loaded or scored too late."""
    load(warehouse, HERE, crashed(calm, CRASH), is_history=True)
    load(warehouse, THERE, crashed(calm, CRASH))
    score_all(warehouse, settings, now=NOW + timedelta(hours=36))
    assert [one.is_history for one in incidents_of(warehouse)[:2]] == [True, True]
    assert not told_of(warehouse)


@pytest.mark.parametrize("is_scored", [True, False], ids=["scored between", "scored together"])
def test_a_live_load_over_a_backfilled_day_alerts_nobody(
    warehouse: Warehouse, settings: Settings, calm: pa.Table, is_scored: bool
) -> None:
    """The next day's run fetches the last day again: what was found in it as history stays history."""
    load(warehouse, HERE, crashed(calm, CRASH), is_history=True)
    if is_scored:
        score_all(warehouse, settings, HERE)
    load(warehouse, HERE, crashed(calm, CRASH))
    score_all(warehouse, settings, HERE)
    assert incidents_of(warehouse, [HERE])[0].is_history
    assert not told_of(warehouse)


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_and_run_again_leaves_what_one_clean_run_leaves(
    warehouse: Warehouse, settings: Settings, calm: pa.Table, step: str
) -> None:
    """Nothing is found twice, nobody told twice, and nothing is left out."""
    for series in (THERE, HERE):
        load(warehouse, series, crashed(calm, CRASH))
    assert score_and_die(step, settings) == -9
    score_all(warehouse, settings)
    killed = contents(warehouse)
    assert len(killed["alerts"]) == 2
    assert not killed["unscored"]
    score_all(warehouse, settings)
    assert contents(warehouse) == killed


def test_two_rounds_at_once_leave_what_one_leaves(warehouse: Warehouse, settings: Settings, calm: pa.Table) -> None:
    """Whoever comes second finds all of it there."""
    for series in (THERE, HERE):
        load(warehouse, series, crashed(calm, CRASH))
    with ThreadPoolExecutor(4) as pool:
        rounds = list(pool.map(lambda _: score_all(warehouse, settings), range(4)))
    assert sum(one.alerts for each in rounds for one in each) == 2
    assert len(told_of(warehouse)) == 2
    assert len([one for one in incidents_of(warehouse) if not one.is_history]) == 2


def test_without_a_champion_nothing_is_lost(settings: Settings, calm: pa.Table) -> None:
    """Loads wait, it is said what for, and they are scored once there is a champion that knows the series."""
    with open_warehouse(settings) as warehouse:
        load(warehouse, HERE, crashed(calm, CRASH), TimeRange(START, TODAY.end))
        (waiting,) = score_all(warehouse, settings, HERE)
        assert waiting.waiting is not None
        assert "no model judges 5m candles so far" in waiting.waiting
        assert due(warehouse, settings) == ([], {HERE: waiting.waiting})
        crown(warehouse, {THERE: calm})
        assert "has never seen this series" in due(warehouse, settings)[1][HERE]
        crown(warehouse, {HERE: calm, THERE: calm})
        assert due(warehouse, settings) == ([HERE], {})
        (scored,) = score_all(warehouse, settings, HERE)
        assert scored.candles == 21 * 288
        assert incidents_of(warehouse)[0].found.severity is Severity.CRITICAL
        assert not contents(warehouse)["unscored"]


def test_ten_thousand_anomalies_in_one_load_are_a_few_incidents(settings: Settings) -> None:
    """However wild a load is, people are told of incidents, and the round ends."""
    calm = market()
    with open_warehouse(settings) as warehouse:
        model = crown(warehouse, {HERE: calm})
        with warehouse.begin() as connection:
            artifact = read_artifact(connection, model, 10_000_000)
        crown_artifact(warehouse, with_cut(artifact, 0.0))
        columns = to_columns(calm)
        later = [{**columns, "open_time": columns["open_time"] + n * 21 * 86_400_000} for n in range(2)]
        for number, part in enumerate(later):
            span = TimeRange(START + 21 * number * DAY, START + 21 * (number + 1) * DAY)
            load(warehouse, HERE, from_columns(part), span)
        (outcome,) = score_all(warehouse, settings, HERE, now=START + 42 * DAY)
        assert outcome.anomalies > 10_000
        assert outcome.opened < 100
        assert outcome.alerts < 5
        assert len(contents(warehouse)["anomalies"]) == outcome.anomalies


def test_a_revision_withdraws_and_brings_back_the_same_incident(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """An incident stays on record; nobody is told again of what they know."""
    load(warehouse, HERE, crashed(calm, CRASH))
    score_all(warehouse, settings, HERE)
    number = incidents_of(warehouse, [HERE])[0].id
    load(warehouse, HERE, calm)
    (outcome,) = score_all(warehouse, settings, HERE)
    assert outcome.withdrawn == 1
    gone = incidents_of(warehouse, [HERE])[0]
    assert (gone.id, gone.state) == (number, IncidentState.WITHDRAWN)
    assert len(contents(warehouse)["replaced"]) >= 3
    load(warehouse, HERE, crashed(calm, CRASH))
    score_all(warehouse, settings, HERE)
    back = incidents_of(warehouse, [HERE])[0]
    assert (back.id, back.state) == (number, IncidentState.CLOSED)
    assert len(told_of(warehouse)) == 1


def test_an_incident_that_goes_on_is_told_of_once(warehouse: Warehouse, settings: Settings, calm: pa.Table) -> None:
    """It is open while it may go on, updated when it does, and closed once enough has come after it."""
    candles = crashed(calm, CRASH)
    bounds = [TODAY.start, TODAY.start + timedelta(hours=12, minutes=5), TODAY.start + timedelta(hours=12, minutes=15)]
    states = []
    for start, end in zip(bounds, [*bounds[1:], TODAY.end], strict=True):
        load(warehouse, HERE, candles, TimeRange(start, end))
        score_all(warehouse, settings, HERE)
        states.append(incidents_of(warehouse, [HERE])[0].state)
    assert states == [IncidentState.OPEN, IncidentState.UPDATED, IncidentState.CLOSED]
    assert len(told_of(warehouse)) == 1


def test_another_model_replaces_what_was_found_and_says_by_whom(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """Scored again by a named model, a range has its anomalies; those of the champion stay on record."""
    load(warehouse, HERE, crashed(calm, CRASH))
    score_all(warehouse, settings, HERE)
    other = crown(warehouse, {HERE: calm, THERE: calm}, scorer="ewma_z")
    again = score_again(warehouse, settings, Alerting(), HERE, TODAY, run="by hand", now=NOW, model=other)
    assert again.alerts == 0
    with warehouse.begin() as connection:
        other = find_model(connection, other.name)
    found = contents(warehouse)
    assert {one[2] for one in found["anomalies"] if one[1] >= TODAY.start} == {other.id}
    assert found["replaced"]
    assert incidents_of(warehouse, [HERE])[0].model == other.name


def test_each_candle_is_judged_by_the_champion_of_its_time(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """A model that was calibrated on what came later does not judge what came before, as long as another one can."""
    noon = TODAY.start + timedelta(hours=12)
    crown(warehouse, {HERE: calm, THERE: calm}, held_out=TimeRange(HELD_OUT.start, noon), scorer="ewma_z")
    load(warehouse, HERE, calm)
    score_all(warehouse, settings, HERE)
    with warehouse.begin() as connection:
        rows = connection.exec_driver_sql(
            "SELECT span, version, is_hindsight FROM scorings JOIN models ON models.id = model_id ORDER BY scorings.id"
        ).all()
    assert [(row.span.lower, row.version, row.is_hindsight) for row in rows[-2:]] == [
        (TODAY.start, 1, False),
        (noon, 2, False),
    ]
    assert rows[0].is_hindsight


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_found_whatever_loads_it_came_in(
    settings: Settings, calm: pa.Table, seed: int, warehouse: Warehouse
) -> None:
    """A day in one load, or in many, in any order: the same anomalies, the same incidents."""
    candles = crashed(calm, CRASH)
    random = np.random.default_rng(seed)
    hours = [0, *sorted(random.choice(np.arange(1, 24), 4, replace=False)), 24]
    spans = [
        TimeRange(TODAY.start + timedelta(hours=int(a)), TODAY.start + timedelta(hours=int(b)))
        for a, b in zip(hours, hours[1:], strict=False)
    ]
    for span in random.permutation(np.array(spans, dtype=object)):
        load(warehouse, HERE, candles, span)
        score_loads(warehouse, settings, Alerting(), HERE, run="part", now=NOW)
    parts = contents(warehouse)
    assert between(candles, TODAY).num_rows == TODAY.count(FIVE)
    with warehouse.begin() as connection:
        for table in (alerts, incident_changes, incidents, anomalies, replaced_anomalies, scorings):
            connection.execute(delete(table))
        connection.exec_driver_sql("UPDATE loads SET is_scored = false")
    score_all(warehouse, settings)
    once = contents(warehouse)
    assert once["anomalies"] == parts["anomalies"]
    facts = [[(one[0].time_range, one[0].kind, one[1]) for one in found["incidents"]] for found in (once, parts)]
    assert facts[0] == facts[1]


@pytest.mark.parametrize(("shares", "told"), [((0.004, 0.08), 2), ((0.08, 0.004), 1)], ids=["worse", "better"])
def test_people_are_told_again_of_what_got_worse_and_not_of_what_got_better(
    warehouse: Warehouse, settings: Settings, calm: pa.Table, shares: tuple[float, float], told: int
) -> None:
    """A revision that makes an incident more severe is one more alert; one that makes it less severe is none."""
    severities = []
    for share in shares:
        load(warehouse, HERE, crashed(calm, CRASH, share))
        score_all(warehouse, settings, HERE)
        severities.append(incidents_of(warehouse, [HERE])[0].found.severity)
    assert (Severity.CRITICAL in severities, len(set(severities))) == (True, 2)
    assert [severity for _, severity in told_of(warehouse)] == severities[:told]


@pytest.mark.parametrize("is_split", [False, True])
def test_another_coin_under_the_same_name_is_no_crash(
    warehouse: Warehouse, settings: Settings, calm: pa.Table, is_split: bool
) -> None:
    """No candle is judged by those of the coin before if the settings split a series."""
    columns = {name: values.copy() for name, values in to_columns(calm).items()}
    for name in ("open", "high", "low", "close"):
        columns[name][CRASH:] /= 40
    load(warehouse, HERE, from_columns(columns))
    at = START + 20 * DAY + timedelta(hours=12)
    known = {f"{HERE.exchange}:{HERE.symbol}": SeriesSettings(split=(at,))} if is_split else {}
    score_all(warehouse, settings.model_copy(update={"series": known}), HERE)
    found = [one.found for one in incidents_of(warehouse, [HERE]) if one.found.detector is Detector.MODEL]
    assert any(one.time_range.start <= at < one.time_range.end for one in found) != is_split
