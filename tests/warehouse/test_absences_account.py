"""The account of absences, held against a slot-by-slot account in a dictionary."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from etl.findings import Finding, Findings
from etl.probing import PAUSES, next_probe
from etl.schema import UNLOADED, AbsenceKind
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import (
    Asking,
    ensure_series,
    overlay,
    read_absences,
    record_not_requested,
    record_unfetched,
    record_verdicts,
)
from etl.warehouse.recording import KEPT, record_absences
from tests.markets import START

WIDTH = 24
ORIGIN_MS = to_ms(START)
DAY = timedelta(days=1)
BTC = Series("binance", "BTC/USDT", Timeframe.M1)
LOADED = [AbsenceKind.PENDING, AbsenceKind.PENDING, AbsenceKind.REFUSED, AbsenceKind.NOT_LISTED]
VERDICTS = [AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED]

ranges = st.tuples(st.integers(0, WIDTH - 1), st.integers(1, WIDTH)).filter(lambda pair: pair[0] < pair[1])
NOTHING: list[AbsenceKind | None] = [None] * WIDTH
steps = st.one_of(
    st.tuples(st.just("load"), ranges, st.lists(st.none() | st.sampled_from(LOADED), min_size=WIDTH, max_size=WIDTH)),
    st.tuples(
        st.just("judge"), ranges, st.lists(st.none() | st.sampled_from(VERDICTS), min_size=WIDTH, max_size=WIDTH)
    ),
    st.tuples(st.sampled_from(["miss", "skip"]), ranges, st.just(NOTHING)),
)


def _span(first: int, end: int) -> TimeRange:
    return TimeRange.from_ms(ORIGIN_MS + first * 60_000, ORIGIN_MS + end * 60_000)


def _findings(kinds: list[AbsenceKind | None], first: int, end: int) -> list[Finding]:
    found, slot = [], first
    for kind, group in itertools.groupby(kinds[first:end]):
        count = len(list(group))
        if kind is not None:
            found.append(Finding(_span(slot, slot + count), kind, f"said to be {kind}"))
        slot += count
    return found


@dataclass
class Account:
    """The same account, a slot at a time.

    Attributes:
        changes: Slots whose kind was another one, or that ceased to be absent.
    """

    kinds: dict[int, AbsenceKind] = field(default_factory=dict)
    changes: int = 0

    def take(self, what: str, slots: range, said: list[AbsenceKind | None]) -> None:
        """Do what a step of a history does."""
        before = dict(self.kinds)
        for slot in slots:
            getattr(self, what)(slot, said[slot])
        self.changes += sum(kind is not self.kinds.get(slot) for slot, kind in before.items())

    def load(self, slot: int, said: AbsenceKind | None) -> None:
        """Say what a load found; a silence that was judged stays what it is."""
        old = self.kinds.pop(slot, None)
        if said is not None:
            self.kinds[slot] = old if old in KEPT and said is AbsenceKind.PENDING else said

    def judge(self, slot: int, said: AbsenceKind | None) -> None:
        """Say why it is silent, of what was asked for and is absent."""
        if said is not None and self.kinds.get(slot, AbsenceKind.UNFETCHED) not in UNLOADED:
            self.kinds[slot] = said

    def miss(self, slot: int, said: AbsenceKind | None) -> None:
        """Say that a fetch failed, if nothing is said yet but that no run has requested it."""
        if self.kinds.get(slot, AbsenceKind.NOT_REQUESTED) is AbsenceKind.NOT_REQUESTED:
            self.kinds[slot] = AbsenceKind.UNFETCHED

    def skip(self, slot: int, said: AbsenceKind | None) -> None:
        """Say that no run has requested it, if nothing is said yet."""
        self.kinds.setdefault(slot, AbsenceKind.NOT_REQUESTED)


def _record(connection: Connection, series_id: int, what: str, slots: range, said: list[AbsenceKind | None]) -> None:
    span = _span(slots.start, slots.stop)
    findings = _findings(said, slots.start, slots.stop)
    if what == "load":
        record_absences(connection, series_id, BTC.timeframe, span, findings, Asking(START + 3 * DAY, DAY, "load"))
    elif what == "judge":
        record_verdicts(connection, series_id, BTC.timeframe, Findings.of(findings), DAY, "judge")
    elif what == "miss":
        record_unfetched(connection, series_id, BTC.timeframe, span, "said to be unfetched", START)
    else:
        record_not_requested(connection, series_id, BTC.timeframe, span, "said to be not_requested")


@given(history=st.lists(steps, max_size=6))
@examples(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_slot_has_the_kind_that_was_said_last(
    history: list[tuple[str, tuple[int, int], list[AbsenceKind | None]]], stores: Stores
) -> None:
    """Loads replace what they looked at, verdicts judge what is absent, and every change of kind is kept."""
    account = Account()
    with pytest.raises(ZeroDivisionError), stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        for what, (first, end), said in history:
            _record(connection, series_id, what, range(first, end), said)
            account.take(what, range(first, end), said)
        recorded = read_absences(connection, series_id)
        kept = connection.execute(text("SELECT span FROM absence_changes")).scalars().all()
        assert {
            (at - ORIGIN_MS) // 60_000: absence.kind
            for absence in recorded
            for at in range(absence.span.start_ms, absence.span.end_ms, 60_000)
        } == account.kinds
        assert sum((span.upper - span.lower) // BTC.timeframe.delta for span in kept) == account.changes
        for absence in recorded:
            assert absence.evidence == f"said to be {absence.kind}"
            if absence.asked_at is not None:
                due = next_probe(absence.kind, absence.probes, absence.span, absence.asked_at, DAY)
                assert absence.next_probe == due
        for one, other in itertools.pairwise(recorded):
            assert one.span.end < other.span.start or one.kind is not other.kind, "neighbours of one kind are one"
        raise ZeroDivisionError  # leave nothing for the next example


@pytest.mark.parametrize("count", [1, 500])
def test_many_absences_take_as_few_statements_as_one(
    count: int, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded, judged and loaded again, with each bit in its place: what they cost does not grow by round trips."""
    sent: list[object] = []
    execute = psycopg.Cursor.execute

    def counted(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(query)
        return execute(cursor, query, *args, **kwargs)

    def many(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a statement for each row")

    monkeypatch.setattr(psycopg.Cursor, "execute", counted)
    monkeypatch.setattr(psycopg.Cursor, "executemany", many)
    found = [Finding(_span(3 * n, 3 * n + 1), AbsenceKind.PENDING, f'it\'s "{n % 7}", {{said}}') for n in range(count)]
    verdicts = [Finding(one.span, AbsenceKind.NO_TRADES, f"of {n % 5}, judged") for n, one in enumerate(found)]
    asking = Asking(START + 30 * DAY + timedelta(microseconds=7), DAY, "load")
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        sent.clear()
        record_absences(connection, series_id, BTC.timeframe, _span(0, 3 * count), found, asking)
        pending = read_absences(connection, series_id)
        assert [(one.span, one.kind, one.evidence) for one in pending] == [
            (one.span, one.kind, one.evidence) for one in found
        ]
        assert {(one.asked_at, one.probes, one.next_probe) for one in pending} == {(asking.asked_at, 0, None)}
        changed = record_verdicts(connection, series_id, BTC.timeframe, Findings.of(verdicts), DAY, "judge")
        assert changed == [one.span for one in verdicts]
        judged = read_absences(connection, series_id)
        assert [(one.kind, one.evidence) for one in judged] == [(one.kind, one.evidence) for one in verdicts]
        assert [one.first_seen for one in judged] == [one.first_seen for one in pending]
        record_absences(connection, series_id, BTC.timeframe, _span(0, 3 * count), [], asking)
        assert read_absences(connection, series_id) == []
        assert len(sent) <= 12


@given(kind=st.sampled_from(AbsenceKind), probes=st.integers(0, 60))
def test_pauses_grow_and_end(kind: AbsenceKind, probes: int) -> None:
    """Each pause is at least as long as the one before, and after the last an absence is left alone."""
    pauses = PAUSES[kind]
    assert list(pauses) == sorted(pauses)
    due = next_probe(kind, probes, _span(0, 1), START + 2 * DAY, DAY)
    assert due == (START + 2 * DAY + pauses[probes] if probes < len(pauses) else None)


cuts = st.lists(st.integers(0, 40), max_size=10, unique=True).map(sorted)


@given(ones=cuts, others=cuts)
def test_an_overlay_covers_just_what_either_covers(ones: list[int], others: list[int]) -> None:
    """Each minute of either list comes once, with whose it is in each."""
    lists = [
        [Finding(_span(a, b), AbsenceKind.OUTAGE, "") for a, b in zip(each[::2], each[1::2], strict=False)]
        for each in (ones, others)
    ]
    seen: dict[int, tuple[Finding | None, Finding | None]] = {}
    for span, one, other in overlay(*lists):
        for at in range(span.start_ms, span.end_ms, 60_000):
            assert at not in seen
            seen[at] = (one, other)
    for at in range(ORIGIN_MS, ORIGIN_MS + 41 * 60_000, 60_000):
        moment = from_ms(at)
        owners = tuple(next((f for f in each if f.span.start <= moment < f.span.end), None) for each in lists)
        assert seen.get(at, (None, None)) == owners
