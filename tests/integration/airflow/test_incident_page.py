"""The pages of incidents, as a browser sees them in which somebody is logged in, or nobody."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from etl.feeds_file import load_settings
from etl.incidents import Kind
from etl.warehouse import acknowledge, open_warehouse
from tests.integration.airflow.airflow_process import AirflowProcess, fresh_databases
from tests.made_incidents import BTC, ELSEWHERE, MINUTE, PEAK, found, have, hold

Page = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Pages:
    """Answers to requests for pages: each status and body."""

    shown: Page
    bare: Page
    hidden: Page
    none: Page
    acting: Page
    nonsense: Page
    listed: Page
    of_one: Page


@pytest.fixture(scope="module")
def pages(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """A crash with its candles and a note, and something of history elsewhere without any."""
    home = tmp_path_factory.mktemp("airflow")
    with fresh_databases(postgres, 1) as [url], AirflowProcess(home, "", url, {}) as airflow:
        with open_warehouse(load_settings(home / "feeds.toml", home=home, warehouse_url=url)) as warehouse:
            hold(warehouse)
            crash = have(warehouse, found(), is_told=True)
            other = have(warehouse, found(ELSEWHERE, PEAK + MINUTE, kind=Kind.FROZEN_PRICE), is_history=True)
            with warehouse.begin() as connection:
                acknowledge(connection, crash, "<script>alert(1)</script>", "desk")
        one = f"/chandler/incident?id={crash}"
        yield Pages(
            shown=airflow.show(one, "viewer"),
            bare=airflow.show(f"/chandler/incident?id={other}", "viewer"),
            hidden=airflow.show(one, None),
            acting=airflow.show(f"/chandler/incident?id={other}", "user"),
            none=airflow.show("/chandler/incident?id=999", "viewer"),
            nonsense=airflow.show("/chandler/incidents?series=BTC", "viewer"),
            listed=airflow.show("/chandler/incidents", "viewer"),
            of_one=airflow.show(f"/chandler/incidents?series={BTC}", "viewer"),
        )


def test_an_incident_has_a_page_with_all_that_it_is_judged_by(pages: Pages) -> None:
    """Numbers, rules, other venues, who was told, what became of it; a picture; what people wrote is text."""
    status, body = pages.shown
    assert status == 200
    for part in (
        "crash, market, critical",
        "81.25",
        "72 times as much [usual]",
        str(ELSEWHERE),
        "to be decided",
        "seen",
    ):
        assert part in body
    found = re.search(
        r'<source media="\(prefers-color-scheme: dark\)" srcset="data:image/png;base64,([^"]+)">'
        r'<img [^>]+ src="data:image/png;base64,([^"]+)"></picture>',
        body,
    )
    assert found is not None
    dark, light = (base64.b64decode(picture) for picture in found.groups())
    assert dark.startswith(b"\x89PNG") and light.startswith(b"\x89PNG") and dark != light
    assert "&lt;script&gt;alert(1)" in body
    assert "<script" not in body
    assert "<button" not in body, "who may only look is offered nothing to do"
    assert 'href="./market#incidents"' in body


def test_who_may_act_finds_buttons_and_the_one_module_that_they_need(pages: Pages) -> None:
    """With what the dialog shows of the incident, and no other script."""
    status, body = pages.acting
    assert status == 200
    assert re.findall(r'data-verdict="(\w+)"', body) == ["acknowledge", "false"]
    assert re.findall(r"<script[^>]*>", body) == ['<script type="module" src="/chandler/static/incident.js">']
    assert "&quot;kind&quot;: &quot;frozen_price&quot;" in body


def test_an_incident_whose_candles_are_gone_has_a_page_too(pages: Pages) -> None:
    """It says so where the picture would be."""
    status, body = pages.bare
    assert (status, "holds none of its candles" in body, "<img" in body) == (200, True, False)


def test_incidents_are_listed_each_with_its_page(pages: Pages) -> None:
    """Those of a series, or of all; each leads to its page."""
    (status, every), (_, own) = pages.listed, pages.of_one
    assert status == 200
    assert (every.count('href="./incident?id='), own.count('href="./incident?id=')) == (2, 1)
    assert "frozen price" in every
    assert "frozen price" not in own
    assert pages.nonsense[0] == 422


def test_the_page_is_for_who_is_logged_in(pages: Pages) -> None:
    """Whoever is not sees nothing of it; a number that is none is not found."""
    assert pages.hidden == (401, '{"detail":"Not authenticated"}')
    assert pages.none == (404, '{"detail":"there is no incident 999 that you may see; see chandler incidents"}')
