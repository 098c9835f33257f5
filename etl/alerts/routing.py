"""Plan of messages: alerts become messages to channels, by alerts.toml and by recent messages.

Pure: the same alerts and the same past give the same messages, with the same identities.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from etl.alerting import Alerting
from etl.alerts.cooling import Memory
from etl.alerts.grouping import began_at, belonging, series_of, short_hash
from etl.alerts.lanes import Lane, held_back, lanes_of, why_silent
from etl.alerts.past import Decided, Past, told_on
from etl.alerts.phrases import moment_in_words, while_in_words
from etl.alerts.quiet import quiet_until
from etl.alerts.wording import More, compose
from etl.incidents import Severity
from etl.messages import Alert, Draft


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions of a planning.

    Attributes:
        outcomes: What was decided of each alert, in words, by its id.
        waiting: The ids of those that are left for later, as others may come that belong with them.
        ripe_at: When the first of these need wait no longer; None if none waits.
    """

    drafts: tuple[Draft, ...]
    outcomes: Mapping[int, str]
    waiting: frozenset[int]
    ripe_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Desk:
    """Context of a planning."""

    past: Past
    alerting: Alerting
    now: datetime
    link_base: str


_Said = dict[int, list[str]]


def plan(
    alerts: Sequence[Alert],
    past: Past,
    alerting: Alerting,
    now: datetime,
    *,
    force: bool = False,
    link_base: str = "",
) -> Plan:
    """Decide whom to tell of what.

    Args:
        alerts: Those of which nothing was decided yet.
        force: Whether none waits for others that belong with it.
        link_base: Where Airflow's UI is, for links; none without.
    """
    silent = {alert.id: reason for alert in alerts if (reason := why_silent(alert))}
    groups = belonging((alert for alert in alerts if alert.id not in silent), alerting.same_event)
    gather = timedelta(seconds=0 if force else alerting.gather_s)
    ripe_at = [min(alert.created_at for alert in group) + gather for group in groups]
    is_ripe = [force or at <= now for at in ripe_at]
    ripe_groups = [group for group, is_now in zip(groups, is_ripe, strict=True) if is_now]
    ripe = [alert for group in ripe_groups for alert in group]
    said: _Said = defaultdict(list)
    desk = _Desk(past, alerting, now, link_base)
    drafts = [draft for lane, members in _lanes(ripe_groups, alerting) for draft in _drafts(lane, members, desk, said)]
    return Plan(
        drafts=tuple(sorted(drafts, key=lambda draft: (min(draft.alerts), draft.channel, draft.unless_acknowledged))),
        outcomes=silent | {alert.id: "; ".join(said[alert.id]) or "no route" for alert in ripe},
        waiting=frozenset(alert.id for alert in alerts) - set(silent) - {alert.id for alert in ripe},
        ripe_at=min((at for at, is_now in zip(ripe_at, is_ripe, strict=True) if not is_now), default=None),
    )


def _lanes(groups: Iterable[Sequence[Alert]], alerting: Alerting) -> list[tuple[Lane, list[Alert]]]:
    """Return the alerts of each lane.

    Of a crash of ten symbols a channel is told that wants to hear of the worst alone, and reads of all ten: what is not
    severe enough by itself goes along with what it belongs to.
    """
    found: dict[Lane, list[Alert]] = defaultdict(list)
    for group in groups:
        own = {alert.id: lanes_of(alert, alerting) for alert in group}
        incidents = [alert for alert in group if alert.incident is not None]
        told = {lane for alert in incidents for lane in own[alert.id] if not lane.is_escalation}
        for alert in incidents:
            own[alert.id] |= told & lanes_of(alert, alerting, at_any_severity=True)
        for alert in group:
            for lane in own[alert.id]:
                found[lane].append(alert)
    return sorted(found.items())


def _drafts(lane: Lane, alerts: Sequence[Alert], desk: _Desk, said: _Said) -> Iterator[Draft]:
    """Yield the messages to one lane, and note of each alert what becomes of it there."""
    memory = Memory(desk.past, lane.channel, desk.alerting, desk.now)
    held = [] if lane.is_escalation else held_back(desk.past, lane.channel, desk.alerting)
    for group in belonging(alerts, desk.alerting.same_event):
        news = group if lane.is_escalation else _not_cooled(group, lane, memory, said)
        if not any(lane in lanes_of(alert, desk.alerting) for alert in news):
            continue
        draft, remark = _draft(lane, news, held, desk)
        for alert in news:
            said[alert.id].append(f"told: {lane.channel}{remark}")
        yield draft


