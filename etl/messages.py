"""Alerts that wait in the outbox, and the messages to channels that are made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from etl.incidents import Incident, Severity


class PipelineKind(StrEnum):
    """Kinds of notices about the pipeline itself."""

    FAILED_PARTITION = "failed_partition"
    FAILED_TRAINING = "failed_training"
    FAILED_TASK = "failed_task"
    LATE_LOAD = "late_load"
    OLD_GAP = "old_gap"
    FALLBACK_FILE = "fallback_file"
    BULK_DIFFERS = "bulk_differs"
    DEAD_CHANNEL = "dead_channel"
    FAULTY_SETTINGS = "faulty_settings"


@dataclass(frozen=True, slots=True)
class Notice:
    """Event in the pipeline, for the outbox.

    Attributes:
        identity: Says what happened, so that it is told of once: `late:ingest_majors:2026-01-01`.
        title: One line.
        detail: What more there is to say, and what to do about it.
        link: A path on Airflow's UI, or empty.
    """

    identity: str
    kind: PipelineKind
    severity: Severity
    title: str
    detail: str
    happened_at: datetime
    exchange: str | None = None
    symbol: str | None = None
    link: str = ""


def dead_channel_notice(name: str, since: datetime) -> Notice:
    """Return what to tell of a channel that takes nothing since then: the same, whoever tells."""
    return Notice(
        identity=f"channel:{name}:{since:%Y-%m-%dT%H:%M:%S.%fZ}",
        kind=PipelineKind.DEAD_CHANNEL,
        severity=Severity.HIGH,
        title=f"the channel {name} takes no messages",
        detail=f"Since {since:%Y-%m-%d %H:%M} UTC. They wait, and are tried again; chandler alerts channels says more.",
        happened_at=since,
    )


@dataclass(frozen=True, slots=True)
class Alert:
    """Entry that waits in the outbox to be told: of an incident, or of the pipeline.

    Attributes:
        kind: Of Kind or PipelineKind.
        incident: As it is now; None if it is of the pipeline.
        notice: What happened in the pipeline; None if it is of an incident.
        severity: When it was put there; an escalation is an alert of its own.
    """

    id: int
    identity: str
    kind: str
    severity: Severity
    happened_at: datetime
    created_at: datetime
    incident: Incident | None
    notice: Notice | None

    @property
    def exchange(self) -> str | None:
        """The exchange that it is of, if of one."""
        if self.incident is not None:
            return self.incident.found.series.exchange
        return None if self.notice is None else self.notice.exchange

    @property
    def symbol(self) -> str | None:
        """The symbol that it is of, if of one."""
        if self.incident is not None:
            return self.incident.found.series.symbol
        return None if self.notice is None else self.notice.symbol


class MessageState(StrEnum):
    """WAITING: to be sent. SENDING: a try is under way, or was cut off. DEAD: given up. DROPPED: not needed now."""

    WAITING = "waiting"
    SENDING = "sending"
    SENT = "sent"
    DEAD = "dead"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to one channel, composed.

    Attributes:
        identity: Of what it tells; there is one message of it to a channel.
        alerts: The alerts that it tells of.
        series: Whose order it keeps: messages of one series arrive in the order in which they were made.
        body: Markdown.
        incident_id: Whose chart goes with it, where the channel takes one.
        not_before: When it may be sent.
        unless_acknowledged: Whether it is dropped once all its incidents are acknowledged.
    """

    channel: str
    identity: str
    alerts: tuple[int, ...]
    series: tuple[str, ...]
    severity: Severity
    title: str
    body: str
    not_before: datetime
    incident_id: int | None = None
    unless_acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message in the outbox.

    Attributes:
        tries: How often it was tried.
        may_have_arrived: Whether an earlier try may have come through, though nobody said so.
        outcome: Of the last try, in words without secrets.
    """

    id: int
    draft: Draft
    state: MessageState
    tries: int
    may_have_arrived: bool
    created_at: datetime
    next_try: datetime
    sent_at: datetime | None
    outcome: str
