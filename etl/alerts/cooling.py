"""Cool-down of a channel: it was just told of the same series, or of the same market event."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from etl.alerting import Alerting
from etl.alerts.grouping import began_at, event_classes, series_of
from etl.alerts.past import Past, Told, told_on
from etl.incidents import Severity
from etl.messages import Alert

_Known = tuple[Severity, Told]
_Key = TypeVar("_Key")


class Memory:
    """Messages to a channel within the cool-down. Escalations do not count, since they may not be sent."""

    def __init__(self, past: Past, channel: str, alerting: Alerting, now: datetime) -> None:
        self._same_event = alerting.same_event
        self._series: dict[str, _Known] = {}
        events: dict[str, dict[datetime, _Known]] = defaultdict(dict)
        for told in sorted(told_on(past, channel), key=lambda one: one.id):
            if not told.cools_down or told.created_at + alerting.cool_down <= now:
                continue
            for alert in told.alerts:
                known = (alert.severity, told)
                _keep_worst(self._series, series_of(alert), known)
                for name in event_classes(alert):
                    _keep_worst(events[name], began_at(alert), known)
        self._events = {name: sorted(known.items(), key=lambda one: one[0]) for name, known in events.items()}

    def told_of(self, alert: Alert) -> Told | None:
        """Return the message that told of the alert's series or event already, as severely; None if none did."""
        known = [self._series[key]] if (key := series_of(alert)) in self._series else []
        for name in event_classes(alert):
            known += _near(self._events.get(name, ()), began_at(alert), self._same_event)
        enough = [told for severity, told in known if severity.rank >= alert.severity.rank]
        return max(enough, key=lambda told: told.id, default=None)


def _keep_worst(known: dict[_Key, _Known], key: _Key, one: _Known) -> None:
    if key not in known or known[key][0].rank <= one[0].rank:
        known[key] = one


def _near(known: Sequence[tuple[datetime, _Known]], moment: datetime, reach: timedelta) -> list[_Known]:
    first = bisect_left(known, moment - reach, key=lambda one: one[0])
    last = bisect_right(known, moment + reach, key=lambda one: one[0])
    return [one for _, one in known[first:last]]
