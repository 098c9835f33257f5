"""Soundness of the archive: every byte read, and held against what the warehouse vouches for."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from etl.audit import audit
from etl.cli import app
from etl.fallbacks import convert_fallbacks, waiting_fallbacks
from etl.health import Sample, check_archive
from etl.ingest import clean_pages, load
from etl.replay import RecordedMarket, ReplayServer
from etl.schema import empty_candles
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from tests.markets import candles_over, kline, put_pages

BTC, ETH = (Series.parse(f"binance:{base}/USDT:1m") for base in ("BTC", "ETH"))
FIRST = datetime(2024, 1, 31, 23, tzinfo=UTC)
SPANS = [
    TimeRange(FIRST + timedelta(hours=n), FIRST + timedelta(hours=n + 1)) for n in range(2)
]  # either side of a month
FIX = f"chandler audit {BTC} --fix"


def _load(stores: Stores, series: Series, span: TimeRange) -> None:
    rows = [kline(at) for at in range(span.start_ms, span.end_ms, 60_000) if at // 60_000 % 60 != 7]
    put_pages(stores.raw, series, span, rows)
    clean_pages(stores, Partition(series, span))
    load(stores, Partition(series, span), "test")


@pytest.fixture
def loaded(stores: Stores) -> Stores:
    """Stores with two hours of two series, in two files each, each hour with a minute missing."""
    for series in (BTC, ETH):
        for span in SPANS:
            _load(stores, series, span)
    return stores


def _files(stores: Stores, series: Series) -> list[Path]:
    return sorted((Path(stores.settings.home) / "archive" / "candles" / series.path).glob("*.parquet"))


def _ailments(stores: Stores) -> list[tuple[str, str, str]]:
    return [(Path(one.path).name, one.what, one.remedy) for one in check_archive(stores).all_ailments]


def test_a_sound_archive_is_called_sound(loaded: Stores) -> None:
    """With the files, candles, bytes and gaps of each series."""
    seen = []
    health = check_archive(loaded, on_file=lambda done, planned, rows: seen.append((done, planned, rows)))
    assert health.all_ailments == []
    assert seen == [(number, 4, 59) for number in range(1, 5)]
    btc, _ = health.series
    sizes = [path.stat().st_size for path in _files(loaded, BTC)]
    assert (btc.files, btc.checked, btc.rows, btc.size_bytes) == (2, 2, 118, sum(sizes))
    assert btc.absent == {"pending": 2}
    assert btc.last_write is not None


def test_each_file_is_in_one_sample_whatever_else_there_is(loaded: Stores) -> None:
    """Thirty nights read every file once; the others are left alone."""
    read = []
    for night in range(5):
        _load(loaded, Series.parse(f"binance:X{night}/USDT:1m"), SPANS[0])
        health = check_archive(loaded, [BTC, ETH], Sample(night, 5))
        read.append(sum(one.checked for one in health.series))
    assert sum(read) == 4
    assert max(read) < 4


def _flip(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + bytes([whole[200] ^ 1]) + whole[201:])


def test_what_is_wrong_is_named_with_what_mends_it(loaded: Stores) -> None:
    """A flipped bit, a lost file, candles that nobody vouches for, lacking ones, and files of nobody."""
    first, second = _files(loaded, BTC)
    _flip(first)
    second.unlink()
    lacking = TimeRange(SPANS[1].start, SPANS[1].start + timedelta(minutes=1))
    loaded.archive.write(ETH, lacking, empty_candles())
    stray = TimeRange(FIRST - timedelta(hours=5), FIRST - timedelta(hours=4))
    loaded.archive.write(ETH, stray, candles_over(stray))
    loaded.archive.write(Series.parse("binance:OLD/USDT:1m"), stray, candles_over(stray))
    was = Series.parse("binance:WAS/USDT:1m")
    loaded.archive.write(was, stray, candles_over(stray))
    _flip(*_files(loaded, was))
    found = _ailments(loaded)
    eth_fix = FIX.replace("BTC", "ETH")
    assert (f"no file holds the 59 candles of {SPANS[1]}", FIX) in [(what, remedy) for _, what, remedy in found]
    broken = [what for name, what, remedy in found if name == "2024-01.parquet" and remedy == FIX]
    assert len(broken) == 1, "the flipped bit"
    unknown = "60 candles outside every range that a checkpoint knows: the warehouse has no account of them"
    assert ("2024-01.parquet", unknown, "chandler warehouse rebuild binance:ETH/USDT:1m") in found
    assert ("2024-02.parquet", f"58 candles in {SPANS[1]}, where its checkpoint counts 59", eth_fix) in found
    assert "the warehouse does not know the series: the archive has 1 file of it" in {what for _, what, _ in found}
    again = f"chandler ingest {was} --start 2024-01-01T00:00 --end 2024-02-01T00:00 --again"
    assert again in [remedy for _, what, remedy in found if "cannot be trusted" in what], "no store is intact"
    assert len(found) == 7


def test_candles_that_their_file_does_not_cover_are_to_be_loaded(loaded: Stores) -> None:
    """No store can mend them: the audit gives the same remedy."""
    span = TimeRange(FIRST - timedelta(hours=5), FIRST - timedelta(hours=4))
    loaded.archive.write(ETH, span, candles_over(span), loaded.archive.covered(ETH, SPANS[0]))
    again = f"chandler ingest {ETH} --start {span.start:%Y-%m-%dT%H:%M} --end {span.end:%Y-%m-%dT%H:%M}"
    what = "60 candles outside what the file says that it covers"
    assert _ailments(loaded) == [("2024-01.parquet", what, again)]
    (problem,) = audit(loaded, [ETH])[0].problems
    assert problem.remedy == again


def test_a_file_with_other_values_is_no_sound_one(loaded: Stores) -> None:
    """As many candles as are vouched for, and with a hash of its own, but not those."""
    span = TimeRange(SPANS[0].start, SPANS[0].start + timedelta(minutes=1))
    candles = loaded.archive.read(BTC, TimeRange(span.end, span.end + timedelta(minutes=1)))
    wrong = candles_over(span)
    assert wrong.num_rows == candles.num_rows == 1
    loaded.archive.write(BTC, span, wrong)
    assert _ailments(loaded) == [
        ("2024-01.parquet", f"the candles of {SPANS[0]} are not those that its checkpoint vouches for", FIX)
    ]


def test_what_was_left_behind_is_named_once_it_is_nobodys(loaded: Stores) -> None:
    """A cut-off write is wrong after a day, what was set aside never is, and may go."""
    folder = _files(loaded, BTC)[0].parent
    young, old = (folder / f".2024-0{month}.parquet.77.tmp" for month in (1, 2))
    for path in (young, old, folder / "2023-12.parquet.aside1"):
        path.write_bytes(b"half")
    long_ago = datetime.now(UTC).timestamp() - 100_000
    os.utime(old, (long_ago, long_ago))
    health = check_archive(loaded)
    assert [Path(one.path).name for one in health.all_ailments] == [old.name]
    assert len(health.notes) == 1
    assert "aside1" in health.notes[0]


@pytest.fixture
def blocked(loaded: Stores) -> Stores:
    """Stores of which a month could not be written as Parquet: a folder stands where the file should."""
    (path,) = (path for path in _files(loaded, BTC) if "2024-02" in path.name)
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    _load(loaded, BTC, SPANS[1])
    return loaded


def _unblock(stores: Stores) -> None:
    path = Path(stores.settings.home) / "archive" / "candles" / BTC.path / "2024-02.parquet"
    (path / "in the way").unlink()
    path.rmdir()


def test_a_fallback_waits_is_named_and_converted(blocked: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it waits the archive is not sound; once Parquet can be written again one command makes it so."""
    monkeypatch.setenv("COLUMNS", "200")
    (fallback,) = waiting_fallbacks(blocked, [BTC])
    assert waiting_fallbacks(blocked, [ETH]) == []
    assert fallback.path in [one.path for one in check_archive(blocked).all_ailments]
    (still,) = convert_fallbacks(blocked)
    assert still.failure is not None
    refused = CliRunner().invoke(app, ["archive", "convert"])
    assert (refused.exit_code, "still waits" in refused.output) == (1, True)
    _unblock(blocked)
    done = CliRunner().invoke(app, ["archive", "convert"])
    assert (done.exit_code, done.output.strip().endswith("is Parquet now")) == (0, True)
    assert check_archive(blocked).all_ailments == []
    assert blocked.archive.read(BTC, SPANS[1]).num_rows == 59
    assert "Nothing waits" in CliRunner().invoke(app, ["archive", "convert"]).output


