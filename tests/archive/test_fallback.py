"""Fallbacks of a Parquet file: never lost, never served when they are stale, never trusted when they are spoilt."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.archive import Archive
from etl.archive.root import Root
from etl.errors import SchemaMismatchError, StoreError
from etl.schema import from_columns, to_columns
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from tests.candles import candle_tables
from tests.conftest import BTC
from tests.markets import START, candles_over

WHOLE = TimeRange(START, from_ms(to_ms(START) + 12 * 60_000))
CANDLES = candles_over(WHOLE)
STEP = st.sampled_from(["done"] * 4 + ["refused"] * 3 + ["died before", "died after"])


class _DiedError(BaseException):
    """Stands for a process that is killed at this point."""


def _scripted(steps: Iterator[str], original: Any) -> Any:
    """Return a method that does as its script says: is done, is refused, or is where the process dies."""

    def follow(self: Root, *args: Any) -> None:
        step = next(steps, "done")
        if step == "refused":
            raise StoreError("the disk is full")
        if step == "died before":
            raise _DiedError
        original(self, *args)
        if step == "died after":
            raise _DiedError

    return follow


@given(
    st.lists(st.tuples(st.sampled_from(range(5)), st.booleans(), st.lists(STEP, max_size=6)), min_size=1, max_size=7)
)
@example([(1, False, ["refused", "refused", "done"]), (2, False, ["refused", "done", "refused"])])
@example([(1, False, []), (2, False, ["refused", "done"]), (1, False, ["done", "refused", "done"])])
@examples(max_examples=120)
def test_whatever_fails_wherever_it_dies_the_archive_holds_the_old_or_the_new(
    writes: list[tuple[int, bool, list[str]]],
) -> None:
    """Writes, conversions, refusals and deaths in any order: what a write claimed is read, and no write is undone.

    One that did not end leaves what was there or what it was to bring, never a mixture and never anything older.
    """
    patch = pytest.MonkeyPatch()
    with tempfile.TemporaryDirectory() as folder, patch.context():
        archive = Archive(f"{folder}/first", Path(folder) / "second")
        held = CANDLES.slice(0, 0)
        for version, is_conversion, script in writes:
            wanted = held if is_conversion else _version(version)
            try:
                with pytest.MonkeyPatch.context() as scripted:
                    steps = iter(script)
                    for name in ("write", "remove"):
                        scripted.setattr(Root, name, _scripted(steps, getattr(Root, name)))
                    _do(archive, wanted, is_conversion=is_conversion)
            except (StoreError, _DiedError):
                found = archive.read(BTC, WHOLE)
                assert found.equals(held) or found.equals(wanted)
                held = found
            else:
                held = wanted
                assert archive.read(BTC, WHOLE).equals(held)
        for fallback in archive.fallbacks():
            archive.convert(fallback)
        assert archive.read(BTC, WHOLE).equals(held)
        assert archive.fallbacks() == archive.leftovers() == []


def _version(number: int) -> pa.Table:
    """Return some candles: none of them for 0, the same again for the same number."""
    columns = to_columns(CANDLES.slice(0, 3 * number))
    return from_columns({**columns, "close": columns["close"] + number % 2})


def _do(archive: Archive, wanted: pa.Table, *, is_conversion: bool) -> None:
    if is_conversion:
        for fallback in archive.fallbacks():
            archive.convert(fallback)
    else:
        archive.write(BTC, WHOLE, wanted)


@pytest.fixture
def blocked(tmp_path: Path) -> tuple[Archive, Path]:
    """An archive with candles in a fallback, since a folder lies where their file must; that folder."""
    archive = Archive(str(tmp_path / "first"), tmp_path / "second")
    folder = tmp_path / "first" / "candles" / BTC.path / "2024-02.parquet"
    folder.mkdir(parents=True)
    archive.write(BTC, WHOLE, CANDLES)
    return archive, folder


@given(candles=candle_tables(width=12))
@examples(max_examples=30)
def test_a_fallback_holds_every_value_to_the_last_bit(candles: pa.Table) -> None:
    """Prices, counts, nulls and times come back from JSON as they went in; each line is an object of its own."""
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(f"{folder}/first", Path(folder) / "second")
        (Path(folder) / "first" / "candles" / BTC.path / "2024-02.parquet").mkdir(parents=True)
        archive.write(BTC, WHOLE, candles)
        assert archive.read(BTC, WHOLE).equals(candles)
        for fallback in archive.fallbacks():
            header, *lines = (orjson.loads(line) for line in Path(fallback.path).read_bytes().splitlines())
            assert (header["rows"], header["replaces"], len(lines)) == (candles.num_rows, None, candles.num_rows)
            assert [line["close"] for line in lines] == candles.column("close").to_pylist()
            assert lines[0]["open_time"].endswith("Z")


def test_a_fallback_is_beside_its_file_or_else_below_the_second_root(
    blocked: tuple[Archive, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Beside it where that can be; where a third way is needed there is one; with none left, all reasons are named."""
    archive, folder = blocked
    beside = folder.with_suffix(".jsonl")
    assert [fallback.path for fallback in archive.fallbacks()] == [str(beside)]
    beside.unlink()
    beside.mkdir()
    with caplog.at_level("WARNING"):
        (second,) = archive.write(BTC, WHOLE, CANDLES).fallbacks
    assert "2024-02.parquet cannot be written" in caplog.text
    assert second in caplog.text
    assert "chandler archive convert" in caplog.text
    assert "/second/candles/" in second
    (file,) = archive.files(BTC)
    assert archive.facts(BTC, file).rows == CANDLES.num_rows
    assert archive.series() == [BTC]
    Path(second).unlink()
    Path(second).mkdir()
    with pytest.raises(StoreError) as caught:
        archive.write(BTC, WHOLE, CANDLES)
    assert all(path in caught.value.message for path in (str(folder), str(beside), second))
    assert archive.read(BTC, WHOLE).num_rows == 0


