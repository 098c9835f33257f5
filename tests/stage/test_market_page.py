"""A user's story in a browser: what they see, click, and what comes of it. Each test goes on where the last ended."""

from __future__ import annotations

import re
from datetime import timedelta
from itertools import product

from playwright.sync_api import Browser, Page, expect

from tests.stage.airflow_ui import (
    RUN_MS,
    choose_appearance,
    clear_what_is_shown,
    log_in,
    open_backfill,
    rows_of_runs,
    state_of,
)
from tests.stage.chromium import take_picture
from tests.stage.crash import write_crash
from tests.stage.market_ui import (
    AFTER_A_FRAME,
    VIEWS,
    expect_no_overflow,
    in_frame,
    nameless,
    number,
    open_chart,
    open_day,
    open_incident_at,
    open_market,
    open_view,
    point_at,
    press_until_there,
)
from tests.stage.phone import NOTE_CUT_LABELS, addresses, not_fitting, write_model
from tests.stage.stage import BTC, ETH, MAJORS, OTHERS, SOL, XRP, Stage
from tests.stage.watched import Watched, watched_page


def test_somebody_logs_in_and_finds_the_page(admin: Page, stage: Stage) -> None:
    """Airflow asks who it is, and has an entry Market in its navigation."""
    admin.goto(stage.url)
    expect(admin.get_by_label("Username")).to_be_visible()
    take_picture(admin, "login")
    log_in(admin, stage.url, "admin", stage.passwords["admin"])
    expect(admin.get_by_test_id("nav-sidebar").get_by_role("link", name="Market")).to_be_visible()


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
    # What follows fails at once for having nothing to work on, and is labelled too.
    failed = admin.get_by_role("row").filter(has_text="partition.fetch").filter(has_text=str(XRP))
    expect(failed).to_contain_text("Failed")
    failed.scroll_into_view_if_needed()
    take_picture(admin, "red-task")
    failed.get_by_role("link", name=str(XRP)).click()

    task = f"partition.fetch [{XRP}]"
    expect(state_of(admin, task)).to_have_text("Failed")
    log = admin.get_by_test_id("virtualized-list")
    expect(log.get_by_test_id("summary-AirflowFailException")).to_have_text(
        re.compile(f"AirflowFailException: {XRP} .* the exchange may not serve the place that this machine calls from")
    )
    expect(log.get_by_test_id("summary-SourceError")).to_have_count(0)  # it would stand where one looks first
    wrap_log(admin)
    take_picture(admin, "task-log")

    dialog = clear_what_is_shown(admin)
    expect(dialog.get_by_text("Affected Tasks: 5")).to_be_visible()
    take_picture(admin, "clear-task")
    dialog.get_by_role("button", name="Confirm").click()
    expect(state_of(admin, task)).to_have_text("Success", timeout=RUN_MS)
    admin.get_by_role("link", name=run).click()
    expect(state_of(admin, run)).to_have_text("Success", timeout=RUN_MS)
    # The list of series, three tasks for each of two, then two for all.
    rows = admin.get_by_role("row")
    expect(rows.filter(has_text=str(XRP)).filter(has_text="Success")).to_have_count(3, timeout=RUN_MS)
    expect(rows.filter(has_text="Success")).to_have_count(9, timeout=RUN_MS)
    take_picture(admin, "green-task")


def test_a_day_with_a_hole_is_seen_understood_and_filled(admin: Page, stage: Stage) -> None:
    """The heat map shows it, a click says what is absent and why, another fetches it again, and it is whole."""
    market, day = open_market(admin), stage.days.holed
    market.get_by_role("button", name="30 days").click()
    take_picture(admin, "market-coverage")
    expect(point_at(market, BTC, day)).to_contain_text("144 halted")
    expect(market.locator(".legend [data-kind=halted]")).to_be_visible()

    open_day(market, BTC, day)
    for name, count in (("expected", "1,440"), ("stored", "1,296"), ("absent", "144")):
        expect(number(market, name)).to_have_text(count)
    expect(market.locator("#absences tbody tr")).to_have_count(2)
    expect(market.locator("#absences tbody tr").first).to_contain_text(re.compile("halted.*100.*other"))
    expect(market.locator(".small-chart canvas").first).to_be_visible()
    take_picture(admin, "market-hole")

    market.get_by_role("button", name="Refetch this day").click()
    expect(market.locator("#refetch-says")).to_contain_text("fetch: ")
    expect(number(market, "stored")).to_have_text("1,440", timeout=RUN_MS)
    expect(market.locator("#absences")).to_contain_text("No candle is absent.")
    expect(market.locator("#refetch-says")).to_contain_text("144 candles came.")
    expect(market.get_by_role("button", name="Refetch this day")).to_be_focused()
    take_picture(admin, "market-filled")
    market.get_by_role("button", name="Refetch this day").click()
    told = "Nothing new came: the 1,440 candles of this day are as before."
    expect(market.locator("#refetch-says")).to_contain_text(told, timeout=RUN_MS)
    market.get_by_role("link", name="Coverage", exact=True).click()
    expect(market.locator(".legend [data-kind=stored]")).to_be_visible()
    expect(market.locator(".legend [data-kind=halted]")).to_have_count(0)
    expect(point_at(market, BTC, day)).to_contain_text("1,440 of 1,440 stored")


