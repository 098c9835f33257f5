"""Scoring of loads of two exchanges: which bears witness for the other, and which one's prices have left."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from etl.alerting import Alerting
from etl.incidents import Detector, Kind, Scope
from etl.schema import from_columns, to_columns
from etl.series import Series
from etl.settings import Settings
from etl.warehouse import Warehouse
from models.rounds import score_again
from tests.models.scored import (
    HERE,
    NOW,
    THERE,
    TODAY,
    contents,
    incidents_of,
    load,
    market,
    score_all,
    scored_warehouse,
    slot,
    told_of,
    wicked,
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


def dearer(candles: pa.Table, share: float) -> pa.Table:
    """Return the candles with prices that are a share higher for half an hour."""
    columns = {name: values.copy() for name, values in to_columns(candles).items()}
    for name in ("open", "high", "low", "close"):
        columns[name][CRASH : CRASH + 6] *= 1 + share
    return from_columns(columns)


def test_a_spread_of_a_backfilled_day_alerts_nobody_later(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """Nor does the next day's run, which fetches that day again on both exchanges."""
    candles = {HERE: calm, THERE: dearer(calm, 0.03)}
    for is_history in (True, False):
        for series in (HERE, THERE):
            load(warehouse, series, candles[series], is_history=is_history)
        score_all(warehouse, settings)
    assert {one.is_history for one in incidents_of(warehouse) if one.found.detector is Detector.SPREAD} == {True}
    assert not told_of(warehouse)


def test_another_exchange_bears_witness_when_its_candles_come(
    warehouse: Warehouse, settings: Settings, calm: pa.Table
) -> None:
    """Unconfirmed as long as nobody can tell; then a bad print is the venue's own, with the other's numbers."""
    load(warehouse, HERE, wicked(calm, CRASH))
    score_all(warehouse, settings, HERE)
    assert incidents_of(warehouse, [HERE])[0].found.scope is Scope.UNCONFIRMED
    load(warehouse, THERE, calm)
    score_all(warehouse, settings, THERE)
    found = incidents_of(warehouse, [HERE])[0].found
    assert (found.scope, found.kind) == (Scope.VENUE, "data_fault")
    (witness,) = found.evidence.witnesses
    assert witness.numbers is not None
    assert witness.numbers.close == pytest.approx(float(to_columns(calm)["close"][CRASH]))
    assert not [one for one in incidents_of(warehouse, [THERE]) if not one.is_history]


@pytest.mark.parametrize("order", [(HERE, THERE), (THERE, HERE)], ids=["its own last", "its own first"])
def test_a_spread_is_one_incident_of_the_venue_that_left_whoever_is_scored_first(
    warehouse: Warehouse, settings: Settings, calm: pa.Table, order: tuple[Series, Series]
) -> None:
    """Prices that are apart for half an hour are told of once, though both series look for it."""
    candles = {HERE: calm, THERE: dearer(calm, 0.03)}
    for series in order:
        load(warehouse, series, candles[series])
        score_all(warehouse, settings, series)
    spreads = [one for one in incidents_of(warehouse) if one.found.detector is Detector.SPREAD]
    assert [(one.found.series, one.found.kind, one.is_history) for one in spreads] == [(THERE, Kind.SPREAD, False)]
    assert [kind for kind, _ in told_of(warehouse)].count("spread") == 1
    whole = contents(warehouse)
    for series in (HERE, THERE):
        score_again(warehouse, settings, Alerting(), series, TODAY, run="again", now=NOW)
    assert contents(warehouse)["incidents"] == whole["incidents"]
