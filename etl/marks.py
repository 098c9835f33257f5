"""Marks in a range of a series, for a chart: no more than can be drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from etl.series import Series, TimeRange
from etl.warehouse import (
    AbsenceMark,
    AnomalyMark,
    IncidentMark,
    RevisionMark,
    find_series,
    mark_absences,
    mark_anomalies,
    mark_incidents,
    mark_revisions,
)


@dataclass(frozen=True, slots=True)
class Marks:
    """Marks of a range, each sort ascending in time.

    Attributes:
        anomalies: Those of the highest scores.
        incidents: The gravest ones; none that was withdrawn.
        absences: The longest ones.
        revisions: The candles that were revised most often.
        more: How many are left out, by the names of these; those of which none is are not in it.
    """

    anomalies: Sequence[AnomalyMark]
    incidents: Sequence[IncidentMark]
    absences: Sequence[AbsenceMark]
    revisions: Sequence[RevisionMark]
    more: dict[str, int]


def read_marks(connection: Connection, series: Series, time_range: TimeRange, most: int = 500) -> Marks:
    """Return what stands out in a range, at most so many of each sort.

    Raises:
        ConfigError: The series was never loaded.
    """
    where = (connection, find_series(connection, series), time_range, most)
    anomalies, more_anomalies = mark_anomalies(*where)
    incidents, more_incidents = mark_incidents(*where)
    absences, more_absences = mark_absences(*where)
    revisions, more_revisions = mark_revisions(*where)
    more = {
        "anomalies": more_anomalies,
        "incidents": more_incidents,
        "absences": more_absences,
        "revisions": more_revisions,
    }
    return Marks(
        anomalies=anomalies,
        incidents=incidents,
        absences=absences,
        revisions=revisions,
        more={name: count for name, count in more.items() if count},
    )
