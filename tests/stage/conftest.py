"""One stack for all tests here; one browser for those that want one, and the pages of those who are logged in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.stage import stage as stages
from tests.stage.airflow_ui import log_in
from tests.stage.chromium import find_chromium, opened_chromium
from tests.stage.watched import Watched, watched_page


@pytest.fixture(scope="package")
def stage(recording: Path) -> Iterator[stages.Stage]:
    """A stack that is up, with two days in it."""
    with stages.raised_stage(recording) as raised:
        yield raised


@pytest.fixture(scope="module")
def chromium() -> str:
    """The program; the tests are skipped where there is none."""
    return find_chromium()


@pytest.fixture(scope="module")
def browser(chromium: str, stage: stages.Stage) -> Iterator[Browser]:
    """A browser. It goes before the stack does: Playwright has an event loop that suffers no other beside it."""
    with opened_chromium(chromium) as opened:
        yield opened


@pytest.fixture(scope="module")
def watched() -> Watched:
    """Return the requests and complaints of all pages."""
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
