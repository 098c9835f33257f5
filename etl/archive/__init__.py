"""Clean candles as Parquet: one file per series and month, or year from `1h` up, replaced whole."""

from etl.archive.archive import Archive, open_archive
from etl.archive.contents import FileFacts
from etl.archive.layout import file_spans, spans
from etl.archive.records import ArchiveFile, Fallback, Leftover, Written

__all__ = [
    "Archive",
    "ArchiveFile",
    "Fallback",
    "FileFacts",
    "Leftover",
    "Written",
    "file_spans",
    "open_archive",
    "spans",
]
