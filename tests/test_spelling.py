"""Numbers and durations as people read and write them."""

from __future__ import annotations

from datetime import timedelta

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
