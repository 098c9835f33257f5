"""Clean candles as Parquet: one file per series and month, or year from `1h` up, replaced whole."""

from etl.archive.parquet import Archive, ArchiveFile, file_spans, spans

__all__ = ["Archive", "ArchiveFile", "file_spans", "spans"]
