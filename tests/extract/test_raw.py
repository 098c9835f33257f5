"""Pages of a fetch that several loads put away at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from etl.extract import Page, Route
from etl.extract.raw import PageKey, RawStore
from etl.series import TimeRange
from tests.conftest import BTC
from tests.markets import START

HOUR = timedelta(hours=1)


def test_loads_of_one_series_put_their_pages_away_side_by_side(tmp_path: Path) -> None:
    """Each ends by removing the place that all share, while another is about to use it."""
    store = RawStore(tmp_path)

    def put_away(number: int) -> Path:
        span = TimeRange(START + number * HOUR, START + (number + 1) * HOUR)
        partition = store.partition(BTC, span)
        partition.write_page(Page(BTC, span, span.end_ms, "[]", Route.CANDLES))
        partition.fold_rest()
        return partition.folder

    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(put_away, range(400)))
    assert not any(folder.exists() for folder in folders)
    assert len(list((folders[0].parent / "folded").iterdir())) == len(folders)


def test_a_page_is_kept_though_its_folder_is_removed_as_empty_before_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nightly maintenance removes the empty folders of a series in the moment in which a fetch of it begins."""
    span = TimeRange(START, START + HOUR)
    partition, page = RawStore(tmp_path).partition(BTC, span), Page(BTC, span, span.end_ms, "[]", Route.CANDLES)
    make, removals = Path.mkdir, [partition.folder]

    def make_in_vain(path: Path, *arguments: Any, **options: Any) -> None:
        make(path, *arguments, **options)
        if path in removals:
            removals.remove(path)
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", make_in_vain)
    partition.write_page(page)
    assert not removals
    assert partition.read_page(PageKey(span, Route.CANDLES)) == page
