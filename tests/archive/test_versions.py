"""Files of other versions: an older one is read without being rewritten, a newer one is not guessed at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.archive import Archive
from etl.archive.contents import Content
from etl.archive.parquet import open_parquet, to_parquet
from etl.errors import SchemaMismatchError, StoreError
from etl.schema import (
    CANDLE_COLUMNS,
    CANDLE_SCHEMA,
    SCHEMA_VERSION,
    Column,
    ColumnKind,
    content_hash,
    from_columns,
    to_columns,
    value_hash,
)
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from tests.conftest import BTC
from tests.markets import START, candles_over

WHOLE = TimeRange(START, from_ms(to_ms(START) + 40 * 60_000))
LATER = (*CANDLE_COLUMNS, Column("vwap", ColumnKind.FLOAT, "mean price", is_nullable=True, since=2))
CANDLES = candles_over(WHOLE)


def _with_vwap(value: float) -> pa.Table:
    return from_columns({**to_columns(CANDLES), "vwap": np.full(CANDLES.num_rows, value)}, LATER)


def test_what_came_later_may_be_null() -> None:
    """A column that a later version brought is nullable, of a kind that has a null, and of no version to come."""
    for column in CANDLE_COLUMNS:
        assert 1 <= column.since <= SCHEMA_VERSION
        is_of_the_first = column.since == 1
        assert is_of_the_first or (column.is_nullable and column.kind in {ColumnKind.FLOAT, ColumnKind.INT})


def test_a_column_of_which_nothing_is_given_changes_no_hash() -> None:
    """Hashes stay what they were when a column is added; once it holds a value, they tell."""
    for hashed in (content_hash, value_hash):
        assert hashed(_with_vwap(np.nan), LATER) == hashed(CANDLES)
        assert hashed(_with_vwap(1.0), LATER) != hashed(CANDLES)
    assert content_hash(CANDLES) == "b0b8876b79bb5f5521d4e446b8d4d87c6ffb522d72d43cb21008cd8cbae9dc5c"


def test_an_older_file_is_read_with_nulls_and_kept_as_it_is() -> None:
    """A file that was written without a column is read by a version that has it, hash verified; a newer one is not."""
    content = Content(CANDLES, [WHOLE])
    older = to_parquet(CANDLES, content.facts(), BTC)
    read = open_parquet("older", pa.BufferReader(older), BTC, version=2).read(LATER)
    assert read.equals(_with_vwap(np.nan))
    newer_content = Content(_with_vwap(7.5), [WHOLE])
    newer = to_parquet(newer_content.candles, newer_content.facts(LATER, 2), BTC, LATER)
    assert open_parquet("newer", pa.BufferReader(newer), BTC, version=2).read(LATER).equals(_with_vwap(7.5))
    with pytest.raises(SchemaMismatchError, match="schema version 2.*update Chandler"):
        open_parquet("newer", pa.BufferReader(newer), BTC)


def test_a_file_that_lacks_what_its_version_has_is_refused() -> None:
    """A column that must be there and is not makes no nulls."""
    content = Content(CANDLES, [WHOLE])
    cut = to_parquet(CANDLES.drop_columns(["trades"]), content.facts(), BTC, [*CANDLE_COLUMNS[:7], *CANDLE_COLUMNS[8:]])
    with pytest.raises(StoreError, match="cannot be trusted.*trades"):
        open_parquet("cut", pa.BufferReader(cut), BTC).read()


def test_a_file_from_before_files_said_what_they_cover(tmp_path: Path) -> None:
    """It covers its first candle to the end of its last, and is left alone by a write that changes nothing."""
    archive = Archive(str(tmp_path / "first"), tmp_path / "second")
    path = tmp_path / "first" / "candles" / BTC.path / "2024-02.parquet"
    path.parent.mkdir(parents=True)
    said = {"chandler.schema_version": "1", "chandler.series": str(BTC), "chandler.content_hash": content_hash(CANDLES)}
    pq.write_table(CANDLES.cast(CANDLE_SCHEMA).replace_schema_metadata(said), path)
    before = path.read_bytes()
    assert archive.covered(BTC, WHOLE) == [WHOLE]
    assert archive.read(BTC, WHOLE).equals(CANDLES)
    inner = TimeRange(from_ms(WHOLE.start_ms + 600_000), WHOLE.end)
    archive.write(BTC, inner, CANDLES.slice(10))
    assert path.read_bytes() == before
    further = TimeRange(WHOLE.end, from_ms(WHOLE.end_ms + 60_000))
    archive.write(BTC, further, candles_over(further))
    assert archive.covered(BTC, WHOLE) == [TimeRange(WHOLE.start, further.end)]
    assert archive.read(BTC, TimeRange(WHOLE.start, further.end)).num_rows == CANDLES.num_rows + 1
