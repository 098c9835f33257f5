"""What a user does on the market page, which Airflow shows in a frame."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from playwright.sync_api import FrameLocator, Locator, Page, expect

from etl.series import Series

_PLACE = """(map, [series, day]) => {
    const [cell, box] = [map.cellAt(series, day), map.getBoundingClientRect()];
    return { x: cell.x - box.left, y: cell.y - box.top };
}"""


def open_market(page: Page) -> FrameLocator:
    """Open the market page from Airflow's navigation; return what is in its frame once the heat map is there."""
    page.get_by_role("link", name="Market", exact=True).click()
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


def open_day(market: FrameLocator, series: Series, day: datetime) -> None:
    """Click on a cell of the heat map, and wait for the page of that day."""
    market.locator("#map").click(position=_place(market, series, day))
    expect(market.get_by_role("heading", level=1)).to_have_text(str(series))


def number(market: FrameLocator, name: str) -> Locator:
    """Return a number of a day, such as `stored`."""
    return market.locator(f"[data-number={name}] dd").first


def _place(market: FrameLocator, series: Series, day: datetime) -> Any:
    return market.locator("#map").evaluate(_PLACE, [str(series), f"{day:%Y-%m-%d}"])
