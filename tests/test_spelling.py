"""Numbers and durations as people read and write them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from etl.show.parts import to_age
from etl.spelling import Duration, counted, spell_duration

DURATIONS = TypeAdapter(Duration)


@given(st.integers(0, 10**9))
def test_one_is_one_and_anything_else_is_many(count: int) -> None:
    """No message says `1 rows`."""
    number, noun = counted(count, "row").split(" ")
    assert (int(number.replace(",", "")), noun) == (count, "row" if count == 1 else "rows")


_PLURAL = (
    r"(?:[a-z]+ )?(?:rows|candles|slots|lines|stretches|pages|partitions|loads|ranges|incidents|alerts|messages|tasks"
    r"|files|probes|revisions|requests)(?![\w/])"
)
# No counts, or never one.
_NEVER_ONE = {
    *("timeframe", "series.timeframe", "per_column", "ago", "reach", "len(files)", "self.dated", "n_slots"),
    *("budget", "night.evaluation.budget", "piece.is_clean.sum()", "length", "least", "half_life.tolist()"),
    *("SPACING", "BUCKET", "_ENOUGH", "_MOST_LINES", "MAX_LINES", "dead rows", "name", "dag", "path"),
    *("sent", "said", "per_week(given) or math.inf"),
}


def _plurals_without_a_count_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            for value, text in zip(node.values, node.values[1:], strict=False):
                if isinstance(value, ast.FormattedValue) and isinstance(text, ast.Constant):
                    said = re.match(" " + _PLURAL, str(text.value))
                    if said and (shown := ast.unparse(value.value)) not in _NEVER_ONE:
                        yield f"{path}:{value.lineno}: {shown}{said[0]}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for said in re.finditer(f"%d ({_PLURAL})", node.value):
                if said[1] not in _NEVER_ONE:
                    yield f"{path}:{node.lineno}: {said[0]}"


def test_whatever_is_counted_in_a_message_is_counted_by_counted() -> None:
    """No f-string and no log has a number before a plural that `counted` has not put there: one would be `1 rows`."""
    root = Path(__file__).parent.parent
    paths = [path for room in ("etl", "models", "dags", "plugins", "stack") for path in (root / room).rglob("*.py")]
    found = [one for path in paths if "node_modules" not in path.parts for one in _plurals_without_a_count_of(path)]
    assert len(paths) > 100
    assert found == []


@given(st.integers(1, 100_000))
def test_a_duration_is_spelled_as_settings_read_it(minutes: int) -> None:
    """A duration shown of feeds.toml can be written into it."""
    duration = timedelta(minutes=minutes)
    assert DURATIONS.validate_python(spell_duration(duration)) == duration


@pytest.mark.parametrize(
    ("minutes", "setting", "age"),
    [
        (0, "0h", "0 min"),
        (1, "1m", "1 min"),
        (60, "1h", "1 h"),
        (90, "90m", "1 h 30 min"),
        (1440, "24h", "1 d"),
        (1500, "25h", "1 d 1 h"),
        (2880, "2d", "2 d"),
        (2881, "2881m", "2 d"),
    ],
)
def test_durations_have_the_units_that_one_expects(minutes: int, setting: str, age: str) -> None:
    """A day is 24h, as the examples have it; an age has its two largest units."""
    assert (spell_duration(timedelta(minutes=minutes)), to_age(timedelta(minutes=minutes))) == (setting, age)
