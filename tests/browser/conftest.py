"""One stack and one browser for all tests of the browser, and the pages of those who are logged in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import stage as stages
from tests.browser.airflow_ui import log_in
from tests.browser.chromium import opened_chromium
from tests.browser.watched import Watched, watched_page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser; the tests are skipped where there is none."""
    with opened_chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def stage(browser: Browser) -> Iterator[stages.Stage]:
    """A stack that is up, with two days in it. After the browser: without one nothing is started."""
    with stages.raised_stage() as raised:
        yield raised


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
