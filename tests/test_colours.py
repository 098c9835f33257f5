"""Colours that say something are told apart with any colour vision, and stand out from the ground they are on."""

from __future__ import annotations

import json
import re
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from etl.alerts import chart
from etl.schema import AbsenceKind
from etl.show.candlesticks import DOWN, UP
from tests.conftest import REPOSITORY

STATIC = REPOSITORY / "plugins" / "chandler_airflow" / "market" / "static"
DASHBOARDS = REPOSITORY / "deploy" / "grafana" / "dashboards"
STATES = ("stored", *(kind.value for kind in AbsenceKind))
LEAST_DIFFERENCE = 17.0
"""Of two colours, as a distance in CIE Lab: 2.3 is just noticeable side by side, and these may lie far apart."""
LEAST_CONTRAST = 3.0
"""Of what is drawn to its ground: what WCAG 2.2 asks of graphics (1.4.11)."""

# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision Deficiency" (2009),
# table of matrices for linear RGB at severity 1.
VISIONS = {
    "all three cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)

Vector = NDArray[np.float64]


def palette(theme: str) -> dict[str, str]:
    """Return the page's colours by name, of one theme."""
    light, dark = (STATIC / "market.css").read_text().split(':root[data-theme="dark"]', 1)
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", light if theme == "light" else dark.partition("}")[0]))


def linear(colour: str) -> Vector:
    """Return a colour's linear RGB, 0 to 1."""
    encoded = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def lab(rgb: Vector) -> Vector:
    """Return CIE Lab under D65 of a linear RGB."""
    ratio = _XYZ @ np.clip(rgb, 0, 1) / _XYZ.sum(axis=1)
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(one: str, other: str, vision: str) -> float:
    """Return how far apart two colours are for somebody who sees so."""
    seen = [lab(VISIONS[vision] @ linear(colour)) for colour in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, 1 to 21."""
    darker, lighter = sorted(float(_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_states_and_candles_are_told_apart(theme: str, vision: str) -> None:
    """Whichever two of the states of a day; and rising from falling candles, by twice as much."""
    colours = palette(theme)
    pairs = {pair: difference(*(colours[name] for name in pair), vision) for pair in combinations(STATES, 2)}
    least = min(pairs, key=pairs.__getitem__)
    assert pairs[least] >= LEAST_DIFFERENCE, f"{least} differ by {pairs[least]:.1f} only"
    assert difference(colours["up"], colours["down"], vision) >= 2 * LEAST_DIFFERENCE


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_whatever_is_drawn_stands_out_from_the_ground(theme: str) -> None:
    """Also the lines of those states that are drawn as a pattern, and the edge of their swatches."""
    colours = palette(theme)
    for name in (*STATES, "up", "down", "revised", "flagged"):
        assert contrast(colours[name], colours["ground"]) >= LEAST_CONTRAST, name


def test_every_state_is_on_the_page_and_the_calm_ones_have_a_pattern_of_their_own() -> None:
    """A kind without a colour, a swatch or words on the page is noticed here; so are two patterns that are one."""
    source = (STATIC / "states.js").read_text()
    kinds = re.findall(r'letter: "(\w)",\s+name: "(\w+)",\s+label: "([\w ]+)",\s+help:', source)
    assert [name for _, name, _ in kinds if name != "stored"] and {name for _, name, _ in kinds} == set(STATES)
    assert all(label == name.replace("_", " ") for _, name, label in kinds)
    patterns = re.findall(r'pattern: "(\w+)"', source)
    assert len(patterns) == len(set(patterns)) == 3
    css = (STATIC / "market.css").read_text()
    assert set(STATES) <= set(re.findall(r"\.of-(\w+) \{", css))
    assert set(patterns) <= set(re.findall(r"\.swatch\.is-(\w+)", css))


@pytest.mark.parametrize(("theme", "drawn"), [("light", chart.LIGHT), ("dark", chart.DARK)])
def test_pictures_of_incidents_have_the_colours_of_the_page(theme: str, drawn: chart.Theme) -> None:
    """Candles, and whatever else is drawn or written, stand out from the ground of either theme."""
    colours = palette(theme)
    assert (drawn.up, drawn.down) == (colours["up"], colours["down"])
    for colour in (drawn.up, drawn.down, drawn.ink, *drawn.others):
        assert contrast(colour, drawn.ground) >= LEAST_CONTRAST, colour


def test_grafana_and_the_terminal_are_no_worse() -> None:
    """The first has the dark page's; a terminal's ground is not known, so candles stand out there from either."""
    colours = palette("dark")
    quality = json.loads((DASHBOARDS / "quality.json").read_text())
    panel = next(panel for panel in quality["panels"] if panel["title"] == "Absent, by kind")
    fixed = {
        one["matcher"]["options"]: one["properties"][0]["value"]["fixedColor"]
        for one in panel["fieldConfig"]["overrides"]
    }
    assert fixed == {kind.value: colours[kind.value] for kind in AbsenceKind}
    series = json.loads((DASHBOARDS / "series.json").read_text())
    (candles,) = (one["options"]["colors"] for one in series["panels"] if "colors" in one.get("options", {}))
    assert candles == {"up": colours["up"], "down": colours["down"]}
    for vision in VISIONS:
        assert difference(UP, DOWN, vision) >= 2 * LEAST_DIFFERENCE
    for ground in ("#ffffff", "#000000"):
        assert min(contrast(UP, ground), contrast(DOWN, ground)) >= LEAST_CONTRAST
