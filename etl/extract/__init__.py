"""From an exchange to raw pages on disk. Owns the network and the raw store; judges no row."""

from etl.extract.adapters import open_source
from etl.extract.pager import FetchReport, fetch_range, read_pages
from etl.extract.raw import RawPartition, RawStore
from etl.extract.source import Page, Source

__all__ = [
    "FetchReport",
    "Page",
    "RawPartition",
    "RawStore",
    "Source",
    "fetch_range",
    "open_source",
    "read_pages",
]
