"""Faults of disks and processes: full, read-only, cut off, rotten. The archive serves what was written, or fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from etl.archive import Archive
from etl.errors import SchemaMismatchError, StoreError
from etl.series import TimeRange
from etl.timeframe import from_ms, to_ms
from tests.archive.child import DEATHS, convert, convert_and_die, in_child, write_and_die, write_as_nobody, write_little
from tests.conftest import BTC, REPOSITORY
from tests.markets import START, candles_over

WHOLE = TimeRange(START, from_ms(to_ms(START) + 400 * 60_000))
OLD, NEW = candles_over(WHOLE).slice(0, 300), candles_over(WHOLE)


@pytest.fixture
def roots() -> Iterator[tuple[str, str]]:
    """Two folders that any user may enter, the first of which has candles."""
    with tempfile.TemporaryDirectory(prefix="chandler-test-") as folder:
        Path(folder).chmod(0o755)
        first, second = f"{folder}/first", f"{folder}/second"
        Archive(first, Path(second)).write(BTC, WHOLE, OLD)
        Path(second).mkdir(mode=0o777)
        Path(second).chmod(0o777)
        yield first, second


def _file(roots: tuple[str, str]) -> Path:
    return Path(roots[0]) / "candles" / BTC.path / "2024-02.parquet"


def _archive(roots: tuple[str, str]) -> Archive:
    return Archive(roots[0], Path(roots[1]))


def _can_unshare() -> bool:
    try:
        return subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def test_a_disk_that_is_full_loses_nothing(roots: tuple[str, str]) -> None:
    """On a real disk without room the rows go to the second root, are read from there, and come back once there is."""
    if not _can_unshare():
        pytest.skip("no disk can be mounted here without rights")
    folder = Path(roots[1])
    command = ["unshare", "-rm", sys.executable, "-m", "tests.archive.full_disk", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    names = [str(folder / "second" / "candles" / BTC.path / f"2024-{month}.jsonl") for month in ("02", "03")]
    assert seen == {
        "error": "No space left on device",
        "fallbacks": names,
        "is_read": True,
        "cut_off": [],
        "is_read_after": True,
        "left": [],
    }


def test_with_both_disks_full_nothing_is_claimed_and_the_old_file_is_whole(roots: tuple[str, str]) -> None:
    """A process that may write no more in any place says so with every reason, and leaves what was there."""
    before = _file(roots).read_bytes()
    code, answer = in_child(write_little, 2000, *roots, WHOLE, NEW)
    assert (code, answer.count("File too large")) == (0, 3)
    assert "kept nowhere" in answer
    assert _file(roots).read_bytes() == before
    assert [path for root in roots for path in Path(root).rglob("*") if path.is_file()] == [_file(roots)]


def test_a_folder_that_is_read_only_sends_rows_to_the_second_root(roots: tuple[str, str]) -> None:
    """Without the right to write, neither Parquet nor fallback can be there; the old file is hidden, not touched."""
    before = _file(roots).read_bytes()
    for folder in (_file(roots).parent, *_file(roots).parents[1:4]):
        folder.chmod(0o555)
    code, answer = in_child(write_as_nobody, *roots, WHOLE, NEW)
    for folder in (_file(roots).parent, *_file(roots).parents[1:4]):
        folder.chmod(0o755)
    assert (code, answer) == (0, str(Path(roots[1]) / "candles" / BTC.path / "2024-02.jsonl"))
    assert _file(roots).read_bytes() == before
    archive = _archive(roots)
    assert archive.read(BTC, WHOLE).equals(NEW)
    archive.convert(archive.fallbacks()[0])
    assert (archive.read(BTC, WHOLE).equals(NEW), archive.fallbacks()) == (True, [])


@pytest.mark.parametrize("death", [death for death in DEATHS if "fallback" not in death])
def test_a_write_that_dies_leaves_the_old_or_the_new(death: str, roots: tuple[str, str]) -> None:
    """Killed anywhere, the file is one or the other, whole; what else lies there is known; a rerun ends it."""
    assert in_child(write_and_die, death, *roots, WHOLE, NEW) == (-signal.SIGKILL, "")
    archive = _archive(roots)
    assert archive.read(BTC, WHOLE).equals(NEW if death == "after the file is replaced" else OLD)
    assert {one.what for one in archive.leftovers()} <= {"a write that was cut off"}
    assert archive.write(BTC, WHOLE, NEW).fallbacks == []
    assert archive.read(BTC, WHOLE).equals(NEW)


@pytest.mark.parametrize("death", DEATHS)
def test_a_conversion_that_dies_has_the_rows_in_one_place_at_least(
    death: str, roots: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed anywhere between reading the fallback and its removal, the rows are read; a second one ends it."""
    archive = _archive(roots)
    with monkeypatch.context() as patch:
        patch.setattr("etl.archive.place.to_parquet", _refuse_to_encode)
        (fallback,) = archive.write(BTC, WHOLE, NEW).fallbacks
    assert in_child(convert_and_die, death, *roots) == (-signal.SIGKILL, "")
    assert archive.read(BTC, WHOLE).equals(NEW)
    assert _file(roots).exists() or Path(fallback).exists()
    assert in_child(convert, *roots) == (0, "")
    assert archive.read(BTC, WHOLE).equals(NEW)
    assert archive.fallbacks() == []