def test_an_ingest_that_had_to_fall_back_says_so_and_has_succeeded(
    recording: Path, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last line names the file and what makes Parquet of it; the exit status is that of a success."""
    in_the_way = Path(stores.settings.home) / "archive" / "candles" / BTC.path / "2024-03.parquet" / "in the way"
    in_the_way.mkdir(parents=True)
    with ReplayServer(RecordedMarket(recording)) as server:
        monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", server.url)
        arguments = [str(BTC), "--start", "2024-02-29T22:00", "--end", "2024-03-01T02:00"]
        done = CliRunner().invoke(app, ["ingest", *arguments])
    assert done.exit_code == 0, done.output
    (fallback,) = waiting_fallbacks(stores)
    assert done.stderr.splitlines()[-1].endswith(
        f"the candles are kept in {fallback.path}; run chandler archive convert"
    )


def test_the_command_says_what_is_wrong_and_by_its_status_that_something_is(loaded: Stores) -> None:
    """A row a series, a line a problem, how fast it was; exit status 1 only if something is wrong."""
    sound = CliRunner().invoke(app, ["archive", "check"])
    assert sound.exit_code == 0, sound.output
    assert "candles/s" in sound.output
    assert sound.stdout.count("sound") == 2
    _flip(_files(loaded, BTC)[0])
    wrong = CliRunner().invoke(app, ["archive", "check", str(BTC)])
    assert wrong.exit_code == 1
    assert FIX in wrong.output
    assert '"sound": true' in CliRunner().invoke(app, ["archive", "check", str(ETH), "--json"]).stdout
