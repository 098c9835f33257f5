"""A refetch on the market page ends with what has become of the day, by its account before and after."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.conftest import REPOSITORY
from tests.stage.chromium import find_chromium, opened_chromium

OUTCOME = REPOSITORY / "plugins" / "chandler_airflow" / "market" / "static" / "outcome.js"
_ASK = """async ([source, pairs]) => {
    const { outcomeOf } = await import(`data:text/javascript;base64,${source}`);
    const account = ([stored, revisions, refused]) => ({ quality: { stored, revisions, refused } });
    return pairs.map(([before, after]) => outcomeOf(account(before), account(after)));
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """An empty page in a browser."""
    with opened_chromium(find_chromium()) as browser:
        yield browser.new_page()


def test_what_came_is_told_by_the_counts_of_the_day(page: Page) -> None:
    """New, revised and refused are differences; where none is, nothing new came, however many are stored."""
    told = {
        "Nothing new came: the 24 candles of this day are as before.": ((24, 2, {"ohlc": 1}), (24, 2, {"ohlc": 1})),
        "Nothing new came: the 1 candle of this day is as before.": ((1, 0, {}), (1, 0, {})),
        "Nothing came: no candle of this day is stored.": ((0, 0, {}), (0, 0, {})),
        "1,440 candles came.": ((0, 0, {}), (1440, 0, {})),
        "1 candle came, 1 candle was revised.": ((23, 4, {}), (24, 5, {})),
        "3 candles came, 2 candles were revised, 1 row was refused.": (
            (20, 0, {"ohlc": 1, "shape": 1}),
            (23, 2, {"ohlc": 2, "shape": 1}),
        ),
        "2 rows were refused.": ((24, 0, {}), (24, 0, {"ohlc": 2})),
    }
    source = base64.b64encode(OUTCOME.read_bytes()).decode()
    assert page.evaluate(_ASK, [source, list(told.values())]) == list(told)
