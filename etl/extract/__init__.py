"""From an exchange to raw pages on disk. Owns the network and the raw store; judges no row."""

from etl.extract.adapters import open_source
from etl.extract.budget import Budget
from etl.extract.file_source import CandleFile, look_through
from etl.extract.pager import FetchReport, OnPage, fetch_range
from etl.extract.raw import Fetched, PageKey, RawPartition, RawStore
from etl.extract.source import Bounds, Page, Route, Source
from etl.extract.trades import to_candles

__all__ = [
    "Bounds",
    "Budget",
    "CandleFile",
    "FetchReport",
    "Fetched",
    "OnPage",
    "Page",
    "PageKey",
    "RawPartition",
    "RawStore",
    "Route",
    "Source",
    "fetch_range",
    "look_through",
    "open_source",
    "to_candles",
]
