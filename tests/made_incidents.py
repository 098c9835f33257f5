"""Incidents for tests, in a warehouse with the candles around them: nobody has found them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import insert

from etl.incidents import Detector, Evidence, Fired, Found, Kind, Numbers, Scope, Severity, Witness
from etl.schema import from_columns, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import from_ms
from etl.warehouse import Warehouse, ensure_series, lock_scores, open_incident, put_incident_alert
from etl.warehouse.copying import copy_in
from etl.warehouse.incident_tables import messages
from etl.warehouse.reading import cursor_of
from tests.models.made_up import START_MS, walk

BTC, ELSEWHERE = (Series.parse(f"{exchange}:BTC/USDT:1m") for exchange in ("binance", "kraken"))
START = from_ms(START_MS)
MINUTE = timedelta(minutes=1)
PEAK = START + 120 * MINUTE
CRASH = Evidence(
    Numbers(100.0, 100.5, 81.25, 82.5, 900.0, 321),
    last_close=100.25,
    usual_volume=12.5,
    move_pct=-18.95,
    shares={"return": 0.625, "volume": 0.25, "taker_share": 0.125},
    fired=(Fired(Kind.CRASH, "down by 18.95 % within 4 candles"), Fired(Kind.VOLUME_BURST, "72 times as much [usual]")),
    witnesses=(
        Witness(ELSEWHERE, Numbers(100.0, 100.0, 83.0, 84.0, 77.0), -17.0, True, "down by 17.00 %"),
        Witness(Series.parse("coinbase:BTC/USD:1m"), None, None, None, "no candle of it is held"),
    ),
)


def found(series: Series = BTC, at: datetime = PEAK, **changes: Any) -> Found:
    """Return an incident of four candles, the second of which is the peak."""
    facts: dict[str, Any] = {
        "series": series,
        "detector": Detector.MODEL,
        "time_range": TimeRange(at - MINUTE, at + 3 * MINUTE),
        "peak": at,
        "kind": Kind.CRASH,
        "scope": Scope.MARKET,
        "severity": Severity.CRITICAL,
        "evidence": CRASH,
        "is_over": True,
        "score": 4.75,
        "once_in_days": 39.5,
    }
    return Found(**{**facts, **changes})


def candles(count: int = 240) -> pa.Table:
    """Return some hours of candles that fall by a sixth at PEAK."""
    columns = to_columns(walk(count))
    late = columns["open_time"] >= START_MS + 120 * 60_000
    share = np.where(late, 5 / 6, 1.0)
    return from_columns({**columns, **{name: columns[name] * share for name in ("open", "high", "low", "close")}})


def hold(warehouse: Warehouse, series: Series = BTC) -> None:
    """Store these candles."""
    with warehouse.begin() as connection, cursor_of(connection) as cursor:
        copy_in(cursor, "candles", ensure_series(connection, series), candles())


def have(warehouse: Warehouse, one: Found, *, is_history: bool = False, is_told: bool = False) -> int:
    """Write an incident, with its alert if it is told of; return its number."""
    with warehouse.begin() as connection:
        series_id = lock_scores(connection, one.series)
        number = open_incident(connection, series_id, one, "round", is_history=is_history)
        if is_told:
            put_incident_alert(connection, number, one)
    return number


def send(warehouse: Warehouse, alert_id: int, channel: str, state: str, outcome: str) -> None:
    """Write a message that tells of an alert."""
    facts: dict[str, Any] = {"title": "a crash", "body": "", "severity": "critical", "unless_acknowledged": False}
    facts |= {"channel": channel, "identity": f"{alert_id}", "alerts": [alert_id], "series": [str(BTC)]}
    with warehouse.begin() as connection:
        connection.execute(insert(messages).values(**facts, state=state, tries=2, next_try=PEAK, outcome=outcome))