def _not_cooled(group: Sequence[Alert], lane: Lane, memory: Memory, said: _Said) -> list[Alert]:
    """Return the alerts of the series of which there is anything that the channel was not told lately."""
    known = {alert.id: memory.told_of(alert) for alert in group}
    fresh = {series_of(alert) for alert in group if known[alert.id] is None}
    for alert in group:
        if (told := known[alert.id]) is not None and series_of(alert) not in fresh:
            at = moment_in_words(told.created_at)
            said[alert.id].append(f"cool-down of {lane.channel}: message {told.id} told of it at {at}")
    return [alert for alert in group if series_of(alert) in fresh]


def _draft(lane: Lane, alerts: Sequence[Alert], held: Sequence[Decided], desk: _Desk) -> tuple[Draft, str]:
    """Return a message, and what there is to remark on when it is sent."""
    severity = max((alert.severity for alert in alerts), key=lambda one: one.rank)
    not_before, remark = _when(lane, alerts, severity, desk)
    title, body = compose(
        alerts,
        severity,
        link_base=desk.link_base,
        more=_more(lane, alerts, held, desk.past),
        unacknowledged_for=lane.unacknowledged_for,
    )
    told = [alert for alert in alerts if alert.incident is not None]
    worst = min(told, key=lambda one: (-one.severity.rank, began_at(one), one.id), default=None)
    draft = Draft(
        channel=lane.channel,
        identity=_identity(lane, alerts),
        alerts=tuple(alert.id for alert in alerts),
        series=_in_order(alerts) if not_before == desk.now else (),
        severity=severity,
        title=title,
        body=body,
        not_before=not_before,
        incident_id=None if worst is None or worst.incident is None else worst.incident.id,
        unless_acknowledged=lane.is_escalation,
    )
    return draft, remark


def _in_order(alerts: Sequence[Alert]) -> tuple[str, ...]:
    """Return the series whose order a message keeps. One that waits keeps none: a later one may be more severe."""
    return tuple(sorted({series_of(alert) for alert in alerts}))


def _identity(lane: Lane, alerts: Sequence[Alert]) -> str:
    of = short_hash("\n".join(sorted(alert.identity for alert in alerts)))
    late = int(lane.unacknowledged_for.total_seconds() // 60)
    return f"alerts:{of}:unacknowledged:{late}m" if lane.is_escalation else f"alerts:{of}"


def _when(lane: Lane, alerts: Sequence[Alert], severity: Severity, desk: _Desk) -> tuple[datetime, str]:
    """Return when a message may be sent, and the same in words; no words if that is now."""
    moment, reasons = desk.now, []
    if lane.is_escalation:
        moment = max(moment, max(alert.created_at for alert in alerts) + lane.unacknowledged_for)
        reasons.append(f"unless acknowledged within {while_in_words(lane.unacknowledged_for)}")
    quiet = desk.alerting.quiet_hours
    if quiet is not None and severity.rank < quiet.but.rank:
        end = quiet_until(quiet, moment)
        if end is not None:
            moment = end
            reasons.append("after the quiet hours")
    return moment, f" ({', '.join(reasons)}: at {moment_in_words(moment)})" if reasons else ""


def _more(lane: Lane, alerts: Sequence[Alert], held: Sequence[Decided], past: Past) -> More | None:
    """Return how many incidents of the message's series were held back since the channel was last told of them."""
    series = {series_of(alert) for alert in alerts}
    last: dict[str, datetime] = {}
    for told in told_on(past, lane.channel):
        for alert in told.alerts:
            last[series_of(alert)] = max(told.created_at, last.get(series_of(alert), told.created_at))
    here = {alert.incident.id for alert in alerts if alert.incident is not None}
    counted = [
        began_at(one.alert)
        for one in held
        if (key := series_of(one.alert)) in series
        and (key not in last or one.at > last[key])
        and (one.alert.incident is None or one.alert.incident.id not in here)
    ]
    return More(len(counted), min(counted)) if counted else None