def test_a_spoilt_fallback_is_refused_and_can_be_set_aside(blocked: tuple[Archive, Path]) -> None:
    """Any bit of it changed, or a line lost, is an error; nothing else is served in its stead."""
    archive, folder = blocked
    path = folder.with_suffix(".jsonl")
    whole = path.read_bytes()
    random = np.random.default_rng(8)
    for place in [*random.integers(0, len(whole), 150).tolist(), *range(0, whole.index(b"\n"), 5)]:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(bytes(spoilt))
        try:
            assert archive.read(BTC, WHOLE).equals(CANDLES), "a changed bit was served"
        except (StoreError, SchemaMismatchError) as error:
            assert str(path) in error.message
    path.write_bytes(whole[: whole.rindex(b"\n", 0, len(whole) - 2)])
    with pytest.raises(StoreError, match="cannot be trusted"):
        archive.read(BTC, WHOLE)
    with pytest.raises(StoreError, match="cannot be trusted"):
        archive.convert(archive.fallbacks()[0])
    (file,) = archive.files(BTC)
    assert archive.set_aside(file).endswith(".2024-02.jsonl.aside1")
    assert archive.read(BTC, WHOLE).num_rows == 0


def test_a_stale_fallback_is_left_over_and_hides_nothing(blocked: tuple[Archive, Path]) -> None:
    """One that came back after a Parquet file took it in is not read, not even when that file holds the same again."""
    archive, folder = blocked
    path = folder.with_suffix(".jsonl")
    old = path.read_bytes()
    folder.rmdir()
    archive.write(BTC, WHOLE, CANDLES.slice(0, 3))
    assert not path.exists()
    path.write_bytes(old)
    assert archive.read(BTC, WHOLE).num_rows == 3
    assert [(one.path, "has taken in" in one.what) for one in archive.leftovers()] == [(str(path), True)]
    archive.convert(archive.fallbacks()[0])
    assert (archive.read(BTC, WHOLE).num_rows, archive.leftovers()) == (3, [])
    path.write_bytes(old)
    archive.write(BTC, WHOLE, CANDLES.slice(0, 0))
    assert archive.read(BTC, WHOLE).num_rows == 0


def test_a_fallback_of_a_newer_version_is_not_guessed_at(blocked: tuple[Archive, Path]) -> None:
    """It says what to do: update."""
    archive, folder = blocked
    path = folder.with_suffix(".jsonl")
    header, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(_resealed(orjson.loads(header) | {"schema_version": 2}) + b"\n" + rest)
    with pytest.raises(SchemaMismatchError, match="update Chandler"):
        archive.read(BTC, WHOLE)


def _resealed(header: dict[str, Any]) -> bytes:
    from etl.archive.fallback import _seal

    del header["seal"]
    return orjson.dumps({**header, "seal": _seal(header)})
