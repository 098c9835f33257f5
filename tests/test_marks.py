"""Marks in a range: the gravest and longest of it, in order of time, and how much more there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from etl.errors import ConfigError
from etl.findings import Finding
from etl.incidents import Detector, Severity
from etl.marks import read_marks
from etl.schema import AbsenceKind
from etl.series import Series, TimeRange
from etl.stores import Stores
from etl.timeframe import Timeframe, to_ms
from etl.warehouse import (
    AbsenceMark,
    AnomalyMark,
    Asking,
    RevisionMark,
    ensure_series,
    record_absences,
    withdraw_incident,
)
from etl.warehouse.incident_lists import find_incident
from etl.warehouse.scorings import Anomaly, replace_anomalies
from tests.conftest import BTC
from tests.made_incidents import found, have

FIRST = datetime(2024, 5, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = TimeRange(FIRST, FIRST + timedelta(days=1))
_MODEL = """
INSERT INTO models (timeframe, scope, version, scorer, state, learned, held_out, as_of, data_hash, metrics,
    environment, reason, run, artifact_sha256, artifact_bytes)
VALUES ('1m', 'all', 1, 'lstm', 'retired', 'empty', 'empty', now(), '', '{}', '{}', '', 'test', '', 0) RETURNING id
"""
_REVISION = """
INSERT INTO candle_revisions (series_id, revision, open_time, open, high, low, close, volume, flags, source, run)
VALUES (:series_id, :revision, :at, 1, 1, 1, 1, 1, 0, 1, 'test')
"""


def _at(minute: float) -> datetime:
    return FIRST + minute * MINUTE


def _span(first: float, end: float) -> TimeRange:
    return TimeRange(_at(first), _at(end))


def _s(minute: float) -> int:
    return to_ms(_at(minute)) // 1000


def _mark_anomalies(connection: Connection, series_id: int, scores: dict[int, float]) -> None:
    model_id = connection.execute(text(_MODEL)).scalar_one()
    anomalies = [Anomaly(_at(minute), model_id, score, 3.0, {"return": 1.0}) for minute, score in scores.items()]
    replace_anomalies(connection, series_id, DAY, anomalies, model_id=model_id, is_hindsight=False, run="test")


def test_what_stands_out_is_marked(stores: Stores) -> None:
    """Of the range alone, the gravest of each sort, ascending in time; an anomaly names its incident."""
    ids = {
        minute: have(stores.warehouse, found(at=_at(minute), severity=severity, **more))
        for minute, severity, more in (
            (-300, Severity.CRITICAL, {}),
            (-2, Severity.LOW, {}),  # its last candle closes within the range
            (100, Severity.LOW, {"score": 9.0}),
            (200, Severity.HIGH, {"score": 4.0}),
            (300, Severity.HIGH, {"score": 5.0, "detector": Detector.SPREAD}),
            (400, Severity.CRITICAL, {}),
        )
    }
    with stores.warehouse.begin() as connection:
        series_id = ensure_series(connection, BTC)
        withdraw_incident(connection, find_incident(connection, ids[400]), "it was none", "test")
        _mark_anomalies(connection, series_id, {101: 5.0, 200: 4.0, 300: 7.0, 401: 3.5, 500: 6.0})
        for minute, count in ((10, 1), (11, 3), (12, 2), (13, 1)):
            for revision in range(count):
                values = {"series_id": series_id, "revision": revision + 1, "at": _at(minute)}
                connection.execute(text(_REVISION), values)
        findings = [
            Finding(_span(first, end), AbsenceKind.REFUSED, "")
            for first, end in ((-9, -5), (-3, 2), (600, 610), (700, 701), (800, 803))
        ]
        asking = Asking(_at(9999), timedelta(days=1), "test")
        record_absences(connection, series_id, Timeframe.M1, _span(-9, 900), findings, asking)

        marks = read_marks(connection, BTC, DAY)
        assert marks.anomalies == [
            AnomalyMark(_s(101), 5.0, ids[100]),
            AnomalyMark(_s(200), 4.0, ids[200]),
            AnomalyMark(_s(300), 7.0, None),
            AnomalyMark(_s(401), 3.5, None),
            AnomalyMark(_s(500), 6.0, None),
        ], "no model has found a spread, and of what was withdrawn nobody is told"
        assert [one.id for one in marks.incidents] == [ids[-2], ids[100], ids[200], ids[300]]
        assert [(one.start, one.end) for one in marks.absences] == [
            (_at(first), _at(end)) for first, end in ((-3, 2), (600, 610), (700, 701), (800, 803))
        ]
        assert marks.revisions[1] == RevisionMark(_s(11), 3)
        assert marks.more == {}

        few = read_marks(connection, BTC, DAY, 2)
        assert [one.score for one in few.anomalies] == [7.0, 6.0]
        assert [one.id for one in few.incidents] == [ids[200], ids[300]], "by severity, then by score"
        kind = AbsenceKind.REFUSED
        assert few.absences == [AbsenceMark(_at(-3), _at(2), kind), AbsenceMark(_at(600), _at(610), kind)]
        assert few.revisions == [RevisionMark(_s(11), 3), RevisionMark(_s(12), 2)]
        assert few.more == {"anomalies": 3, "incidents": 2, "absences": 2, "revisions": 2}


def test_where_nothing_stands_out_nothing_is_marked(stores: Stores) -> None:
    """Nor is anything of a series that was never loaded, which is said."""
    have(stores.warehouse, found(at=FIRST))
    with stores.warehouse.begin() as connection:
        marks = read_marks(connection, BTC, _span(500, 600))
        assert not any((marks.anomalies, marks.incidents, marks.absences, marks.revisions, marks.more))
        with pytest.raises(ConfigError, match="never loaded"):
            read_marks(connection, Series.parse("kraken:DOGE/EUR:1h"), DAY)
