"""The market page expects candles as wide as the server answers with, so that it asks again when that changes."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from etl.coarse import MOST_READ, _choose_width
from etl.series import TimeRange
from etl.timeframe import Timeframe, from_ms
from tests.conftest import REPOSITORY
from tests.stage.chromium import find_chromium, opened_chromium

GRID = REPOSITORY / "plugins" / "chandler_airflow" / "market" / "static" / "grid.js"
MOST = 1500
DAY_MS = Timeframe.D1.ms
_ASK = """async ([source, asked, most]) => {
    const { widthFor, secondsOf } = await import(`data:text/javascript;base64,${source}`);
    return asked.map(([width, end]) => widthFor({ start: 0, end }, secondsOf(width), most));
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page in a browser."""
    with opened_chromium(find_chromium()) as browser:
        yield browser.new_page()


def test_page_and_server_choose_the_same_width(page: Page) -> None:
    """For every timeframe and ranges of whole days, from one to a hundred years, on either side of every limit."""
    days = {1, 2, 3, 7, 30, 365, 3_650, 36_500}
    for timeframe in Timeframe:
        for limit_ms in (MOST_READ * timeframe.ms, *(MOST * width.ms for width in Timeframe)):
            days |= {max(limit_ms // DAY_MS + more, 1) for more in (-1, 0, 1)}
    asked = [(timeframe, count) for timeframe in Timeframe for count in sorted(days)]
    spans = [[timeframe.value, count * DAY_MS // 1000] for timeframe, count in asked]
    source = base64.b64encode(GRID.read_bytes()).decode()
    chosen = page.evaluate(_ASK, [source, spans, MOST])
    expected = [
        _choose_width(timeframe, TimeRange(from_ms(0), from_ms(count * DAY_MS)), MOST).ms // 1000
        for timeframe, count in asked
    ]
    wrong = [(one, seconds) for one, seconds, known in zip(asked, chosen, expected, strict=True) if seconds != known]
    assert wrong == []