def _refuse_to_encode(*_: object) -> None:
    raise pa.ArrowNotImplementedError("this column cannot be written")


def test_what_the_library_refuses_to_encode_is_kept_as_json(
    roots: tuple[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error inside the library is no loss either; with the library mended the rows become Parquet."""
    archive = _archive(roots)
    with monkeypatch.context() as patch:
        patch.setattr("etl.archive.place.to_parquet", _refuse_to_encode)
        (fallback,) = archive.write(BTC, WHOLE, NEW).fallbacks
        assert "this column cannot be written" in caplog.text
        with pytest.raises(StoreError, match="this column cannot be written"):
            archive.convert(archive.fallbacks()[0])
    assert fallback == str(_file(roots).with_suffix(".jsonl"))
    assert archive.read(BTC, WHOLE).equals(NEW)
    assert archive.write(BTC, WHOLE, NEW).fallbacks == []
    assert (archive.fallbacks(), archive.read(BTC, WHOLE).equals(NEW)) == ([], True)


def test_four_hundred_flipped_bits_are_found_or_harmless(roots: tuple[str, str]) -> None:
    """Whichever bit rots, what is read is what was written, or an error that names the file; so is what it covers."""
    archive = _archive(roots)
    whole = _file(roots).read_bytes()
    covered = archive.covered(BTC, WHOLE)
    random = np.random.default_rng(400)
    found = 0
    for place, bit in zip(random.integers(0, len(whole), 400), random.integers(0, 8, 400), strict=True):
        spoilt = bytearray(whole)
        spoilt[place] ^= 1 << int(bit)
        _file(roots).write_bytes(bytes(spoilt))
        try:
            assert archive.covered(BTC, WHOLE) == covered
            assert archive.read(BTC, WHOLE).equals(OLD)
        except (StoreError, SchemaMismatchError) as error:
            assert str(_file(roots)) in error.message
            found += 1
    assert found > 200


@pytest.mark.parametrize("size", [0, 3, 100, 0.5, 0.99, -1])
def test_a_truncated_file_is_refused(size: float, roots: tuple[str, str]) -> None:
    """Wherever it ends too early: nothing of it is served, and a write does not pretend that it was empty."""
    archive, file = _archive(roots), _file(roots)
    length = file.stat().st_size
    os.truncate(file, int(size * length) if 0 < size < 1 else int(size) % length)
    with pytest.raises(StoreError, match="cannot be trusted"):
        archive.read(BTC, WHOLE)
    later = TimeRange(WHOLE.end, from_ms(WHOLE.end_ms + 60_000))
    with pytest.raises(StoreError, match="cannot be trusted"):
        archive.write(BTC, later, candles_over(later))
