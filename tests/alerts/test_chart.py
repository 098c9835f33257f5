"""The small picture of an incident: a PNG of one size, the same bytes from the same candles, whatever they hold."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from etl.alerts.chart import DARK, LIGHT, Theme, chart_png
from etl.incidents import Incident
from etl.schema import empty_candles, from_columns, to_columns
from etl.series import TimeRange
from etl.timeframe import from_ms
from tests.alerts.made_alerts import BTC, incident
from tests.models.made_up import START_MS, walk

PNG = b"\x89PNG\r\n\x1a\n"


def crash(first: int = 60, last: int = 70) -> Incident:
    """Return an incident from one slot of `walk` to another."""
    start = from_ms(START_MS) + timedelta(minutes=first)
    span = TimeRange(start, start + timedelta(minutes=last - first))
    return incident(1, BTC, time_range=span, peak=start)


def size(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def scaled(candles: pa.Table, factor: float, spread: float = 1.0) -> pa.Table:
    """Return candles at another level of prices; with a spread of 0 all prices are one."""
    columns = to_columns(candles)
    level = float(columns["close"][0])
    prices = {name: (level + spread * (columns[name] - level)) * factor for name in ("open", "high", "low", "close")}
    return from_columns({**columns, **prices})


def test_a_chart_is_a_small_png_and_always_the_same() -> None:
    """It has the size of a chat's preview, comes out the same each time, and another venue is drawn into it."""
    candles = walk(120)
    drawn = chart_png(candles, crash())
    assert drawn.startswith(PNG)
    assert size(drawn) == (640, 320)
    assert len(drawn) < 60_000
    assert chart_png(candles, crash()) == drawn
    assert chart_png(candles, crash(20, 30)) != drawn
    assert chart_png(candles, crash(), [("coinbase", scaled(walk(120, seed=2), 1.01))]) != drawn
    assert chart_png(candles, crash(), theme=DARK) == drawn


@pytest.mark.parametrize("theme", [DARK, LIGHT])
def test_a_chart_has_the_ground_of_its_theme(theme: Theme) -> None:
    """Most of the picture is ground, and what is written on it is ink."""
    from matplotlib.image import imread

    pixels = np.rint(imread(io.BytesIO(chart_png(walk(120), crash(), theme=theme)))[..., :3] * 255).astype(int)
    found = ["#{:02x}{:02x}{:02x}".format(*pixel) for pixel in pixels.reshape(-1, 3)]
    assert Counter(found).most_common(1)[0][0] == theme.ground
    assert theme.ink in found


@pytest.mark.parametrize(
    "candles",
    [
        walk(1),
        walk(2),
        walk(2000),
        walk(120, missing=0.5),
        scaled(walk(60), 1e-9),
        scaled(walk(60), 1e9),
        scaled(walk(60), 1.0, spread=0.0),
        from_columns({**to_columns(walk(60)), "volume": np.zeros(60)}),
    ],
    ids=["one", "two", "two thousand", "gaps", "tiny prices", "huge prices", "one price", "no volume"],
)
def test_any_candles_can_be_drawn(candles: pa.Table) -> None:
    """One candle or thousands, gaps, prices of any size, none that moves, no volume: a picture, and no warning."""
    strangers = [("a", empty_candles()), ("b", walk(30)), ("c", candles), ("d", candles)]
    assert size(chart_png(candles, crash(), strangers)) == (640, 320)


def test_without_candles_there_is_no_chart() -> None:
    """Nothing to draw is an error that the caller can tell."""
    with pytest.raises(ValueError, match="no candles"):
        chart_png(empty_candles(), crash())


def test_a_chart_needs_neither_pandas_nor_a_display() -> None:
    """Drawing imports no pandas and no pyplot, and the module alone not even matplotlib."""
    code = (
        "import sys, etl.alerts.chart as chart; assert 'matplotlib' not in sys.modules\n"
        "from tests.alerts.test_chart import crash, walk\n"
        "was = 'pandas' in sys.modules; chart.chart_png(walk(50), crash(5, 9))\n"
        "assert 'matplotlib.pyplot' not in sys.modules; assert was or 'pandas' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
