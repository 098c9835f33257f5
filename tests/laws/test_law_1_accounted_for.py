"""Law 1, accounted for: candles expected = candles stored + candles absent, for every loaded range."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from etl.archive import Archive
from etl.audit import audit, is_sound
from etl.extract import RawPartition
from etl.ingest import clean_pages, load
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import Load, known_series, read_absences
from tests.markets import START, kline, put_pages

MINUTE_MS = 60_000
WIDTH = 180
ORIGIN_MS = to_ms(START)
DEATHS: dict[str, tuple[type, str, str]] = {
    "before the archive": (Archive, "write", "before"),
    "after the archive": (Archive, "write", "after"),
    "inside the transaction": (Load, "_quarantine", "before"),
    "after the checkpoint": (Load, "_checkpoint", "after"),
    "after the commit": (RawPartition, "fold", "before"),
    "after folding": (RawPartition, "fold", "after"),
}
DEFECTS = ("sound", "sound", "sound", "missing", "repeated", "negative", "null", "conflicting")

_number = itertools.count()
minutes = st.integers(0, WIDTH - 1)
spans = st.tuples(minutes, minutes).filter(lambda pair: pair[0] != pair[1]).map(sorted)
deaths = st.sampled_from([None, None, *DEATHS])


class Died(BaseException):
    """Death of a process that is killed: nothing that it may catch."""


@contextmanager
def dying(death: str | None) -> Iterator[None]:
    """Let what is done inside die at a step."""
    if death is None:
        yield
        return
    owner, name, when = DEATHS[death]
    step = getattr(owner, name)

    def die(*args: object, **kwargs: object) -> None:
        if when == "after":
            step(*args, **kwargs)
        raise Died

    with patch.object(owner, name, die):
        yield


@given(
    defects=st.lists(st.sampled_from(DEFECTS), min_size=WIDTH, max_size=WIDTH),
    loads=st.lists(st.tuples(spans, deaths), min_size=1, max_size=5),
)
@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_expected_is_stored_or_absent(
    defects: list[str], loads: list[tuple[list[int], str | None]], stores: Stores
) -> None:
    """Whatever a market lacks or breaks, in whatever order overlapping ranges are loaded, and wherever loads die."""
    series = Series("binance", f"C{next(_number)}/USDT", Timeframe.M1)
    patient = replace(stores, settings=stores.settings.model_copy(update={"max_quarantined_pct": 100.0}))
    rows = [row for minute, defect in enumerate(defects) for row in _rows(minute, defect)]
    loaded: set[int] = set()
    between = range(min(first for (first, _), _ in loads), max(last for (_, last), _ in loads))
    for (first, last), death in loads:
        span = TimeRange.from_ms(ORIGIN_MS + first * MINUTE_MS, ORIGIN_MS + last * MINUTE_MS)
        partition = Partition(series, span)
        put_pages(stores.raw, series, span, [row for row in rows if span.start_ms <= row[0] < span.end_ms], limit=1000)
        clean_pages(patient, partition)
        with pytest.raises(Died) if death else nullcontext(), dying(death):
            load(patient, partition, "test")
        assert is_sound(audit(stores, [series])) or death, "what a load that died leaves is mended by running it again"
        load(patient, partition, "test")
        loaded.update(range(first, last))

    (account,) = audit(stores, [series])
    held = {minute for minute in loaded if defects[minute] in {"sound", "repeated", "conflicting"}}
    assert is_sound([account]), account.problems
    assert account.expected == len(between)
    assert account.stored == len(held)
    assert account.absent.get("not_requested", 0) == len(set(between) - loaded)
    kinds = _recorded_absences(stores, series)
    assert set(kinds) == set(between) - held
    assert {minute for minute, kind in kinds.items() if kind == "refused"} == {
        minute for minute in loaded if defects[minute] in {"negative", "null"}
    }


def _rows(minute: int, defect: str) -> list[list[object]]:
    at = ORIGIN_MS + minute * MINUTE_MS
    match defect:
        case "missing":
            return []
        case "repeated":
            return [kline(at), kline(at)]
        case "negative":
            return [kline(at, low="-1")]
        case "null":
            return [kline(at, close=None)]
        case "conflicting":
            return [kline(at, 90.0), kline(at, 100.0)]
    return [kline(at)]


def _recorded_absences(stores: Stores, series: Series) -> dict[int, str]:
    """Return the kind of each absent minute; that neighbours of one kind are one is asserted on the way."""
    with stores.warehouse.begin() as connection:
        recorded = read_absences(connection, known_series(connection)[series])
    for one, other in itertools.pairwise(recorded):
        assert one.span.end < other.span.start or one.evidence != other.evidence, "neighbours are one absence"
    return {
        (at - ORIGIN_MS) // MINUTE_MS: absence.kind.value
        for absence in recorded
        for at in range(absence.span.start_ms, absence.span.end_ms, MINUTE_MS)
    }
