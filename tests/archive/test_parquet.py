"""The archive's files: exact, replaced whole, and not trusted when something is wrong with them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.archive import Archive, spans
from etl.errors import ConfigError, SchemaMismatchError, StoreError
from etl.schema import to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe, from_ms, to_ms
from tests.candles import candle_tables
from tests.conftest import BTC
from tests.markets import START, candles_over

WHOLE = TimeRange(START, from_ms(to_ms(START) + 40 * 60_000))


@given(first=candle_tables(), second=candle_tables(), start=st.integers(0, 39), count=st.integers(1, 40))
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_a_range_is_replaced_and_the_rest_stays(
    first: object, second: object, start: int, count: int, tmp_path: Path
) -> None:
    """After a write the archive holds just what was written in the range, and outside what was there, bit for bit."""
    archive = Archive(str(tmp_path), tmp_path / "second")
    archive.write(BTC, WHOLE, first)
    span = TimeRange.from_ms(to_ms(START) + start * 60_000, to_ms(START) + (start + count) * 60_000)
    archive.write(BTC, span, _within(second, span))
    got = archive.read(BTC, TimeRange(START, max(span.end, WHOLE.end)))
    times = to_columns(got)["open_time"]
    is_inside = (times >= span.start_ms) & (times < span.end_ms)
    assert got.filter(is_inside).equals(_within(second, span))
    assert got.filter(~is_inside).equals(_without(first, span))


def _within(candles: object, span: TimeRange) -> object:
    times = to_columns(candles)["open_time"]
    return candles.filter((times >= span.start_ms) & (times < span.end_ms))  # type: ignore[attr-defined]


def _without(candles: object, span: TimeRange) -> object:
    times = to_columns(candles)["open_time"]
    return candles.filter((times < span.start_ms) | (times >= span.end_ms))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("timeframe", "names"), [("1m", ["2024-02", "2024-03"]), ("30m", ["2024-02", "2024-03"]), ("1h", ["2024"])]
)
def test_files_are_months_and_from_an_hour_up_years(timeframe: str, names: list[str]) -> None:
    """A range is cut where one file ends and the next begins."""
    span = TimeRange(datetime(2024, 2, 10, tzinfo=UTC), datetime(2024, 3, 3, tzinfo=UTC))
    assert len(spans(Timeframe(timeframe), span)) == len(names)
    assert [spans(Timeframe(timeframe), span)[0].start, spans(Timeframe(timeframe), span)[-1].end] == [
        span.start,
        span.end,
    ]


@given(candles=candle_tables())
@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
def test_anything_that_reads_parquet_reads_it(candles: object, tmp_path: Path) -> None:
    """Pandas reads the whole folder by its path, with the keys that stand in the path."""
    archive = Archive(str(tmp_path), tmp_path / "second")
    archive.write(BTC, WHOLE, candles)
    if candles.num_rows == 0:  # type: ignore[attr-defined]
        assert not archive.files(BTC)
        return
    frame = pd.read_parquet(tmp_path / "candles")
    assert frame["close"].tolist() == candles.column("close").to_pylist()  # type: ignore[attr-defined]
    assert set(frame["symbol"]) == {"BTC-USDT"}


@pytest.fixture
def written(tmp_path: Path) -> tuple[Archive, Path]:
    """An archive with one file of forty candles, and that file."""
    archive = Archive(str(tmp_path), tmp_path / "second")
    archive.write(BTC, WHOLE, candles_over(WHOLE))
    (path,) = tmp_path.rglob("*.parquet")
    return archive, path


def test_a_flipped_bit_is_found(written: tuple[Archive, Path]) -> None:
    """A file with one bit changed is refused, with what to do; or the bit was in nothing that candles are made of."""
    archive, path = written
    whole, candles = path.read_bytes(), archive.read(BTC, WHOLE)
    places = range(4, len(whole), 41)
    served = 0
    for place in places:
        spoilt = bytearray(whole)
        spoilt[place] ^= 1
        path.write_bytes(bytes(spoilt))
        try:
            assert archive.read(BTC, WHOLE).equals(candles)
        except (StoreError, SchemaMismatchError) as error:
            assert str(path) in error.message
        else:
            served += 1
    assert served < len(places) / 2


def test_a_truncated_file_and_a_strange_one_are_refused(written: tuple[Archive, Path], tmp_path: Path) -> None:
    """Half a file, another series' file and another program's file are errors, never candles."""
    archive, path = written
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="cannot be trusted"):
        archive.read(BTC, WHOLE)
    other = Series.parse("binance:ETH/USDT:1m")
    elsewhere = tmp_path / "candles" / other.path / path.name
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_bytes(whole)
    with pytest.raises(StoreError, match="it says that it holds"):
        archive.read(other, WHOLE)
    pd.DataFrame({"close": [1.0]}).to_parquet(path)
    with pytest.raises(SchemaMismatchError, match="schema version"):
        archive.read(BTC, WHOLE)


def test_a_value_changed_by_another_program_is_found(written: tuple[Archive, Path]) -> None:
    """A file that is sound Parquet but does not hold what its hash says is refused."""
    archive, path = written
    table = pq.read_table(path)
    close = pc.add(table.column("close"), 0.01)
    changed = table.set_column(table.schema.get_field_index("close"), table.schema.field("close"), close)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    with pytest.raises(StoreError, match="does not match its hash"):
        archive.read(BTC, WHOLE)


def test_who_reads_the_old_file_reads_it_to_its_end(written: tuple[Archive, Path]) -> None:
    """A file is replaced, never written into: a reader that has it open sees the old one whole."""
    archive, path = written
    before = path.read_bytes()
    with path.open("rb") as reader:
        archive.write(BTC, WHOLE, archive.read(BTC, WHOLE).slice(0, 3))
        assert reader.read() == before
    assert archive.read(BTC, WHOLE).num_rows == 3


def test_a_write_that_fails_leaves_the_old_file(written: tuple[Archive, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file is whole and nothing else is left if the disk refuses in the middle of a replacement."""
    archive, path = written
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", refuse)
        with pytest.raises(StoreError, match="make room"):
            archive.write(BTC, WHOLE, archive.read(BTC, WHOLE).slice(0, 3))
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    """An address that pyarrow has no filesystem for is a configuration error."""
    with pytest.raises(ConfigError, match="names no place to keep files"):
        Archive("gopher://somewhere/candles", tmp_path)


def test_the_archive_knows_its_series_by_their_folders(tmp_path: Path) -> None:
    """Whatever else lies there is none; what was set aside is kept and read by nobody, however often."""
    archive = Archive(str(tmp_path), tmp_path / "second")
    assert archive.series() == []
    future = Series("binance", "BTC/USDT:USDT-250627", Timeframe.H1)
    for series in (BTC, future):
        archive.write(series, WHOLE, candles_over(WHOLE))
    for odd in ("exchange=binance/symbol=BTC/timeframe=1m", "exchange=x/y", "exchange=binance/symbol=A-B/timeframe=7m"):
        (tmp_path / "candles" / odd).mkdir(parents=True)
    assert archive.series() == sorted([BTC, future])
    for number in (1, 2):
        (file,) = archive.files(BTC)
        hidden = Path(file.path).with_name(f".{Path(file.path).name}.aside{number}")
        assert archive.set_aside(file) == str(hidden)
        assert archive.files(BTC) == []
        archive.write(BTC, WHOLE, candles_over(WHOLE))
    assert archive.series() == sorted([BTC, future])
