"""Incidents in the warehouse: found, found again, changed, closed; what people said of them; and how it came to that.

Whoever finds incidents of a series holds it by `lock_scores`. Each change is on record.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from etl.incidents import Found, Incident, IncidentState
from etl.series import Series
from etl.warehouse.holding import ensure_series
from etl.warehouse.incident_lists import find_incident
from etl.warehouse.incident_tables import incident_changes, incidents
from etl.warehouse.tables import to_sql_range

_LOCK_SPACE = 0x43485343  # apart from the locks of loads: candles may be stored while others are scored
_ACKNOWLEDGED = "acknowledged"
_JUDGED = {True: "false alarm", False: "true alarm", None: "judgement taken back"}
SAID = frozenset({_ACKNOWLEDGED, *_JUDGED.values()})
"""The changes of an incident that are what people said of it."""


@dataclass(frozen=True, slots=True)
class IncidentChange:
    """Change of an incident, and its time."""

    change: str
    detail: str
    run: str
    changed_at: datetime


def lock_scores(connection: Connection, series: Series) -> int:
    """Wait until nobody else changes scores and incidents of a series, and keep others out until the transaction ends.

    Returns:
        The number of the series.
    """
    series_id = ensure_series(connection, series)
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK_SPACE, series_id)))
    return series_id


def open_incident(connection: Connection, series_id: int, found: Found, run: str, *, is_history: bool) -> int:
    """Write a new incident; return its number."""
    state, reason = _state_of(found, is_new=True)
    values = {**_values(found), "state": state.value, "reason": reason, "is_history": is_history}
    written = insert(incidents).values(series_id=series_id, **values).returning(incidents.c.id)
    number = int(connection.execute(written).scalar_one())
    _log(connection, number, "opened", _gist(found), run)
    if state is IncidentState.CLOSED:
        _log(connection, number, "closed", reason, run)
    return number


def update_incident(connection: Connection, known: Incident, found: Found, run: str, *, is_history: bool) -> bool:
    """Make an incident what it was found to be now; nothing is written if it is that already.

    Args:
        is_history: Whether what was found now is; an incident that is news stays news.

    Returns:
        Whether anything has changed.
    """
    state, reason = _state_of(found, is_new=False)
    is_history = is_history and known.is_history
    if found == known.found and is_history == known.is_history and known.state is not IncidentState.WITHDRAWN:
        return False
    changes = {**_values(found), "state": state.value, "reason": reason, "is_history": is_history}
    own = incidents.c
    connection.execute(update(incidents).where(own.id == known.id).values(**changes, updated_at=_now()))
    _log(connection, known.id, state.value, _difference(known.found, found), run)
    return True


def withdraw_incident(connection: Connection, known: Incident, reason: str, run: str) -> bool:
    """Note that there is no such incident after all; return whether that is news."""
    if known.state is IncidentState.WITHDRAWN:
        return False
    changes = {"state": IncidentState.WITHDRAWN.value, "reason": reason, "updated_at": _now()}
    connection.execute(update(incidents).where(incidents.c.id == known.id).values(**changes))
    _log(connection, known.id, "withdrawn", reason, run)
    return True


def acknowledge(connection: Connection, incident_id: int, note: str, run: str) -> Incident:
    """Note that a person has seen an incident, as it is by now: of one that becomes more severe people are told again.

    Raises:
        ConfigError: There is none of that number.
    """
    known = find_incident(connection, incident_id)
    own = incidents.c
    changes = {"acknowledged_at": func.coalesce(own.acknowledged_at, _now()), "note": note or known.note}
    connection.execute(update(incidents).where(own.id == incident_id).values(**changes))
    _log(connection, incident_id, _ACKNOWLEDGED, note, run)
    return find_incident(connection, incident_id)


def judge_incident(connection: Connection, incident_id: int, note: str, run: str, *, is_false: bool | None) -> Incident:
    """Note what a person says of an incident: a false alarm, a true one, or (None) nothing any more.

    Raises:
        ConfigError: There is none of that number.
    """
    known = find_incident(connection, incident_id)
    own = incidents.c
    changes = {"is_false": is_false, "note": note or known.note}
    acknowledged = {"acknowledged_at": func.coalesce(own.acknowledged_at, _now())}
    connection.execute(update(incidents).where(own.id == incident_id).values(**changes, **acknowledged))
    _log(connection, incident_id, _JUDGED[is_false], note, run)
    return find_incident(connection, incident_id)


def read_incident_changes(connection: Connection, incident_id: int) -> list[IncidentChange]:
    """Return what became of an incident, the earliest first."""
    own = incident_changes.c
    rows = connection.execute(select(incident_changes).where(own.incident_id == incident_id).order_by(own.id))
    return [IncidentChange(row.change, row.detail, row.run, row.changed_at) for row in rows]


def log_incident_change(connection: Connection, incident_id: int, change: str, detail: str, run: str) -> None:
    """Put on record what became of an incident."""
    _log(connection, incident_id, change, detail, run)


def _state_of(found: Found, *, is_new: bool) -> tuple[IncidentState, str]:
    if found.is_over:
        return IncidentState.CLOSED, "over: nothing strange came after it"
    return (IncidentState.OPEN if is_new else IncidentState.UPDATED), "it may go on"


def _gist(found: Found) -> str:
    return f"{found.kind} ({found.scope}, {found.severity}) {found.time_range}"


def _difference(before: Found, after: Found) -> str:
    names = ("time_range", "peak", "kind", "scope", "severity", "is_over", "model_id", "score", "evidence")
    changed = [name for name in names if getattr(before, name) != getattr(after, name)]
    return f"{_gist(after)}; changed: {', '.join(changed) or 'nothing of it'}"


def _log(connection: Connection, incident_id: int, change: str, detail: str, run: str) -> None:
    values = {"incident_id": incident_id, "change": change, "detail": detail, "run": run}
    connection.execute(insert(incident_changes).values(values))


def _now() -> Any:
    return func.clock_timestamp()


def _values(found: Found) -> dict[str, Any]:
    return {
        "detector": found.detector.value,
        "span": to_sql_range(found.time_range),
        "peak": found.peak,
        "kind": found.kind.value,
        "scope": found.scope.value,
        "severity": found.severity.value,
        "score": found.score,
        "once_in_days": found.once_in_days,
        "model_id": found.model_id,
        "evidence": found.evidence.to_json(),
    }
