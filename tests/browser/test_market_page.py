"""A user's story in a browser: what they see, click, and what comes of it. Each test goes on where the last ended."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.airflow_ui import RUN_MS, clear_what_is_shown, log_in, open_backfill, rows_of_runs, state_of
from tests.browser.chromium import take_picture
from tests.browser.market_ui import number, open_day, open_market, point_at
from tests.browser.stage import BTC, MAJORS, OTHERS, XRP, Stage


def test_somebody_logs_in_and_finds_the_page(admin: Page, stage: Stage) -> None:
    """Airflow asks who it is, and has an entry Market in its navigation."""
    admin.goto(stage.url)
    expect(admin.get_by_label("Username")).to_be_visible()
    take_picture(admin, "login")
    log_in(admin, stage.url, "admin", stage.passwords["admin"])
    expect(admin.get_by_role("link", name="Market")).to_be_visible()


def test_three_days_are_backfilled_from_the_dialog(admin: Page, stage: Stage) -> None:
    """The dialog says that it makes three runs, and they turn green under the user's eyes."""
    admin.goto(f"{stage.url}/dags/{MAJORS}")
    dialog = open_backfill(admin, stage.days.three[0], stage.days.three[-1])
    expect(dialog.get_by_text("3 runs will be triggered.")).to_be_visible()
    dialog.get_by_role("spinbutton").fill("3")
    take_picture(admin, "backfill-dialog")
    dialog.get_by_role("button", name="Run Backfill").click()
    expect(admin.get_by_text("Backfill in progress")).to_be_visible()
    admin.get_by_role("link", name="Runs", exact=True).click()
    expect(rows_of_runs(admin, "backfill", "Success")).to_have_count(3, timeout=RUN_MS)
    take_picture(admin, "backfill-done")


def test_a_red_task_says_why_and_turns_green_when_it_is_cleared(admin: Page, stage: Stage) -> None:
    """One series is red; its log says what happened and what to do; cleared with what follows it is green."""
    admin.goto(f"{stage.url}/dags/{OTHERS}/runs")
    red = rows_of_runs(admin, "scheduled", "Failed")
    run = red.get_by_role("link").first.inner_text()
    red.get_by_role("link").first.click()
    failed = admin.get_by_role("row").filter(has_text=str(XRP)).filter(has_text="Failed")
    failed.scroll_into_view_if_needed()
    take_picture(admin, "red-task")
    failed.get_by_role("link", name=str(XRP)).click()

    task = f"partition.fetch [{XRP}]"
    expect(state_of(admin, task)).to_have_text("Failed")
    log = admin.get_by_test_id("virtualized-list")
    expect(log.get_by_test_id("summary-AirflowFailException")).to_have_text(
        re.compile(f"AirflowFailException: {XRP} .* the answer is no JSON .*; run it again, and look at the exchange's")
    )
    show_log_from_its_start(admin)
    take_picture(admin, "task-log")

    dialog = clear_what_is_shown(admin)
    expect(dialog.get_by_text("Affected Tasks: 5")).to_be_visible()
    take_picture(admin, "clear-task")
    dialog.get_by_role("button", name="Confirm").click()
    expect(state_of(admin, task)).to_have_text("Success", timeout=RUN_MS)
    admin.get_by_role("link", name=run).click()
    expect(state_of(admin, run)).to_have_text("Success", timeout=RUN_MS)
    # Three tasks for each of two series, then two for all.
    rows = admin.get_by_role("row")
    expect(rows.filter(has_text=str(XRP)).filter(has_text="Success")).to_have_count(3, timeout=RUN_MS)
    expect(rows.filter(has_text="Success")).to_have_count(8, timeout=RUN_MS)
    take_picture(admin, "green-task")


def test_a_day_with_a_hole_is_seen_understood_and_filled(admin: Page, stage: Stage) -> None:
    """The heat map shows it, a click says what is absent and why, another fetches it again, and it is whole."""
    market, day = open_market(admin), stage.days.holed
    take_picture(admin, "market-coverage")
    expect(point_at(market, BTC, day)).to_contain_text("144 halted")
    expect(market.locator(".legend [data-kind=halted]")).to_be_visible()

    open_day(market, BTC, day)
    for name, count in (("expected", "1,440"), ("stored", "1,296"), ("absent", "144")):
        expect(number(market, name)).to_have_text(count)
    expect(market.locator("#absences tbody tr")).to_have_count(2)
    expect(market.locator("#absences tbody tr").first).to_contain_text(re.compile("halted.*100.*other"))
    take_picture(admin, "market-hole")

    market.get_by_role("button", name="Refetch this day").click()
    expect(market.locator("#refetch-says")).to_contain_text("fetch: ")
    expect(number(market, "stored")).to_have_text("1,440", timeout=RUN_MS)
    expect(market.locator("#absences")).to_contain_text("No candle is absent.")
    take_picture(admin, "market-filled")
    market.get_by_role("link", name="Coverage", exact=True).click()
    expect(market.locator(".legend [data-kind=stored]")).to_be_visible()
    expect(market.locator(".legend [data-kind=halted]")).to_have_count(0)
    expect(point_at(market, BTC, day)).to_contain_text("1,440 of 1,440 stored")


def show_log_from_its_start(page: Page) -> None:
    """Make the log readable for a picture: from its first line, long lines folded, without the stack of each error."""
    page.get_by_role("button", name="scroll to top").click()
    page.get_by_role("button", name="Log Settings").click()
    page.get_by_role("menuitem", name="Wrap").click()
    for name in ("AirflowFailException", "MalformedPayloadError", "JSONDecodeError"):
        page.get_by_test_id(f"summary-{name}").click()