def test_a_day_that_nobody_has_loaded_is_backfilled_by_a_dag_that_was_off(admin: Page, stage: Stage) -> None:
    """Its page says that nothing is known, and why its button does nothing yet; two clicks later the day is whole."""
    day = stage.days.three[0]
    stage.stack.api.patch(f"/dags/{OTHERS}", {"is_paused": True})
    market = open_market(admin)
    market.get_by_role("button", name="30 days").click()
    expect(point_at(market, SOL, day)).to_contain_text("nothing is known of it")
    open_day(market, SOL, day)
    expect(market.get_by_text("Nothing is known of this day")).to_be_visible()
    market.get_by_role("button", name="Backfill this day").click()
    expect(market.locator("#refetch-says")).to_contain_text(f"The DAG {OTHERS} is switched off")
    market.get_by_role("button", name=f"Switch {OTHERS} on").click()
    expect(number(market, "stored")).to_have_text("1,440", timeout=RUN_MS)
    assert stage.stack.api.get(f"/dags/{OTHERS}")["is_paused"] is False


def test_a_click_far_back_opens_the_day_under_the_mouse(admin: Page, stage: Stage) -> None:
    """The cell at which the keyboard would begin stays out of sight: nothing moves between pressing and letting go."""
    market, day = in_frame(admin), stage.days.red - timedelta(days=700)
    open_view(market, "Coverage")
    market.get_by_role("button", name="1 year").click()
    open_day(market, BTC, day)
    expect(market.locator(".heading p")).to_have_text(f"{day:%a, %-d %b %Y}")


def test_tabs_lead_from_airflow_to_the_series_and_the_day_and_back(admin: Page, stage: Stage) -> None:
    """The tab of a DAG has its series and no others; that of a task has the day that it loaded, which leads back."""
    admin.goto(f"{stage.url}/dags/{OTHERS}")
    admin.locator("a[href$=market-dag]").click()
    market = in_frame(admin)
    expect(market.get_by_role("heading", level=1)).to_have_text(f"Coverage of {OTHERS}")
    expect(market.locator("#map a[data-series]")).to_have_text(["SOL/USDT1m", "XRP/USDT1m"])

    admin.get_by_role("link", name="Runs", exact=True).click()
    rows_of_runs(admin, "scheduled", "Success").get_by_role("link").first.click()
    load = admin.get_by_role("row").filter(has_text="partition.load").filter(has_text=str(XRP))
    load.get_by_role("link", name=str(XRP)).click()
    task = state_of(admin, f"partition.load [{XRP}]")
    expect(task).to_have_text("Success")
    admin.locator("a[href$=market-task]").click()
    expect(market.get_by_role("heading", level=1)).to_have_text(str(XRP))
    expect(market.locator(".heading p")).to_have_text(f"{stage.days.red:%a, %-d %b %Y}")
    expect(number(market, "stored")).to_have_text("1,440")
    market.locator("#loads").get_by_role("link").first.click()
    expect(admin.get_by_test_id("virtualized-list")).to_contain_text("1,440 candles held")
    expect(task).to_have_text("Success")


def test_a_crash_is_seen_on_the_chart_and_acknowledged(admin: Page, stage: Stage) -> None:
    """An incident leads to the chart around it, its mark on the chart to its story; who has seen it says so."""
    incident = write_crash(stage)
    admin.goto(f"{stage.url}/plugin/market")
    market = in_frame(admin)
    market.get_by_role("link", name="Incidents", exact=True).click()
    row = market.locator(f"#incidents tr[data-incident='{incident}']")
    expect(row).to_contain_text("crash")
    row.get_by_title("Chart around it").click()
    expect(market.locator("#chart")).to_have_attribute("data-width", "1m")
    told = f"critical crash at {stage.days.peak:%Y-%m-%d %H:%M}"
    expect(market.locator("#chart-says")).to_contain_text(told)
    take_picture(admin, "market-series")
    admin.reload()
    expect(market.locator("#chart-says")).to_contain_text(told)

    open_incident_at(admin, market, stage.days.peak, f"Incident {incident}: {BTC}")
    take_picture(admin, "market-incident")

    note = market.get_by_label("Note")
    press_until_there(market.get_by_role("button", name="Acknowledge"), note)
    note.fill("seen on other exchanges too")
    market.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(market.get_by_role("button", name="Acknowledge")).to_have_count(0)
    expect(market.locator("body")).to_contain_text("seen on other exchanges too")
    market.get_by_role("link", name="All incidents").click()
    expect(row).to_contain_text("acknowledged")
    expect(row).to_contain_text("seen on other exchanges too")


