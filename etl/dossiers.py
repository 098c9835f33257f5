"""All that is known of an incident, for who looks at it: the candles around it, who was told, what became of it."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from etl.incidents import Incident
from etl.series import TimeRange
from etl.warehouse import (
    IncidentChange,
    Telling,
    Warehouse,
    find_incident,
    known_series,
    read_candles,
    read_incident_changes,
    read_tellings,
)

BEFORE, AFTER = 60, 30
"""Slots around an incident whose candles are read: what was usual before it, and what came of it."""


@dataclass(frozen=True, slots=True)
class Dossier:
    """An incident and what belongs to it.

    Attributes:
        around: The stretch that `candles` are of.
        candles: CANDLE_SCHEMA, ascending; what the warehouse holds of that stretch.
        tellings: Its alerts and their messages, the earliest first.
        changes: What became of it, the earliest first.
    """

    incident: Incident
    around: TimeRange
    candles: pa.Table
    tellings: tuple[Telling, ...]
    changes: tuple[IncidentChange, ...]


def open_dossier(warehouse: Warehouse, incident_id: int) -> Dossier:
    """Return what is known of an incident.

    Raises:
        ConfigError: There is none of that number.
        StoreError: The warehouse refuses or went away.
    """
    with warehouse.begin() as connection:
        incident = find_incident(connection, incident_id)
        around = stretch_of(incident)
        series_id = known_series(connection)[incident.found.series]
        return Dossier(
            incident,
            around,
            read_candles(connection, series_id, around),
            tuple(read_tellings(connection, incident_id)),
            tuple(read_incident_changes(connection, incident_id)),
        )


def stretch_of(incident: Incident) -> TimeRange:
    """Return the incident's range with BEFORE slots before it and AFTER slots after it."""
    width, span = incident.found.series.timeframe.delta, incident.found.time_range
    return TimeRange(span.start - BEFORE * width, span.end + AFTER * width)
