"""Incidents that were found, held against those that are known: which are the same, which are new, which are none.

An incident is the same one as long as it overlaps: it keeps its number, whatever becomes of its edges, so that a rerun
finds what it has found before, and what people have said of it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from etl.incidents import Found, Incident, IncidentState
from etl.series import clip
from etl.warehouse import open_incident, put_incident_alert, update_incident, withdraw_incident

_NOTHING = "its candles were looked at again, and nothing in it is strange any more"


@dataclass(frozen=True, slots=True)
class Tally:
    """Changes of incidents, counted."""

    opened: int = 0
    changed: int = 0
    withdrawn: int = 0
    alerts: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.opened + other.opened,
            self.changed + other.changed,
            self.withdrawn + other.withdrawn,
            self.alerts + other.alerts,
        )


@dataclass(frozen=True, slots=True)
class News:
    """News for people.

    Attributes:
        is_new: Whether what was found is news: came with candles that are neither history nor a repair.
        is_recent: Whether it is recent enough to be told of, if people were told of it before.
    """

    is_new: Callable[[Found], bool]
    is_recent: Callable[[Found], bool]


def reconcile(
    connection: Connection, series_id: int, known: Sequence[Incident], found: Sequence[Found], news: News, run: str
) -> Tally:
    """Make the known incidents of one detector in a range what was found in it; alerts go with what is news.

    Args:
        known: All that overlap the range, or touch it, with numbers ascending.
        found: All of it, ascending.
    """
    tally, left = Tally(), list(known)
    for one in found:
        same = sorted(
            (each for each in left if clip(each.found.time_range, one.time_range) is not None),
            key=lambda each: (each.state is IncidentState.WITHDRAWN, each.id),
        )
        if not same:
            tally += _open(connection, series_id, one, news, run)
            continue
        first, *parts = same
        tally += _update(connection, first, one, news, run)
        for part in parts:
            tally += _withdraw(connection, part, f"it is part of incident {first.id}", run)
        left = [each for each in left if each not in same]
    for each in left:
        tally += _withdraw(connection, each, _NOTHING, run)
    return tally


def _open(connection: Connection, series_id: int, found: Found, news: News, run: str) -> Tally:
    is_news = news.is_new(found)
    number = open_incident(connection, series_id, found, run, is_history=not is_news)
    return Tally(opened=1, alerts=int(is_news and put_incident_alert(connection, number, found)))


def _update(connection: Connection, known: Incident, found: Found, news: News, run: str) -> Tally:
    is_news = news.is_new(found)
    is_changed = update_incident(connection, known, found, run, is_history=not is_news)
    was_told = not known.is_history and known.state is not IncidentState.WITHDRAWN
    is_worse = found.severity.rank > known.found.severity.rank and news.is_recent(found)
    told = (is_worse if was_told else is_news) and put_incident_alert(connection, known.id, found)
    return Tally(changed=int(is_changed), alerts=int(told))


def _withdraw(connection: Connection, known: Incident, reason: str, run: str) -> Tally:
    return Tally(withdrawn=int(withdraw_incident(connection, known, reason, run)))
