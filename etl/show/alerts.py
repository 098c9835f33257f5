"""The outbox in tables: alerts, messages with their tries, channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl.delivery import Delivered
from etl.incidents import Severity
from etl.messages import Alert, Message, MessageState
from etl.show.parts import new_table, to_iso, to_minute
from etl.spelling import counted
from etl.warehouse import ChannelState, Decision, Try

_SEVERITIES = {Severity.LOW: "", Severity.HIGH: "yellow", Severity.CRITICAL: "red"}
_STATES = {
    MessageState.WAITING: "yellow",
    MessageState.SENDING: "yellow",
    MessageState.SENT: "green",
    MessageState.DEAD: "red",
    MessageState.DROPPED: "dim",
}


@dataclass(frozen=True, slots=True)
class ChannelReport:
    """A channel and how it goes with it.

    Attributes:
        has_address: Whether the environment says where it leads.
        counts: Its messages by state.
    """

    state: ChannelState
    has_address: bool
    counts: Mapping[MessageState, int]


def alerts_table(decisions: Sequence[Decision]) -> Table:
    """Return a line an alert."""
    table = new_table("id", "when", "kind", "severity", "of", "outcome", title="Alerts")
    for one in decisions:
        alert = one.alert
        outcome = one.outcome if one.planned_at else "waits until it is decided whom to tell"
        severity = Text(alert.severity, style=_SEVERITIES[alert.severity])
        table.add_row(str(alert.id), to_minute(alert.created_at), alert.kind, severity, Text(_of(alert)), Text(outcome))
    return table


def messages_table(messages: Sequence[Message]) -> Table:
    """Return a line a message."""
    table = new_table(
        "id", "when", "channel", "state", "tries", "sent at", "next try", "title", "outcome", title="Messages"
    )
    for one in messages:
        is_unsent = one.state in {MessageState.WAITING, MessageState.SENDING}
        table.add_row(
            str(one.id),
            to_minute(one.created_at),
            Text(one.draft.channel),
            Text(one.state, style=_STATES[one.state]),
            str(one.tries),
            to_minute(one.sent_at),
            to_minute(one.next_try) if is_unsent else "",
            Text(one.draft.title),
            Text(one.outcome),
        )
    return table


def alert_parts(decision: Decision, messages: Mapping[int, tuple[Message, Sequence[Try]]]) -> Iterator[RenderableType]:
    """Yield all that is known of an alert: what it is, and each message with its tries.

    Args:
        messages: By their numbers.
    """
    yield alerts_table([decision])
    for message, tries in messages.values():
        yield Text(
            f"\nMessage {message.id} to {message.draft.channel}: {message.state}. {message.outcome}", style="bold"
        )
        yield Text(f"{message.draft.title}\n\n{message.draft.body}\n")
        for one in tries:
            ended = one.outcome if one.ended_at else "under way, or cut off"
            yield Text(f"{one.began_at:%Y-%m-%d %H:%M:%S} by {one.run}: {ended}")


def channels_table(reports: Sequence[ChannelReport]) -> Table:
    """Return a line a channel."""
    table = new_table("channel", "address", "state", "waiting", "sent", "dead", "last sent at")
    for one in reports:
        waiting = one.counts.get(MessageState.WAITING, 0) + one.counts.get(MessageState.SENDING, 0)
        address = Text("in the environment") if one.has_address else Text("not in the environment", style="yellow")
        table.add_row(
            Text(one.state.name),
            address,
            _health(one.state),
            f"{waiting:,}",
            f"{one.counts.get(MessageState.SENT, 0):,}",
            f"{one.counts.get(MessageState.DEAD, 0):,}",
            to_minute(one.state.last_sent_at),
        )
    return table


def delivered_lines(delivered: Delivered) -> Iterator[Text]:
    """Yield what a delivery did, a line a channel."""
    decided, made = counted(delivered.decided, "new alert"), counted(delivered.made, "new message")
    yield Text(f"{decided} decided, {made} made, {counted(delivered.waiting, 'alert')} waiting for others")
    if not delivered.made and delivered.sent:
        yield Text("made before, and sent now:")
    for one in delivered.posted:
        counts = f"{one.sent} sent, {one.failed} failed, {one.given_up} given up, {one.dropped} dropped"
        yield Text(f"{one.channel}: {counts}{f'; {one.state}' if one.state else ''}")


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return an alert for a script."""
    alert = decision.alert
    return {
        "id": alert.id,
        "identity": alert.identity,
        "kind": alert.kind,
        "severity": alert.severity.value,
        "of": _of(alert),
        "incident": None if alert.incident is None else alert.incident.id,
        "happened_at": to_iso(alert.happened_at),
        "created_at": to_iso(alert.created_at),
        "planned_at": to_iso(decision.planned_at),
        "outcome": decision.outcome,
    }


def message_json(message: Message, tries: Sequence[Try] | None = None) -> dict[str, Any]:
    """Return a message for a script, with its tries if they are given."""
    draft = message.draft
    facts = {
        "id": message.id,
        "channel": draft.channel,
        "identity": draft.identity,
        "alerts": list(draft.alerts),
        "series": list(draft.series),
        "severity": draft.severity.value,
        "title": draft.title,
        "body": draft.body,
        "state": message.state.value,
        "tries": message.tries,
        "may_have_arrived": message.may_have_arrived,
        "created_at": to_iso(message.created_at),
        "next_try": to_iso(message.next_try),
        "sent_at": to_iso(message.sent_at),
        "outcome": message.outcome,
    }
    if tries is None:
        return facts
    each = [{**asdict(one), "began_at": to_iso(one.began_at), "ended_at": to_iso(one.ended_at)} for one in tries]
    return {**facts, "history": each}


def channel_json(report: ChannelReport) -> dict[str, Any]:
    """Return a channel for a script."""
    state = report.state
    return {
        "channel": state.name,
        "has_address": report.has_address,
        "failing_since": to_iso(state.failing_since),
        "failures": state.failures,
        "next_try": to_iso(state.next_try),
        "last_sent_at": to_iso(state.last_sent_at),
        "messages": {str(name): count for name, count in report.counts.items()},
    }


def _of(alert: Alert) -> str:
    if alert.incident is not None:
        return f"incident {alert.incident.id}: {alert.incident.found.series}"
    return "" if alert.notice is None else alert.notice.title


def _health(state: ChannelState) -> Text:
    if state.failing_since is None:
        return Text("no failure since the last success" if state.last_sent_at else "nothing sent yet")
    until = "" if state.next_try is None else f", left alone until {state.next_try:%Y-%m-%d %H:%M}"
    return Text(
        f"fails since {state.failing_since:%Y-%m-%d %H:%M}, {counted(state.failures, 'time')}{until}", style="red"
    )
