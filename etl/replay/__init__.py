"""An exchange of our own, for demo, tests, benchmarks, and a dry run before going live.

`ReplayServer` speaks the REST protocols of Binance, Coinbase and Kraken on a local port, all at once: their parameters
and errors, page limits, orders of rows and columns, weights, limits and bans; and it has Binance's bulk archives.
Behind it stands one `Market`: `RecordedMarket` serves a folder of Parquet as recorded, and `MadeUpMarket` makes candles
up, the same ones for everyone and for ever. A `FaultPlan` says what shall go wrong.

    with ReplayServer(MadeUpMarket(seed=7), faults=FaultPlan.parse(["http_429:2", "null:1@3"])) as server:
        ...  # point ccxt at server.url + "/api/v3"

`binance`, `coinbase`, `kraken` and `data_site` are the protocols as values, made of what `wire` has. `limits` is what
an address may spend, `book` the market encoded, `trades` what candles are made of, `synthesis` a made-up day, `mishaps`
what can go wrong, `server` the network. This room imports nothing from the ones that fetch: it is the other side.
"""

from etl.replay.faults import FAULTS, Fault, FaultPlan
from etl.replay.made_up import DEFAULT_SYMBOLS, MadeUpMarket
from etl.replay.market import Market
from etl.replay.recorded import RecordedMarket
from etl.replay.server import ReplayServer

__all__ = [
    "DEFAULT_SYMBOLS",
    "FAULTS",
    "Fault",
    "FaultPlan",
    "MadeUpMarket",
    "Market",
    "RecordedMarket",
    "ReplayServer",
]
