"""The crash as a scorer would have told of it: an incident in the warehouse, out of the candles that are there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from etl import read_candles
from etl.incidents import Fired, Kind, Numbers, Scope, Witness
from etl.schema import to_columns
from etl.warehouse import open_warehouse
from tests.made_incidents import CRASH, ELSEWHERE, found, have
from tests.stage.stage import BTC, CRASH_VOLUME, MINUTE, Stage

_NAMES = ("open", "high", "low", "close", "volume")


def write_crash(stage: Stage) -> int:
    """Write an incident about the candles around the crash, which another exchange saw too; return its number."""
    peak = stage.days.peak
    columns = to_columns(read_candles(BTC, (peak - MINUTE, peak + MINUTE), settings=stage.stack.settings))
    prices: list[Any] = [[float(columns[name][row]) for name in _NAMES] for row in (0, 1)]
    before, at = Numbers(*prices[0]), Numbers(*prices[1])
    move_pct = 100 * (at.close / before.close - 1)
    evidence = replace(
        CRASH,
        numbers=at,
        last_close=before.close,
        usual_volume=at.volume / CRASH_VOLUME,
        move_pct=move_pct,
        fired=(Fired(Kind.CRASH, f"down by {-move_pct:.2f} % within 4 candles"),),
        witnesses=(Witness(ELSEWHERE, at, move_pct, True, f"down by {-move_pct:.2f} %"),),
    )
    with open_warehouse(stage.stack.settings) as warehouse:
        return have(warehouse, found(BTC, peak, scope=Scope.MARKET, evidence=evidence))
