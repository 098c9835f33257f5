"""Actions of a user in Airflow's own UI: finds things by the words on them, and clicks."""

from __future__ import annotations

import re
from datetime import datetime

from playwright.sync_api import Locator, Page, expect

from tests.patience import PATIENCE_S

RUN_MS = PATIENCE_S * 1_000
"""How long a run may take until the UI shows its end."""

_DIALOG = "[role=dialog][aria-modal=true][data-state=open]"
_CALENDAR = "[role=dialog][data-scope=popover][data-state=open]"


def log_in(page: Page, url: str, user: str, password: str) -> None:
    """Log in from the page that strangers are led to, and arrive at the home page."""
    page.goto(url)
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Dags", exact=True).first).to_be_visible()


def choose_appearance(page: Page, name: str) -> None:
    """Switch to `Dark Mode` or `Light Mode` in the user's menu."""
    page.get_by_role("button", name="User").click()
    page.get_by_role("menuitem", name="Appearance").click()
    page.get_by_role("menuitemradio", name=name).click()


def open_backfill(page: Page, first: datetime, last: datetime) -> Locator:
    """On the page of a DAG, open the dialog for a backfill and fill in the days, both included; return the dialog."""
    page.get_by_role("button", name="Trigger Dag").click()
    dialog = page.locator(_DIALOG)
    dialog.get_by_text("Backfill", exact=True).click()
    for number, moment in enumerate((first, last)):
        dialog.get_by_test_id("datetime-input").nth(number).click()
        calendar = page.locator(_CALENDAR)
        calendar.get_by_placeholder("YYYY/MM/DD").fill(f"{moment:%Y/%m/%d}")
        calendar.get_by_placeholder("HH:mm").fill(f"{moment:%H:%M}")
        dialog.get_by_role("heading", name="Run Backfill").click()
        expect(calendar).to_have_count(0)
    return dialog


def clear_what_is_shown(page: Page) -> Locator:
    """On the page of a task instance, open the dialog that clears it with what follows; return the dialog."""
    page.get_by_role("button", name="Press shift+c to clear").click()
    dialog = page.locator(_DIALOG)
    expect(dialog.get_by_text(re.compile("Affected Tasks: [1-9]"))).to_be_visible()
    return dialog


def state_of(page: Page, title: str) -> Locator:
    """Return the badge beside the title of a run's or a task instance's page."""
    heading = page.get_by_role("heading", name=title, exact=True)
    return heading.locator("xpath=..").get_by_test_id("state-badge")


def rows_of_runs(page: Page, kind: str, state: str) -> Locator:
    """Return the rows of a list of runs that are of a kind, such as `backfill`, and in a state, such as `Success`."""
    return page.get_by_role("row").filter(has_text=f"{kind}__").filter(has_text=state)
