"""Reasons why no model judges yet: each is told where it is the one."""

from __future__ import annotations

from sqlalchemy import insert

from etl.learning import Learning
from etl.series import Series
from etl.warehouse import Warehouse, ensure_series
from etl.warehouse.tables import quality
from models.readiness import why_no_model
from tests.models.nights import END

HOURLY, DAILY = Series.parse("binance:BTC/USDT:1h"), Series.parse("binance:BTC/USDT:1d")


def _hold(warehouse: Warehouse, series: Series, candles: int) -> None:
    counts = {"expected": candles, "stored": candles, "unjudged": 0, "revisions": 0}
    with warehouse.begin() as connection:
        row = {"series_id": ensure_series(connection, series), "day": END.date(), **counts}
        connection.execute(insert(quality).values(absent={}, refused={}, flagged={}, **row))


def _why(warehouse: Warehouse) -> str:
    with warehouse.begin() as connection:
        return why_no_model(connection, Learning())


def test_the_reason_is_the_real_one(warehouse: Warehouse) -> None:
    """Nothing loaded, too little of each timeframe, or nobody has trained."""
    assert _why(warehouse) == "No candle is loaded yet: a model is trained on what is."
    _hold(warehouse, HOURLY, 719)
    _hold(warehouse, DAILY, 300)
    assert _why(warehouse) == (
        "No model can be trained yet: 1h takes 30 days (720 candles), and no series has more than 719; "
        "1d takes 720 days (720 candles), and no series has more than 300. Load more of the past, or wait."
    )
    _hold(warehouse, Series.parse("kraken:BTC/USD:1h"), 720)
    assert _why(warehouse).startswith("No model judges yet: chandler train makes one")
