"""Plots of a comparison, drawn by matplotlib without a display: as SVG within a page, or as PNG for documents.

Within a page the colours of ink and lines are the page's own, so that it is legible in the light and in the dark.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.metrics import event_scores
from models.planting import Kind, Size
from models.results import Evaluation, Example, Outcome, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, LINE = "#15191f", "#d9dde4"
"""What stands for the page's own colours; `to_svg` puts `--ink` and `--line` in their places."""
ACCENT, WARN = "#4269d0", "#e4572e"
_COLOURS = ("#4269d0", "#e4572e", "#2f9e6e", "#c98a00", "#a463f2", "#d6498f", "#3aa6b9", "#8a8f98", "#9c6b4e")
_COLUMNS = 700  # that scores over time are drawn with: of the candles behind each, the strangest is
_HIGHEST = 9.0  # once in a billion candles; what is stranger yet is drawn there
_PNG_DPI = 144

_STYLE: dict[Any, Any] = {
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9.0,
    "grid.color": LINE,
    "legend.frameon": False,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "chandler",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def draw_recall(summaries: Sequence[Summary]) -> Figure:
    """Draw which share of each kind and size each model found at its cut, as a heat map."""
    cells = [f"{kind}/{size}" for kind in Kind for size in Size]
    with _figure(9.4, 1.1 + 0.3 * len(summaries)) as figure:
        axes = figure.add_subplot()
        for row, one in enumerate(summaries):
            for column, cell in enumerate(cells):
                share = one.recall_by.get(cell)
                x = column + 0.35 * (column // len(Size))
                if share is not None:
                    axes.barh(row, 0.96, 0.92, x - 0.48, color=ACCENT, alpha=0.6 * share)
                    axes.text(x, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
        for number, kind in enumerate(Kind):
            centre = number * (len(Size) + 0.35) + 1
            axes.text(centre, -1.25, kind.replace("_", " "), ha="center", va="center", fontweight="bold")
            for place, size in enumerate(Size):
                axes.text(centre - 1 + place, -0.72, size, ha="center", va="center", fontsize=7)
        axes.set_xlim(-0.6, len(cells) + 0.35 * (len(Kind) - 1) - 0.4)
        axes.set_ylim(len(summaries) - 0.5, -1.6)
        axes.set_yticks(range(len(summaries)), [one.model for one in summaries])
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def draw_curves(evaluation: Evaluation, names: Sequence[str]) -> Figure:
    """Draw precision of incidents against recall of what was planted, and a point where each model's cut lies."""
    with _figure(9.4, 4.0) as figure:
        axes = figure.add_subplot()
        for name, colour in zip(names, _cycle(len(names)), strict=True):
            outcomes = evaluation.of(name)
            planted = sum(sum(one.planted.values()) for one in outcomes)
            at = [event_scores(incidents, hits, planted, found) for incidents, hits, found in _curve(outcomes)]
            axes.plot([recall for _, recall, _ in at], [precision for precision, _, _ in at], color=colour, label=name)
            incidents, hits = sum(one.incidents for one in outcomes), sum(one.hits for one in outcomes)
            found = sum(sum(one.found.values()) for one in outcomes)
            precision, recall, _ = event_scores(incidents, hits, planted, found)
            axes.plot([recall], [precision], "o", color=colour)
        axes.set(
            xlabel="recall: of what was planted", ylabel="precision: of the incidents", xlim=(0, 1), ylim=(0, 1.02)
        )
        axes.grid(visible=True, linewidth=0.5)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def draw_example(example: Example) -> Figure:
    """Draw one model's scores of one series over time, its threshold, incidents, and what was planted."""
    with _figure(9.4, 2.5) as figure:
        axes = figure.add_subplot()
        edges = np.unique(np.linspace(0, len(example.scores), _COLUMNS + 1).astype(np.intp))
        levels = np.clip(np.where(np.isnan(example.scores), -np.inf, example.scores), -np.inf, _HIGHEST)
        highest = np.maximum.reduceat(levels, edges[:-1])
        times = _times(example.open_time_ms)
        axes.plot(times[edges[:-1]], np.where(np.isinf(highest), np.nan, highest), color=ACCENT, linewidth=0.7)
        if np.isfinite(example.threshold):
            axes.axhline(min(example.threshold, _HIGHEST), color=WARN, linewidth=0.8, linestyle="--")
        for _, _, first, last in example.planted:
            axes.plot(times[[first, last]], [0, 0], "|-", color=INK, linewidth=4, markersize=5)
        for first, last in example.incidents:
            peak = first + int(np.nanargmax(example.scores[first : last + 1]))
            axes.plot(times[[peak]], [levels[peak]], ".", color=WARN)
        axes.set_ylim(-0.2, _HIGHEST + 0.5)
        axes.set_yticks(range(0, int(_HIGHEST) + 1, 3), ["1", "1,000", "a million", "a billion"])
        axes.set_ylabel("once in so many candles")
        _date(axes)
    return figure


def draw_losses(losses: Mapping[str, Sequence[float]]) -> Figure:
    """Draw what was measured after each epoch."""
    from matplotlib.ticker import MaxNLocator

    with _figure(5.2, 2.3) as figure:
        axes = figure.add_subplot()
        for (name, values), colour in zip(losses.items(), _cycle(len(losses)), strict=True):
            axes.plot(range(1, len(values) + 1), values, ".-", color=colour, label=name)
        axes.set(xlabel="epoch", ylabel="loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return figure


def to_svg(figure: Figure) -> str:
    """Return an element for a page, whose colours of ink and lines are `--ink` and `--line`."""
    import matplotlib as mpl

    written = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    text = written.getvalue()
    return text[text.index("<svg") :].replace(INK, "var(--ink)").replace(LINE, "var(--line)").strip()


def write_png(figure: Figure, path: Path) -> None:
    """Write a picture on white paper, for documents."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        figure.savefig(path, format="png", dpi=_PNG_DPI, transparent=False, facecolor="white", bbox_inches="tight")


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    """Give a figure of no window; what is drawn within has our style."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        yield figure


def _cycle(count: int) -> list[str]:
    return [_COLOURS[number % len(_COLOURS)] for number in range(count)]


def _curve(outcomes: Sequence[Outcome]) -> list[tuple[int, int, int]]:
    """Return the counts of all units together, cut by cut."""
    return [
        (sum(a for a, _, _ in at), sum(b for _, b, _ in at), sum(c for _, _, c in at))
        for at in zip(*(one.curve for one in outcomes), strict=True)
    ]


def _times(open_time_ms: NDArray[np.int64]) -> NDArray[np.datetime64]:
    return open_time_ms.astype("datetime64[ms]")


def _date(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]  # of matplotlib
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]  # of matplotlib
