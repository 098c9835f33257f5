"""Pages of the plugin on a narrow screen: their addresses, and what of them does not fit."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from playwright.sync_api import Page
from sqlalchemy import text

from etl.warehouse import open_warehouse
from models.report import render
from tests.models.test_report import night
from tests.stage.stage import BTC, OTHERS, Stage

_MODEL = """
INSERT INTO models (timeframe, scope, version, scorer, state, learned, held_out, as_of, data_hash, metrics,
    environment, reason, run, artifact_sha256, artifact_bytes, report)
VALUES ('1m', 'all', 1, 'lstm', 'rejected', '[2026-01-01, 2026-01-10)', '[2026-01-10, 2026-01-20)', now(), '',
    '{"vus_pr": 0.5}', '{}', 'a baseline is better', 'test', '', 0, :report) RETURNING id
"""
_NOT_FITTING = r"""() => {
    const width = document.documentElement.clientWidth;
    const found = [];
    if (document.documentElement.scrollWidth > width || window.innerWidth > screen.width)
        found.push(`the page is ${Math.max(document.documentElement.scrollWidth, window.innerWidth)} px wide`);
    for (const link of document.querySelectorAll("nav a")) {
        const { left, right } = link.getBoundingClientRect();
        if (left < 0 || right > width) found.push(`the link ${link.textContent} is outside`);
    }
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (!node.parentElement.checkVisibility() || node.parentElement.closest("script, style, svg")) continue;
        for (const figure of node.data.matchAll(/\d[\d,.]*\d/g)) {
            const range = document.createRange();
            range.setStart(node, figure.index);
            range.setEnd(node, figure.index + figure[0].length);
            if (range.getClientRects().length > 1) found.push(`${figure[0]} is broken: ${node.data}`);
        }
    }
    return [...found, ...window.cutLabels ?? []];
}"""

NOTE_CUT_LABELS = r"""
window.cutLabels = [];
const fillText = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (label, x, y) {
    const { actualBoundingBoxLeft, actualBoundingBoxRight } = this.measureText(label);
    const { a, e } = this.getTransform();
    const [left, right] = [(x - actualBoundingBoxLeft) * a + e, (x + actualBoundingBoxRight) * a + e];
    // A label that is wholly outside is not seen.
    const isSeen = right > 0 && left < this.canvas.width;
    if (/\d/.test(label) && isSeen && (left < -1 || right > this.canvas.width + 1))
        window.cutLabels.push(`the label ${label} is cut: ${left} to ${right} of ${this.canvas.width}`);
    fillText.call(this, label, x, y);
};
"""
"""Script for a page's start: `not_fitting` then tells of numbers on a canvas that an edge cuts."""


def write_model(stage: Stage) -> int:
    """Write a model with a report into the warehouse; return its number."""
    with open_warehouse(stage.stack.settings) as warehouse, warehouse.begin() as connection:
        report = gzip.compress(render(night("lstm")).encode())
        number: int = connection.execute(text(_MODEL), {"report": report}).scalar_one()
        return number


def addresses(stage: Stage, incident: int, model: int) -> Iterator[str]:
    """Yield the address of every page of the plugin below `/chandler/`, and of each view of the market page."""
    day, peak = (f"{one:%Y-%m-%d}" for one in (stage.days.holed, stage.days.peak))
    views = ("coverage", "series", "incidents", "models", "exchanges", f"series/{BTC}", f"day/{BTC}/{day}")
    yield from (f"market#{view}" for view in views)
    yield f"market?dag={OTHERS}"
    yield f"incident?id={incident}"
    yield "incident?id=99999"
    yield "incidents"
    yield f"quality?series={BTC}&start={peak}&end={day}"
    yield f"models/report?model={model}"


def not_fitting(page: Page) -> list[str]:
    """Return what of a page is outside of the screen, cut or broken: links, figures, labels of a canvas."""
    found: list[str] = page.evaluate(_NOT_FITTING)
    return found
