"""Readers beside a writer: no lock is needed to see one state whole, and never an older one again."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.archive import Archive
from etl.archive.root import Root
from etl.errors import StoreError
from etl.schema import from_columns, to_columns
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START, candles_over

WHOLE = TimeRange(START, from_ms(to_ms(START) + 5 * 60_000))
COLUMNS = to_columns(candles_over(WHOLE))
VERSIONS = 120


def _version(number: int) -> pa.Table:
    return from_columns({**COLUMNS, "volume": np.full(5, float(number))})


def test_a_reader_beside_a_writer_never_goes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a file becomes Parquet, a fallback beside it, one elsewhere, each read is of one state or a later one."""
    archive = Archive(str(tmp_path / "first"), tmp_path / "second")
    archive.write(BTC, WHOLE, _version(0))
    refused: list[str] = []
    original = Root.write

    def write(self: Root, path: str, content: Any) -> None:
        if any(self.place_of(path).startswith(str(tmp_path / "first")) and path.endswith(end) for end in refused):
            raise StoreError("the disk is full")
        original(self, path, content)

    monkeypatch.setattr(Root, "write", write)
    done = Event()

    def write_all() -> None:
        try:
            for number in range(1, VERSIONS):
                refused[:] = [[], [".parquet"], [".parquet", ".jsonl"]][number * 7 // 3 % 3]
                archive.write(BTC, WHOLE, _version(number))
        finally:
            done.set()

    writer = Thread(target=write_all)
    writer.start()
    last = 0.0
    while not done.is_set():
        (seen,) = set(to_columns(archive.read(BTC, WHOLE))["volume"].tolist())
        assert seen >= last
        last = seen
    writer.join()
    assert archive.read(BTC, WHOLE).equals(_version(VERSIONS - 1))


def test_a_fallback_that_moves_while_it_is_looked_for_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look at the second root and one at the first, a fallback goes from the first to the second."""
    archive = Archive(str(tmp_path / "first"), tmp_path / "second")
    archive.write(BTC, WHOLE, _version(0))
    parquet = tmp_path / "first" / "candles" / BTC.path / "2024-02.parquet"
    kept = parquet.read_bytes()
    list_files, write = Root.files, Root.write
    moves = iter([True])

    def refuse(self: Root, path: str, content: Any) -> None:
        if self.place_of(path).startswith(str(tmp_path / "first")) and (path.endswith(".parquet") or not any(moves)):
            raise StoreError("the disk is full")
        write(self, path, content)

    def list_and_move(self: Root, *args: Any, **kwargs: Any) -> Any:
        found = list_files(self, *args, **kwargs)
        monkeypatch.setattr(Root, "files", list_files)
        Archive(str(tmp_path / "first"), tmp_path / "second").write(BTC, WHOLE, _version(2))
        return found

    monkeypatch.setattr(Root, "write", refuse)
    archive.write(BTC, WHOLE, _version(1))
    assert [Path(one.path).parent for one in archive.fallbacks()] == [parquet.parent]
    monkeypatch.setattr(Root, "files", list_and_move)
    assert archive.read(BTC, WHOLE).equals(_version(2))
    assert parquet.read_bytes() == kept
