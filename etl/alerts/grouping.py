"""Groups of alerts: those of one series, those of one market event, notices of one kind."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from etl.incidents import Scope
from etl.messages import Alert


def series_of(alert: Alert) -> str:
    """Return whose alert it is: the series of an incident; of a notice its kind, and its exchange or what it says."""
    if alert.incident is not None:
        return str(alert.incident.found.series)
    what = alert.exchange or short_hash(alert.identity if alert.notice is None else alert.notice.title)
    return f"pipeline:{alert.kind}:{what}"


def began_at(alert: Alert) -> datetime:
    """Return when the incident began, or the notice happened."""
    return alert.happened_at if alert.incident is None else alert.incident.found.time_range.start


def event_classes(alert: Alert) -> tuple[str, ...]:
    """Return in what ways an incident may be part of a market event.

    Two that share one of them, and begin close to one another, are of one event: both were seen on other exchanges
    too, or they look alike and neither was seen on one venue alone.
    """
    if alert.incident is None or alert.incident.found.scope is Scope.VENUE:
        return ()
    found = alert.incident.found
    return (Scope.MARKET, found.kind) if found.scope is Scope.MARKET else (found.kind,)


def belonging(alerts: Iterable[Alert], same_event: timedelta) -> list[tuple[Alert, ...]]:
    """Return the alerts in groups that belong together, each by id; the group with the first alert first."""
    by_id = {alert.id: alert for alert in sorted(alerts, key=lambda one: one.id)}
    leaders = {number: number for number in by_id}

    def leader(number: int) -> int:
        while leaders[number] != number:
            leaders[number] = leaders[leaders[number]]
            number = leaders[number]
        return number

    for one, other in _links(tuple(by_id.values()), same_event):
        first, second = sorted((leader(one.id), leader(other.id)))
        leaders[second] = first
    groups: dict[int, list[Alert]] = defaultdict(list)
    for number, alert in by_id.items():
        groups[leader(number)].append(alert)
    return [tuple(group) for group in groups.values()]


def short_hash(text: str) -> str:
    """Return what stands for a text: 16 hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _links(alerts: Sequence[Alert], same_event: timedelta) -> Iterator[tuple[Alert, Alert]]:
    """Yield pairs that belong together; who belongs with whom through others follows."""
    by_series: dict[str, list[Alert]] = defaultdict(list)
    by_class: dict[str, list[Alert]] = defaultdict(list)
    for alert in alerts:
        by_series[series_of(alert) if alert.incident is not None else alert.kind].append(alert)
        for name in event_classes(alert):
            by_class[name].append(alert)
    for group in by_series.values():
        yield from pairwise(group)
    for members in by_class.values():
        for one, other in pairwise(sorted(members, key=began_at)):
            if began_at(other) - began_at(one) <= same_event:
                yield one, other
