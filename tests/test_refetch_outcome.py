"""A refetch on the market page: it runs, whatever Airflow does meanwhile, and ends with what has become of the day."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route

from tests.conftest import REPOSITORY
from tests.stage.chromium import find_chromium, opened_chromium

STATIC = REPOSITORY / "plugins" / "chandler_airflow" / "market" / "static"
OUTCOME = STATIC / "outcome.js"
SITE = "http://airflow.example"
SERIES, DAY, RUN = "binance:BTC/USDT:1m", "2026-11-01", "manual__2026-11-01"
_REFETCH = """async ([series, day]) => {
    const { planRefetch, refetch } = await import("/static/refetch.js");
    const plan = planRefetch([{ dag_id: "ingest_majors", start: day }], day);
    let last;
    const isLoaded = await refetch(plan, series, day, (told) => { last = told; }, new AbortController().signal);
    return [isLoaded, last.text];
}"""
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


class Airflow:
    """Airflow's API with one run of one series, which ends the run without its cleared tasks the first few times."""

    def __init__(self, forgets: int) -> None:
        self.forgets, self.cleared = forgets, 0

    def answer(self, route: Route) -> None:
        """Answer a request, for a file of the page or to Airflow."""
        path = route.request.url.removeprefix(SITE).partition("?")[0]
        if path.startswith("/static/"):
            route.fulfill(path=STATIC / path.removeprefix("/static/"), content_type="text/javascript")
        elif path == "/":
            route.fulfill(body="<!doctype html>", content_type="text/html")
        else:
            route.fulfill(body=json.dumps(self._say(path)), content_type="application/json")

    def _say(self, path: str) -> object:
        if path.endswith("/clearTaskInstances"):
            self.cleared += 1
            return {}
        if path.endswith("/dagRuns"):
            span = {"data_interval_start": f"{DAY}T00:00:00Z", "data_interval_end": "2026-11-02T00:00:00Z"}
            return {"dag_runs": [{"dag_run_id": RUN, "state": "success", **span}]}
        if path.endswith(f"/dagRuns/{RUN}"):
            return {"state": "success"}
        if path.endswith("/taskInstances"):
            state = "success" if self.cleared > self.forgets else None
            of = {"dag_run_id": RUN, "map_index": 0, "rendered_map_index": SERIES, "state": state}
            tasks = [{**of, "task_id": f"partition.{step}"} for step in ("fetch", "clean", "load")]
            return {"task_instances": [*tasks, {**of, "task_id": "account", "map_index": -1}]}
        return {"is_paused": False}


@pytest.mark.parametrize(("forgets", "cleared", "is_loaded"), [(0, 1, True), (2, 3, True), (99, 3, False)])
def test_a_run_that_ends_as_it_is_cleared_is_cleared_again(
    page: Page, forgets: int, cleared: int, is_loaded: bool
) -> None:
    """A few times; then it is told what to do."""
    airflow = Airflow(forgets)
    page.route("**/*", airflow.answer)
    page.goto(SITE)
    loaded, told = page.evaluate(_REFETCH, [SERIES, DAY])
    page.unroute_all()
    assert (loaded, airflow.cleared) == (is_loaded, cleared)
    assert ("ended without loading" in told) is not is_loaded
