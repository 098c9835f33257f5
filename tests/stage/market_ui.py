"""Actions of a user on the market page, which Airflow shows in a frame."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from playwright.sync_api import FrameLocator, Locator, Page, expect

from etl.series import Series
from tests.patience import PATIENCE_S

_PLACE = """(map, [series, day]) => {
    const [cell, box] = [map.cellAt(series, day), map.getBoundingClientRect()];
    return { x: cell.x - box.left, y: cell.y - box.top };
}"""
AFTER_A_FRAME = """(place) => new Promise((done) =>
    requestAnimationFrame(() => requestAnimationFrame(() => done(place.textContent))))"""
_NAMELESS = """(body) => {
    const controls = "select, input, textarea";
    const without = (label) => {
        const copy = label.cloneNode(true);
        for (const control of copy.querySelectorAll(controls)) control.remove();
        return copy.textContent;
    };
    // What stands in a control is what was chosen or written, and names nothing.
    const own = (one) => (one.matches(controls) ? [...one.labels].map(without) : [one.textContent]);
    const texts = (one) => [one.ariaLabel, one.title, ...own(one)];
    const all = body.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']");
    return [...all].filter((one) => !texts(one).some((text) => text?.trim())).map((one) => one.outerHTML.slice(0, 200));
}"""
_INSIDE, _STEP = 10, 6
_LOOK_MS = 30_000

VIEWS = ("Coverage", "Series", "Incidents", "Models", "Exchanges")


def open_view(market: FrameLocator, name: str) -> None:
    """Choose one of VIEWS, and wait until it has loaded."""
    market.get_by_role("link", name=name, exact=True).click()
    expect(market.locator(f"main[data-view={name.lower()}]:not([aria-busy]) h1")).to_have_text(name)


def open_chart(market: FrameLocator, series: Series) -> None:
    """Choose a series from the list of all, and wait for its candles."""
    open_view(market, "Series")
    market.locator(f"main a[data-series='{series}']").click()
    expect(market.locator("#chart[data-width] canvas").first).to_be_visible()


def open_market(page: Page) -> FrameLocator:
    """Open the market page from Airflow's navigation; return what is in its frame once the heat map is there."""
    page.get_by_test_id("nav-sidebar").get_by_role("link", name="Market").click()
    market = in_frame(page)
    expect(market.locator("#map canvas").first).to_be_visible()
    return market


def in_frame(page: Page) -> FrameLocator:
    """Return what is in the frame that Airflow shows."""
    return page.locator("iframe").content_frame


def point_at(market: FrameLocator, series: Series, day: datetime) -> Locator:
    """Point at a cell of the heat map; return what then says what it holds."""
    market.locator("#map").hover(position=_place(market, series, day))
    return market.locator(".tip")


def open_day(market: FrameLocator, series: Series, day: datetime, *, is_tapped: bool = False) -> None:
    """Click or tap on a cell of the heat map, and wait for the page of that day."""
    shown = market.locator("#map")
    (shown.tap if is_tapped else shown.click)(position=_place(market, series, day))
    expect(market.get_by_role("heading", level=1)).to_have_text(str(series))


def number(market: FrameLocator, name: str) -> Locator:
    """Return a number of a day, such as `stored`."""
    return market.locator(f"[data-number={name}] dd").first


def click_at(page: Page, market: FrameLocator, moment: datetime) -> None:
    """Go over the chart of a series until what is told is the candle at `moment`, and click on all that is above it."""
    box = market.locator("#chart").bounding_box()
    assert box is not None
    left, right = box["x"], box["x"] + box["width"]
    while right - left > 1:
        middle = (left + right) / 2
        page.mouse.move(middle, box["y"] + _INSIDE)
        told = market.locator("#under-cursor").evaluate(AFTER_A_FRAME)
        left, right = (middle, right) if told[:16] < f"{moment:%Y-%m-%d %H:%M}" else (left, middle)
    for y in range(_INSIDE, int(box["height"]), _STEP):
        page.mouse.click(right, box["y"] + y)


def open_incident_at(page: Page, market: FrameLocator, moment: datetime, title: str) -> None:
    """Click on the mark at `moment` until the page with that title is there: a growing chart moves its marks."""
    heading = market.get_by_role("heading", level=1)
    until = time.monotonic() + PATIENCE_S
    while market.locator("#chart").count() and time.monotonic() < until:
        click_at(page, market, moment)
        with suppress(AssertionError):
            expect(heading).to_have_text(title, timeout=_LOOK_MS)
    expect(heading).to_have_text(title)


def press_until_there(button: Locator, shown: Locator) -> None:
    """Press a button until what it opens is there: a page that is drawn again closes what was opened on it before."""
    until = time.monotonic() + PATIENCE_S
    while not shown.count() and time.monotonic() < until:
        button.click()
        with suppress(AssertionError):
            expect(shown).to_be_visible(timeout=_LOOK_MS)
    expect(shown).to_be_visible()


def nameless(market: FrameLocator) -> list[str]:
    """Return what can be used in the page and has no name that a screen reader could say."""
    found: list[str] = market.locator("body").evaluate(_NAMELESS)
    return found


def expect_no_overflow(market: FrameLocator) -> None:
    """Expect the page to be no wider than the frame: nobody has to scroll it sideways."""
    page = market.locator("html")
    expect(page).to_have_js_property("scrollWidth", page.evaluate("(html) => html.clientWidth"))


def _place(market: FrameLocator, series: Series, day: datetime) -> Any:
    return market.locator("#map").evaluate(_PLACE, [str(series), f"{day:%Y-%m-%d}"])
