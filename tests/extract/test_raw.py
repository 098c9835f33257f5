"""Pages of a fetch that several loads put away at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

from etl.extract import Page, Route
from etl.extract.raw import RawStore
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
