"""Rows of a file that state no open time: the order of the rows tells of which slots they may be, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.errors import ConfigError
from etl.extract import look_through
from etl.extract.files import neighbours, survey
from etl.extract.files.neighbours import FileRow, Neighbours
from etl.extract.files.times import Undated
from etl.series import Series, TimeRange
from tests.extract.test_candle_files import written

MINUTES = Series.parse("coinbase:BTC/USD:1m")
START_MS = 1_704_103_200_000  # 2024-01-01 10:00
HEADER = "open_time,open,high,low,close,volume"


def rows_of(slots: list[int | None]) -> list[FileRow]:
    """Return rows that open at some minutes; None states no time."""
    return [
        (n, Undated("torn") if slot is None else START_MS + slot * 60_000, f"line {n}") for n, slot in enumerate(slots)
    ]


@given(kept=st.lists(st.sampled_from(["row", "torn", "none"]), min_size=3, max_size=40), is_descending=st.booleans())
def test_a_row_without_a_time_is_of_a_slot_that_it_left(kept: list[str], is_descending: bool) -> None:
    """Whichever rows of a sorted file are torn or left out: each torn one's slots hold the true one, or it has none."""
    truth = [(slot, fate) for slot, fate in enumerate(["row", *kept, "row"]) if fate != "none"]
    truth = truth[::-1] if is_descending else truth
    rows = rows_of([None if fate == "torn" else slot for slot, fate in truth])
    told = list(Neighbours(60_000, is_descending).tell(rows))
    assert [(number, line) for number, _, line in told] == [(number, line) for number, _, line in rows]
    for (slot, fate), (_, opened, _) in zip(truth, told, strict=True):
        at_ms = START_MS + slot * 60_000
        if fate == "row":
            assert opened == at_ms
        else:
            assert isinstance(opened, Undated)
            assert opened.between_ms is not None
            assert opened.between_ms[0] <= at_ms < opened.between_ms[1]
            assert opened.readings_ms in {(), (at_ms,)}
            assert not opened.is_doubtful


@pytest.mark.parametrize("is_twice", [True, False])
@pytest.mark.parametrize("is_descending", [True, False])
def test_rows_of_two_times_open_where_they_fill_the_free_slots(is_descending: bool, is_twice: bool) -> None:
    """Beside a torn one as well; a time that no clock shows, and one that is of other slots, tell of none."""
    at_ms = [START_MS + n * 60_000 for n in range(5)]
    in_doubt = [Undated("twice", (at_ms[n], at_ms[n] + 3_600_000), is_twice) for n in range(5)]

    def tell(*opened: int | Undated) -> list[int | Undated | None]:
        rows = [(n, one, "a line") for n, one in enumerate(opened[::-1] if is_descending else opened)]
        told = [one for _, one, _ in Neighbours(60_000, is_descending).tell(rows)]
        return told[::-1] if is_descending else told

    told = tell(at_ms[0], in_doubt[1], Undated("torn"), in_doubt[3], at_ms[4])
    torn = told.pop(2)
    assert isinstance(torn, Undated)
    assert torn.readings_ms == ((at_ms[2],) if is_twice else ())
    assert told == [at_ms[0], *(at_ms[1:4:2] if is_twice else in_doubt[1:4:2]), at_ms[4]]
    for undecided in ([in_doubt[3], in_doubt[2]], [in_doubt[1], in_doubt[2], in_doubt[2]], [in_doubt[1]]):
        assert tell(at_ms[0], *undecided, at_ms[3]) == [at_ms[0], *undecided, at_ms[3]]


def test_rows_out_of_order_and_copies_of_the_header_tell_nothing() -> None:
    """Nor do the first row and the last one: beyond them a file says nothing."""
    rows = rows_of([None, 5, None, 3, None, 3, None, 4, None])
    assert list(Neighbours(60_000, is_descending=False).tell(rows)) == rows
    copies = [(n, opened, HEADER if isinstance(opened, Undated) else line) for n, opened, line in rows_of([0, None, 2])]
    assert list(Neighbours(60_000, False, {HEADER}).tell(copies)) == copies


def test_more_rows_than_are_kept_in_memory_leave_their_slots_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is placed, and the slots between are not known to be empty."""
    monkeypatch.setattr(neighbours, "_MOST_WAITING", 3)
    told = list(Neighbours(60_000, is_descending=False).tell(rows_of([0, None, None, None, None, 5])))
    between = [opened.between_ms for _, opened, _ in told if isinstance(opened, Undated)]
    assert between == [None, *[(START_MS + 60_000, START_MS + 5 * 60_000)] * 3]
    assert not any(opened.readings_ms for _, opened, _ in told if isinstance(opened, Undated))


def line(minute: int) -> str:
    """Return a sound line."""
    return f"{START_MS + minute * 60_000},100,101,99,100,5"


def test_a_slot_that_another_row_is_of_is_spoken_of(tmp_path: Path) -> None:
    """A row out of its order, at the end of a sorted file, fills one of two slots that a torn row left open."""
    content = "\n".join([HEADER, *map(line, range(10)), "torn", *map(line, range(12, 20)), line(11)])
    file = look_through(written(tmp_path / "a.csv", content, START_MS + 10**9), MINUTES)
    minutes = [(0, 10), (11, 20)]
    assert file.stretches == tuple(
        TimeRange.from_ms(START_MS + start * 60_000, START_MS + end * 60_000) for start, end in minutes
    )
    assert file.open_slots == 1


def test_too_many_places_that_are_left_open_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them would cut the file into one more load."""
    monkeypatch.setattr(survey, "MOST_OPEN", 2)
    rows = [f"torn {n}" if n % 5 == 3 else line(n) for n in range(18) if n % 5 != 4]
    path = written(tmp_path / "a.csv", "\n".join([HEADER, *rows]), START_MS + 10**9)
    with pytest.raises(
        ConfigError, match="at more than 2 places, the first: the open time 'torn 3' cannot .*; mend or"
    ):
        look_through(path, MINUTES)
