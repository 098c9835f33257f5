"""What the tables are made of."""

from __future__ import annotations

from datetime import datetime

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

# Columns that are not worth reading when broken into lines.
_WHOLE = frozenset(
    {
        *("series", "first and last", "watermark", "loaded", "from", "to", "exchange", "looked at", "verdict"),
        *("model", "scorer", "since", "peak", "kind", "scope", "severity", "once in", "acknowledged", "and it", "sent"),
        *("when", "id", "open time", "rule", "flags", "state", "refused at", "replaced at", "refused", "flagged"),
    }
)
_NUMBERS = frozenset(
    {
        *("candles", "expected", "stored", "absent", "refused", "flagged", "revised", "archive", "candles a page"),
        *("id", "revisions", "open", "high", "low", "close", "volume", "trades", "move", "share", "score", "threshold"),
        *("anomalies", "tries"),
    }
)


def new_table(*names: str, title: object = None) -> Table:
    """Return a table of columns that are aligned by what stands in them."""
    table = Table(box=None, pad_edge=False, title=None if title is None else str(title), title_justify="left")
    for name in names:
        justify: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name in _WHOLE | _NUMBERS)
    return table


def to_minute(moment: datetime | None) -> str:
    """Return a moment for people; nothing for none."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def to_iso(moment: datetime | None) -> str | None:
    """Return a moment for scripts."""
    return None if moment is None else moment.isoformat()


def to_text(value: str) -> Text:
    """Return what others wrote, as it is: no markup, and nothing that a terminal would obey."""
    return Text("".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in value))