def test_a_viewer_looks_and_cannot_act(viewer: Page, stage: Stage) -> None:
    """They see all, have no button that acts and are told why; what they send nevertheless is refused."""
    market = open_market(viewer)
    open_day(market, BTC, stage.days.holed)
    expect(number(market, "expected")).to_have_text("1,440")
    expect(market.get_by_text("Your role may look, not act")).to_be_visible()
    expect(market.get_by_role("button", name=re.compile("Refetch|Backfill"))).to_have_count(0)
    take_picture(viewer, "market-viewer")
    market.get_by_role("link", name="Incidents", exact=True).click()
    expect(market.locator("#incidents tr[data-incident]")).to_have_count(1)
    expect(market.get_by_role("button", name=re.compile("Acknowledge|alarm"))).to_have_count(0)

    day = stage.days.holed.isoformat()
    backfill = {"dag_id": MAJORS, "from_date": day, "to_date": day, "max_active_runs": 1}
    for path, body in (
        ("/chandler/api/incidents/1/acknowledge", {"note": ""}),
        ("/chandler/api/incidents/1/judge", {"is_false": True}),
        ("/api/v2/backfills", backfill),
    ):
        answer = viewer.request.post(stage.url + path, data=body, headers={"X-Chandler": "1"})
        assert answer.status == 403, (path, answer.text())


def test_what_cannot_be_meant_is_told_in_words(browser: Browser, stage: Stage) -> None:
    """An address that somebody has mistyped is not answered as another one."""
    addresses = (
        ("?dag=nope", "DAG 'nope' loads no series"),
        ("#incidents?offset=99999", "offset=99999 is beyond the last of "),
        ("#incidents?offset=x", 'offset: "x" is no whole number'),
        (f"#series/{BTC}?as_of=garbage", 'as_of: "garbage" is no moment'),
        ("#coverage?kind=nope", 'kind: "nope" is none of stored'),
    )
    with watched_page(browser, Watched()) as page:
        log_in(page, stage.url, "viewer", stage.passwords["viewer"])
        for search, words in addresses:
            page.goto("about:blank")
            page.goto(f"{stage.url}/chandler/market{search}")
            expect(page.locator("main .note")).to_contain_text(words)
            expect(page.locator("main .note a, main .note button").first).to_be_visible()
        page.goto(f"{stage.url}/chandler/market#incidents?offset=99999")
        page.get_by_role("link", name="Leave it out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Incidents")


def test_a_session_that_has_ended_is_told_as_such(browser: Browser, stage: Stage) -> None:
    """Also where a module of the page is what is refused first; after the login one is where one was."""
    with watched_page(browser, Watched()) as page:
        log_in(page, stage.url, "viewer", stage.passwords["viewer"])
        page.goto(f"{stage.url}/chandler/market")
        expect(page.locator("#map canvas").first).to_be_visible()
        page.context.clear_cookies()
        for view in ("Models", "Coverage"):
            page.get_by_role("link", name=view, exact=True).click()
            expect(page.locator("main .note")).to_contain_text("Your session has ended")
        page.goto(f"{stage.url}/chandler/incident?id=1")
        expect(page.get_by_role("heading", level=1)).to_have_text("Your session has ended")
        page.get_by_role("link", name="Log in").click()
        expect(page.get_by_label("Username")).to_be_visible()


def test_strangers_are_let_in_nowhere(browser: Browser, stage: Stage) -> None:
    """Whoever is not logged in gets 401 at each address of the page."""
    context = browser.new_context()
    paths = ["market", "static/market.js", "metrics", "quality", "incident?id=1", "incidents", "models/report?model=1"]
    paths += [f"api/{name}" for name in ("me", "series", "coverage", "day", "candles", "marks", "incidents", "models")]
    got = {path: context.request.get(f"{stage.url}/chandler/{path}").status for path in [*paths, "api/exchanges"]}
    assert got == dict.fromkeys(got, 401)
    answer = context.request.post(f"{stage.url}/chandler/api/incidents/1/acknowledge", data={"note": ""})
    assert answer.status == 401
    context.close()


