"""The pieces of a page that stands by itself: no script, nothing from any other host, legible in the light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from models.plots import to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CSS = """
:root { color-scheme: light dark; --ink: light-dark(#15191f, #e6e9ee); --line: light-dark(#d9dde3, #353b45);
  --quiet: light-dark(#69707d, #98a1b0); --strange: light-dark(#8a5a00, #f0b849); --wrong: light-dark(#b3261e, #ff8a80);
  --ground: light-dark(#fff, #14171c); --shade: light-dark(#0003, #fff4) }
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem; max-width: 64rem; color: var(--ink);
  background: var(--ground) }
h1 { font-size: 1.25rem; margin: 0 0 1rem } h1, p { overflow-wrap: break-word }
h2 { font-size: 1.05rem; margin: 2rem 0 .25rem }
h3 { font-size: .9rem; margin: 1.25rem 0 .25rem } p { margin: .25rem 0 .75rem; max-width: 46rem }
p.verdict { font-size: 1.15rem } .quiet { color: var(--quiet) } .strange { color: var(--strange) }
.wrong { color: var(--wrong) }
/* A shade at the side on which there is more; at the end, what scrolls along covers it. */
div { overflow-x: auto; background: linear-gradient(to right, var(--ground) 40%, transparent) left / 2rem 100% local,
  linear-gradient(to left, var(--ground) 40%, transparent) right / 2rem 100% local,
  linear-gradient(to right, var(--shade), transparent) left / .75rem 100% scroll,
  linear-gradient(to left, var(--shade), transparent) right / .75rem 100% scroll; background-repeat: no-repeat }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { color: var(--quiet); font-weight: 600 } tr.strong td { font-weight: 600 }
td.number, th.number { text-align: right; white-space: nowrap } td.whole { white-space: nowrap }
.facts td { overflow-wrap: anywhere } .facts td:first-child { overflow-wrap: normal }
a { color: light-dark(#1f6feb, #6aa5ff) }
button, textarea { font: inherit; color: inherit; background: transparent; border: 1px solid var(--line);
  border-radius: 4px; padding: .25rem .6rem } button { cursor: pointer } label { display: block }
dialog { border: 1px solid var(--line); border-radius: 6px; color: var(--ink); background: var(--ground);
  width: min(32rem, calc(100vw - 2rem)) } textarea { width: 100%; box-sizing: border-box }
svg, img { max-width: 100%; height: auto } svg text { font-family: system-ui, sans-serif !important }
@media (width < 600px) {
  body { margin: 1rem }
  /* A row as a card: what the column says stands before each. */
  .cards, .cards tbody { display: block } .cards tr:has(th) { display: none }
  .cards tr { display: flex; flex-wrap: wrap; gap: .1rem 1rem; padding: .5rem 0; border-bottom: 1px solid var(--line) }
  .cards td { border: 0; padding: 0; max-width: 100%; text-align: left; overflow-wrap: break-word }
  .cards td.whole { white-space: normal } .cards td:empty { display: none } .cards td:first-child { font-weight: 600 }
  .cards td[data-name]::before { content: attr(data-name) " "; color: var(--quiet); font-weight: 400 }
}
"""


def page(title: str, parts: Sequence[str], head: str = "") -> str:
    """Return a whole page; the parts and what else belongs into the head are HTML, the title is text."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_CSS}</style>{head}<h1>{escape(title)}</h1>{''.join(parts)}</html>"
    )


def heading(text: str, level: int = 2) -> str:
    """Return a heading of text."""
    return f"<h{level}>{escape(text)}</h{level}>"


def link(address: str, text: str) -> str:
    """Return a link of text."""
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def paragraph(text: str, name: str = "") -> str:
    """Return a paragraph of text, of a class that the page's style has."""
    return f"<p{_class(name)}>{escape(text)}</p>"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: int = 0, strong: str | None = None) -> str:
    """Return a table of texts.

    Args:
        heads: None if there is nothing to say above.
        numbers: So many columns, the last ones, are numbers.
        strong: Rows that begin with it stand out.
    """
    lines = [_row("th", heads, numbers, "")] if heads else []
    lines += [_row("td", row, numbers, "strong" if row[0] == strong else "") for row in rows]
    return _framed(lines, "")


def cards(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, each row of which is a card on a narrow screen: its first cell is the card's title."""
    names = ["", *(f' data-name="{escape(head)}"' if head else "" for head in heads[1:])]
    lines = [_row("th", heads, 0, "")]
    for row in rows:
        cells = (f"<td{name}>{escape(cell)}</td>" for name, cell in zip(names, row, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return _framed(lines, "cards")


def facts(told: Mapping[str, str]) -> str:
    """Return a table of what is said of what."""
    return _framed([_row("td", row, 0, "") for row in told.items()], "facts")


def picture(figure: Figure, label: str) -> str:
    """Return a plot; the label is for those who do not see it."""
    return f'<div role="img" aria-label="{escape(label)}">{to_svg(figure)}</div>'


def _framed(lines: Sequence[str], name: str) -> str:
    """Return rows as a table that scrolls where it is wider than the page."""
    return f"<div><table{_class(name)}>{''.join(lines)}</table></div>"


def _row(tag: str, cells: Sequence[str], numbers: int, name: str) -> str:
    classes = ["number" if place >= len(cells) - numbers else "" for place in range(len(cells))]
    columns = (f"<{tag}{_class(one)}>{escape(cell)}</{tag}>" for one, cell in zip(classes, cells, strict=True))
    return f"<tr{_class(name)}>{''.join(columns)}</tr>"


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""
