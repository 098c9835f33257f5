"""One stack and one browser for all tests of the browser, and the pages of those who are logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import stage as stages
from tests.browser.airflow_ui import log_in
from tests.browser.chromium import find_chromium, opened_chromium
from tests.browser.watched import Watched, watched_page


@pytest.fixture(scope="module")
def chromium() -> str:
    """The program; the tests are skipped where there is none, before anything is started."""
    return find_chromium()


@pytest.fixture(scope="module")
def stage(chromium: str) -> Iterator[stages.Stage]:
    """A stack that is up, with two days in it."""
    with stages.raised_stage() as raised:
        yield raised


@pytest.fixture(scope="module")
def browser(chromium: str, stage: stages.Stage) -> Iterator[Browser]:
    """A browser. It goes before the stack does: Playwright has an event loop that suffers no other beside it."""
    with opened_chromium(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def watched() -> Watched:
    """What all pages have asked for and complained of."""
    return Watched()


@pytest.fixture(scope="module")
def admin(browser: Browser, stage: stages.Stage, watched: Watched) -> Iterator[Page]:
    """A page of somebody who may do everything; not logged in yet."""
    with watched_page(browser, watched) as page:
        yield page


@pytest.fixture(scope="module")
def viewer(browser: Browser, stage: stages.Stage, watched: Watched) -> Iterator[Page]:
    """A page of somebody who is logged in and may look."""
    with watched_page(browser, watched) as page:
        log_in(page, stage.url, "viewer", stage.passwords["viewer"])
        yield page
