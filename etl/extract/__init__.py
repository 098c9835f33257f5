"""From an exchange to raw pages on disk. Owns the network and the raw store; judges no row."""

from etl.extract.adapters import open_source
from etl.extract.budget import Budget
from etl.extract.files.candle_file import CandleFile, look_through
from etl.extract.files.page_rows import FileRows, file_rows
from etl.extract.pager import FetchReport, OnPage, fetch_range
from etl.extract.pruning import Pruned, at_rest, prune
from etl.extract.raw import Fetched, PageKey, RawPartition, RawStore
from etl.extract.source import Bounds, Page, Route, Source
from etl.extract.trades import to_candles

__all__ = [
    "Bounds",
    "Budget",
    "CandleFile",
    "FetchReport",
    "Fetched",
    "FileRows",
    "OnPage",
    "Page",
    "PageKey",
    "Pruned",
    "RawPartition",
    "RawStore",
    "Route",
    "Source",
    "at_rest",
    "fetch_range",
    "file_rows",
    "look_through",
    "open_source",
    "prune",
    "to_candles",
]
