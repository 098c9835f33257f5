from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from models.planting import Kind, Size
from models.report import Night, Role, render
from models.results import Evaluation, Example, Given, Outcome, compare

BTC = Series.parse("binance:BTC/USDT:1m")
CELLS = [f"{kind}/{size}" for kind in Kind for size in Size]


def ranged(first: int, end: int) -> TimeRange:
    """Return days of January 2026."""
    return TimeRange(datetime(2026, 1, first, tzinfo=UTC), datetime(2026, 1, end, tzinfo=UTC))


def outcome(model: str, seed: int, vus: float) -> Outcome:
    """Return an outcome that has all there is."""
    planted, found = dict.fromkeys(CELLS, 2), dict.fromkeys(CELLS[:9], 1)
    curve = tuple((count, min(count, 20), min(count, 30)) for count in (1, 10, 40))
    return Outcome(model, BTC, seed, vus, vus, dict.fromkeys(map(str, Kind), vus), planted, found, 12, 9, curve)


def night(champion: str, was_champion: str | None = None) -> Night:
    """Return a night of an LSTM and a baseline that is better."""
    outcomes = tuple(outcome(name, seed, vus) for seed in (1, 2) for name, vus in (("lstm", 0.4), ("ewma_z", 0.61)))
    evaluation = Evaluation(ranged(20, 27), (1, 2), 1.0, outcomes, (Given("lstm", BTC, 1.0, 2),))
    count = 10_080
    scores = np.where(np.arange(count) % 50 == 0, np.nan, np.random.default_rng(1).exponential(0.4, count))
    scores[5001] = np.inf
    example = Example(
        champion,
        BTC,
        1_769_000_000_000 + 60_000 * np.arange(count),
        scores,
        4.0,
        np.array([[5001, 5003]]),
        (("spike", "large", 5001, 5001), ("frozen_price", "small", 7000, 7007)),
    )
    return Night(
        Timeframe.M1,
        "all",
        "scheduled__<b>2026</b>",
        datetime(2026, 1, 28, tzinfo=UTC),
        ranged(1, 13),
        ranged(13, 27),
        "ab" * 32,
        evaluation,
        {"lstm": Role.CANDIDATE, "ewma_z": Role.BASELINE},
        champion,
        was_champion,
        "It is <best> & simplest.",
        [compare(evaluation, "ewma_z", "lstm")],
        {"read": 1.5, "fit lstm": 60.0},
        {"lstm": [1.0, 0.6, 0.5]},
        {"kraken:XBT/USD:1m": "only <3> days of candles"},
        [Given("lstm 1m/1", BTC, 2.0, 3)],
        [example],
        {"python": "3.11.7"},
    )


class Reader(HTMLParser):
    """Reads a page: all tags and attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and what it leads to."""
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> str:
    """The report of a night on which a baseline became champion."""
    return render(night("ewma_z"))


def test_the_page_stands_by_itself(page: str) -> None:
    """No script, nothing from elsewhere, under a megabyte; what is told is text, never markup."""
    reader = Reader()
    reader.feed(page)
    assert len(page.encode()) < 1_000_000
    assert not {"script", "link", "iframe", "img"} & set(reader.tags)
    assert all(link.startswith("#") for link in reader.links)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "It is &lt;best&gt; &amp; simplest." in page
    assert "<b>2026" not in page


def test_the_verdict_comes_first(page: str) -> None:
    """The champion and the reason stand before all numbers, and that a baseline wins is said in plain words."""
    text = "".join(_read(page))
    order = [text.index(part) for part in ("Champion from now on: ewma_z", "It is <best>", "A baseline wins", "VUS-PR")]
    assert order[:3] == sorted(order[:3])
    assert text.index("The comparison") > order[2]
    assert "Still champion: lstm" in "".join(_read(render(night("lstm", "lstm"))))


def test_all_that_was_measured_is_there(page: str) -> None:
    """The table, the pairs, every kind, the budget, the training, and who was left out and why."""
    text = " ".join(_read(page))
    for part in (
        "0.610",
        "0.400",
        "measurably better",
        "+0.210",
        "frozen price",
        "1.50",
        "ab" * 32,
        "60.0 s",
        "3.11.7",
    ):
        assert part in text
    assert "kraken:XBT/USD:1m" in text
    assert "only <3> days of candles" in text
    assert page.count("<svg") == 4


def test_plots_have_the_colours_of_the_page(page: str) -> None:
    """Ink and lines are the page's own, in the light and in the dark; the same night gives the same page."""
    assert "light-dark(" in page
    assert "var(--ink)" in page
    assert render(night("ewma_z")) == page


def test_a_first_night_has_less_to_tell() -> None:
    """Without a champion before, examples, losses or anybody left out, there is a page all the same."""
    whole = night("lstm")
    least = Night(*(getattr(whole, name) for name in Night.__dataclass_fields__ if name not in _OPTIONAL))
    text = " ".join(_read(render(least)))
    assert "no champion yet" in text
    assert "nobody said anything" in text
    assert "Left out" not in text


_OPTIONAL = {"comparisons", "seconds", "losses", "left_out", "since", "feedback", "examples", "environment"}


def _read(page: str) -> list[str]:
    reader = Reader()
    reader.feed(page)
    return reader.text
