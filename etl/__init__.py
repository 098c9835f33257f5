"""Exchange candles, accounted for: fetched, cleaned, kept in Parquet and PostgreSQL.

What a notebook needs stands here: `etl.read_candles("binance:BTC/USDT:1m", ("2024-01-01", "2024-02-01"))`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl.read import Fill, Source, read_candles
    from etl.schema import Flag
    from etl.series import Series, TimeRange
else:
    _HOMES = {
        "Fill": "etl.read",
        "Flag": "etl.schema",
        "Series": "etl.series",
        "Source": "etl.read",
        "TimeRange": "etl.series",
        "read_candles": "etl.read",
    }

    def __getattr__(name: str) -> object:
        # Imported when it is asked for: whoever imports a part of etl does not pay for the reader.
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


__all__ = ["Fill", "Flag", "Series", "Source", "TimeRange", "read_candles"]
