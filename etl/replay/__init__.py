"""An exchange of our own, for demo, tests, benchmarks, and a dry run before going live.

`ReplayServer` speaks Binance's spot REST protocol on a local port: its parameters and errors, page limit, weights,
headers and bans. Behind it stands a `Market`: `RecordedMarket` serves a folder of Parquet as recorded, and
`MadeUpMarket` makes candles up, the same ones for everyone and for ever. A `FaultPlan` says what shall go wrong.

    with ReplayServer(MadeUpMarket(seed=7), faults=FaultPlan.parse(["http_429:2", "null:1@3"])) as server:
        ...  # point ccxt at server.url + "/api/v3"

`binance` is the protocol as values, `limits` what an address may spend, `synthesis` one made-up day, `server` the
network. This room imports nothing from the ones that fetch: it is the other side.
"""

from etl.replay.faults import FAULTS, Fault, FaultPlan
from etl.replay.market import DEFAULT_SYMBOLS, MadeUpMarket, Market
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
