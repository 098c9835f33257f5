"""The message of a day: what there was, what was held back, what is open. That there was nothing is a message too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from etl.alerting import Alerting
from etl.alerts.lanes import held_back
from etl.alerts.past import Past
from etl.alerts.phrases import moment_in_words
from etl.alerts.quiet import last_digest
from etl.alerts.telling import NAMES, line
from etl.alerts.wording import fit, listed, notice_line, notices_in_words, worst_first
from etl.incidents import Incident, IncidentState, Severity
from etl.messages import Alert, Draft, Notice
from etl.series import TimeRange
from etl.spelling import counted

_SHORT = 5


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A digest that is to be made.

    Attributes:
        time_range: What time it tells of.
        channels: Those that have not been sent it.
    """

    day: date
    time_range: TimeRange
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Day:
    """Content of a digest.

    Attributes:
        incidents: Those that were opened in the digest's time range; no history.
        unacknowledged: Those that are open and that nobody has acknowledged, whenever they were opened; no history.
    """

    incidents: tuple[Incident, ...]
    unacknowledged: tuple[Incident, ...]


def due_digest(past: Past, alerting: Alerting, now: datetime) -> DueDigest | None:
    """Return the digest that is due and was not made for every channel; None if there is none."""
    if alerting.digest is None:
        return None
    day, time_range = last_digest(alerting.digest, now)
    made = past.identities
    channels = tuple(one for one in dict.fromkeys(alerting.digest.channels) if _identity(day, one) not in made)
    return DueDigest(day, time_range, channels) if channels else None


def write_digest(due: DueDigest, day: Day, past: Past, alerting: Alerting, now: datetime) -> tuple[Draft, ...]:
    """Return the digest, a message for each channel: what was held back differs."""
    return tuple(_draft(due, channel, day, past, alerting, now) for channel in due.channels)


def _draft(due: DueDigest, channel: str, day: Day, past: Past, alerting: Alerting, now: datetime) -> Draft:
    within = due.time_range
    incidents = worst_first(one for one in day.incidents if one.state is not IncidentState.WITHDRAWN)
    waiting = worst_first(one for one in day.unacknowledged if one.state is not IncidentState.WITHDRAWN)
    notices = [
        one.alert.notice for one in past.decided if one.alert.notice is not None and within.start <= one.at < within.end
    ]
    held = [one.alert for one in held_back(past, channel, alerting) if within.start <= one.at < within.end]
    counts = [
        counted(len(incidents), "incident"),
        counted(len(notices), "notice") + " of the pipeline" if notices else "",
        f"{len(waiting)} open and unacknowledged" if waiting else "",
    ]
    is_nothing = not (incidents or notices or waiting or held)
    said = "nothing" if is_nothing else ", ".join(count for count in counts if count)
    lines = [
        f"From {moment_in_words(within.start)} to {moment_in_words(within.end)}: {said}.",
        *_of_incidents(incidents),
        *_section("Open, and nobody has acknowledged it", [line(one) for one in waiting]),
        *_section("Not told here, as this channel had just been told of the same series or event", _held(held)),
        *_of_notices(notices),
    ]
    commands = ["`chandler incidents list --unacknowledged`"] if waiting or incidents else []
    return Draft(
        channel=channel,
        identity=_identity(due.day, channel),
        alerts=(),
        series=(),
        severity=max((one.found.severity for one in incidents), key=lambda one: one.rank, default=Severity.LOW),
        title=f"Digest of {due.day}: {said}",
        body=fit(lines, commands),
        not_before=now,
    )


def _of_incidents(incidents: Sequence[Incident]) -> list[str]:
    if not incidents:
        return []
    false = sum(1 for one in incidents if one.is_false)
    severities = Counter(one.found.severity for one in incidents)  # the worst first, as incidents are
    by_severity = ", ".join(f"{severity} {count}" for severity, count in severities.items())
    by_kind = _counts(NAMES[one.found.kind] for one in incidents)
    by_series = _counts(str(one.found.series) for one in incidents)
    lines = [line(one) for one in incidents]
    marked = f"; {false} marked as false alarms" if false else ""
    return [
        "",
        f"**Incidents**: {by_severity}{marked}",
        "",
        f"- By kind: {by_kind}",
        f"- By series: {by_series}",
        *listed(lines),
    ]


def _of_notices(notices: Sequence[Notice]) -> list[str]:
    if not notices:
        return []
    kinds = Counter(one.kind for one in notices)
    said = ", ".join(notices_in_words(kind, count) for kind, count in sorted(kinds.items()))
    return _section(f"The pipeline: {said}", [notice_line(one) for one in notices])


def _held(alerts: Sequence[Alert]) -> list[str]:
    lines = [line(one) for one in worst_first(alert.incident for alert in alerts if alert.incident is not None)]
    return lines + [notice_line(one.notice) for one in alerts if one.notice is not None]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"**{title}**", "", *listed(lines, _SHORT)] if lines else []


def _counts(names: Iterable[str], most: int = _SHORT) -> str:
    found = Counter(names).most_common()
    rest = sum(count for _, count in found[most:])
    shown = ", ".join(f"{name} {count}" for name, count in found[:most])
    return f"{shown}, others {rest}" if rest else shown


def _identity(day: date, channel: str) -> str:
    return f"digest:{day}:{channel}"
