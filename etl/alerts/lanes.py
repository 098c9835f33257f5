"""Channels of an alert by the routes of alerts.toml. `routing` decides when it is told, and whether again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from etl.alerting import Alerting, Route
from etl.alerts.past import Decided, Past, told_on, untold
from etl.incidents import IncidentState
from etl.messages import Alert, PipelineKind

DEAD_CHANNEL_PREFIX = "channel:"
"""The identity of a notice of a dead channel: this, the channel's name, a colon, and since when."""
_AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """A channel; and for how long nobody may have acknowledged what it is told of, zero if it is told at once."""

    channel: str
    unacknowledged_for: timedelta = _AT_ONCE

    @property
    def is_escalation(self) -> bool:
        """True if it is told only of what nobody has acknowledged."""
        return self.unacknowledged_for > _AT_ONCE


def why_silent(alert: Alert) -> str:
    """Return why nobody is to be told of an alert, whatever alerts.toml says; empty if there is no such reason."""
    incident = alert.incident
    if incident is None:
        return ""
    if incident.is_history:
        return "history: nobody is told"
    if incident.state is IncidentState.WITHDRAWN:
        return "withdrawn: nobody is told"
    return "marked as a false alarm: nobody is told" if incident.is_false else ""


def is_wanted(route: Route, alert: Alert, *, at_any_severity: bool = False) -> bool:
    """Return whether a route is for such alerts."""
    return (
        (at_any_severity or alert.severity.rank >= route.severity.rank)
        and (not route.kinds or alert.kind in route.kinds)
        and (not route.exchanges or alert.exchange in route.exchanges)
        and (not route.symbols or alert.symbol in route.symbols)
    )


def lanes_of(alert: Alert, alerting: Alerting, *, at_any_severity: bool = False) -> set[Lane]:
    """Return who is to be told of an alert. Of a dead channel others are told, if need be whatever the routes say.

    Args:
        at_any_severity: Who would be, were it severe enough.
    """
    lanes = {
        Lane(channel, route.unacknowledged_for or _AT_ONCE)
        for route in alerting.routes
        if is_wanted(route, alert, at_any_severity=at_any_severity)
        for channel in route.channels
    }
    if alert.incident is None:
        lanes = {lane for lane in lanes if not lane.is_escalation}
    if alert.kind != PipelineKind.DEAD_CHANNEL:
        return lanes
    dead = alert.identity.removeprefix(DEAD_CHANNEL_PREFIX).partition(":")[0]
    others = {Lane(channel) for route in alerting.routes for channel in route.channels if channel != dead}
    return {lane for lane in lanes if lane.channel != dead} or others


def held_back(past: Past, channel: str, alerting: Alerting) -> list[Decided]:
    """Return what was decided lately that a channel was to be told of, and was not, as it had just been told."""
    wanted = [
        one for one in past.decided if not why_silent(one.alert) and Lane(channel) in lanes_of(one.alert, alerting)
    ]
    return untold(wanted, told_on(past, channel))