def test_the_page_is_dark_where_airflow_is(admin: Page, stage: Stage) -> None:
    """Airflow's switch is the page's: no reload in between."""
    admin.goto(f"{stage.url}/plugin/market")
    market = in_frame(admin)
    ground = market.locator("body")
    for name, theme in (("Dark Mode", "dark"), ("Light Mode", "light")):
        choose_appearance(admin, name)
        expect(market.locator("html")).to_have_attribute("data-theme", theme)
        red, *_ = map(int, re.findall(r"\d+", ground.evaluate("(body) => getComputedStyle(body).backgroundColor")))
        assert (red < 64) is (theme == "dark")
        if theme == "dark":
            take_picture(admin, "market-dark")


def test_the_page_is_of_use_without_a_mouse(admin: Page, stage: Stage) -> None:
    """Arrow keys go over the heat map, which says where one is; Enter opens the day. What can be used has a name."""
    admin.goto(f"{stage.url}/plugin/market")
    market = in_frame(admin)
    market.locator("#map").focus()
    says = market.locator("#map-says")
    expect(says).to_contain_text(str(BTC))
    admin.keyboard.press("ArrowDown")
    admin.keyboard.press("ArrowLeft")
    expect(says).to_have_text(f"{ETH}, {stage.days.red:%a, %-d %b %Y}, 1,440 of 1,440 stored")
    admin.keyboard.press("Enter")
    expect(market.get_by_role("heading", level=1)).to_have_text(str(ETH))
    assert nameless(market) == []
    for name in VIEWS:
        open_view(market, name)
        assert nameless(market) == [], name
    open_chart(market, BTC)
    assert nameless(market) == []


def test_the_focus_is_never_lost(admin: Page) -> None:
    """An element that is chosen keeps it, a dialog gives it back, and the content has it if its place is gone."""
    market = in_frame(admin)
    open_view(market, "Coverage")
    stored = market.locator(".legend [data-kind=stored]")
    stored.press("Enter")
    expect(stored).to_have_attribute("aria-pressed", "true")
    expect(stored).to_be_focused()
    market.locator("#map").press("Enter")
    expect(market.locator("main[data-view=day]")).to_be_focused()
    open_view(market, "Incidents")
    judged = market.get_by_role("button", name="False alarm")
    judged.press("Enter")
    expect(market.get_by_role("dialog")).to_be_visible()
    assert nameless(market) == []
    admin.keyboard.press("Escape")
    expect(judged).to_be_focused()


def test_the_page_is_of_use_on_a_phone(browser: Browser, admin: Page, stage: Stage, watched: Watched) -> None:
    """Nothing of it lies outside of a narrow screen, and a tap on a day opens it."""
    with watched_page(browser, watched, is_phone=True) as phone:
        log_in(phone, stage.url, "admin", stage.passwords["admin"])
        phone.goto(f"{stage.url}/plugin/market")
        market = in_frame(phone)
        expect(market.locator("#map canvas").first).to_be_visible()
        take_picture(phone, "market-phone")
        open_day(market, BTC, stage.days.holed, is_tapped=True)
        expect(number(market, "stored")).to_be_visible()
        expect_no_overflow(market)
        for name in VIEWS:
            open_view(market, name)
            expect_no_overflow(market)
        open_chart(market, BTC)
        expect_no_overflow(market)


def test_every_page_fits_a_phone(browser: Browser, stage: Stage) -> None:
    """No page scrolls sideways, no tab is outside, no line breaks within a figure, no edge cuts a label of a chart.

    Neither on the whole screen, nor beside Airflow's navigation.
    """
    model = write_model(stage)
    with watched_page(browser, Watched(), is_phone=True) as phone:
        phone.add_init_script(NOTE_CUT_LABELS)
        log_in(phone, stage.url, "admin", stage.passwords["admin"])
        for address, width in product(addresses(stage, 1, model), (390, 326)):
            phone.set_viewport_size({"width": width, "height": 844})
            phone.goto("about:blank")
            phone.goto(f"{stage.url}/chandler/{address}")
            phone.wait_for_load_state("networkidle")
            expect(phone.locator("main[aria-busy]")).to_have_count(0)
            expect(phone.get_by_role("heading", level=1)).to_be_visible()
            for chart in phone.locator("#chart[data-width], #map").all():
                for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
                    chart.press(key)
                    chart.evaluate(AFTER_A_FRAME)
            assert not_fitting(phone) == [], (address, width)


def test_the_page_asks_nobody_else_and_complains_of_nothing(admin: Page, stage: Stage, watched: Watched) -> None:
    """In all that went before there was no request to another host, and no error on the browser's console."""
    assert any("/chandler/api/candles" in url for url in watched.asked)
    assert [url for url in watched.asked if not url.startswith((stage.url + "/", "data:", "blob:"))] == []
    assert watched.complaints == []


def wrap_log(page: Page) -> None:
    """Make the log readable for a picture: long lines folded, without the stack of the error."""
    page.get_by_role("button", name="Log Settings").click()
    page.get_by_role("menuitem", name="Wrap").click()
    page.get_by_test_id("summary-AirflowFailException").click()
