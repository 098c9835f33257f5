"""From a bad print to the message: a wick on one of two exchanges, and what people read of it."""

from __future__ import annotations

from datetime import timedelta

from etl.incidents import Kind, Scope
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.timeframe import Timeframe, from_ms
from etl.warehouse import open_warehouse
from models.features import to_track
from models.fitting import fit
from models.rounds import score_loads
from models.scorers.scorer import Study
from models.targets import ALL
from tests.alerts.receivers import web_receiver
from tests.alerts.sending import Clock, channels, deliver
from tests.models.made_up import START_MS, walk
from tests.models.scored import crown_artifact, incidents_of, load, wicked

HERE, THERE = Series.parse("binance:BTC/USDT:1m"), Series.parse("coinbase:BTC/USD:1m")
START, DAY = from_ms(START_MS), timedelta(days=1)
PAST, TODAY = TimeRange(START, START + 2 * DAY), TimeRange(START + 2 * DAY, START + 3 * DAY)
AT = 2 * 1440 + 615


def test_a_bad_print_is_told_as_the_venues_own_with_the_other_exchanges_numbers(settings: Settings) -> None:
    """A low 8 % below for one minute, on one of two exchanges: a data fault of that venue, and the other says so."""
    calm = walk(3 * 1440, seed=4)
    columns = to_columns(calm)
    other = from_columns({**columns, "volume": columns["volume"] * 0.7})
    with open_warehouse(settings) as warehouse, web_receiver() as hook:
        tracks = {series: to_track(calm, Timeframe.M1, PAST) for series in (HERE, THERE)}
        learned, held_out = TimeRange(START, START + DAY), TimeRange(START + DAY, PAST.end)
        known = {"scope": ALL, "as_of": PAST.end, "data_hash": "0" * 64, "budget": 1.0}
        crown_artifact(warehouse, fit("seasonal_z", Timeframe.M1, tracks, learned, held_out, Study(), **known))
        for series, candles in ((THERE, other), (HERE, wicked(calm, AT))):
            load(warehouse, series, candles, PAST, is_history=True)
            load(warehouse, series, candles, TODAY)
        alerting, clock = channels("hook"), Clock()
        for series in (HERE, THERE):
            score_loads(warehouse, settings, alerting, series, run="round", now=TODAY.end)
        clock.on(minutes=1)
        deliver(warehouse, alerting, clock, hook=hook.url())
        news = [one for one in incidents_of(warehouse) if not one.is_history]
        assert [(one.found.series, one.found.kind, one.found.scope) for one in news] == [
            (HERE, Kind.DATA_FAULT, Scope.VENUE)
        ]
    (request,) = hook.requests
    body = request.json["message"]
    assert "BTC/USDT" in request.json["title"] + body
    assert "8.0 %" in body
    assert "coinbase" in body
    low = f"{columns['low'][AT]:,.2f}"
    assert low in body, (low, body)
