"""Messages in words: title and body of what a channel is told. The body is Markdown; both are short.

Texts from outside (errors, opinions, reasons) go through `plain`; numbers, names of series and of kinds are our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from etl.alerts.phrases import cut, moment_in_words, plain, span_in_words, while_in_words, with_addresses
from etl.alerts.telling import details, gist, headline, line, place
from etl.incidents import Incident, Severity
from etl.messages import Alert, Notice, PipelineKind
from etl.series import TimeRange
from etl.spelling import counted, sentence

TITLE_LENGTH, BODY_LENGTH = 150, 1800
"""In characters: some chats take no more than 2,000 at once, and what is said beside the body needs room."""
LISTED = 10
"""How many lines a list has; how many more there are is said."""
_DETAIL = 400
_NAMES = {
    PipelineKind.FAILED_PARTITION: ("partition failed", "partitions failed"),
    PipelineKind.FAILED_TRAINING: ("training failed", "trainings failed"),
    PipelineKind.FAILED_TASK: ("task failed", "tasks failed"),
    PipelineKind.LATE_LOAD: ("load is late", "loads are late"),
    PipelineKind.OLD_GAP: ("gap stays open", "gaps stay open"),
    PipelineKind.FALLBACK_FILE: ("fallback file waits", "fallback files wait"),
    PipelineKind.BULK_DIFFERS: ("archive differs from the API", "archives differ from the API"),
    PipelineKind.FAULTY_SETTINGS: ("mistake in the settings", "mistakes in the settings"),
    PipelineKind.DEAD_CHANNEL: ("channel takes no messages", "channels take no messages"),
}


@dataclass(frozen=True, slots=True)
class More:
    """Number of further alerts that a channel was not told of, and when the first of them began."""

    count: int
    since: datetime


def compose(
    alerts: Sequence[Alert],
    severity: Severity,
    *,
    link_base: str = "",
    more: More | None = None,
    unacknowledged_for: timedelta = timedelta(0),
) -> tuple[str, str]:
    """Return the title and the body of a message.

    Args:
        alerts: At least one; all of incidents, or all of the pipeline.
        link_base: Where Airflow's UI is; without it there is no link.
        more: What was held back before.
        unacknowledged_for: For how long nobody has acknowledged it, once this is read; zero says nothing of it.
    """
    known = {alert.incident.id: alert.incident for alert in alerts if alert.incident is not None}
    incidents = worst_first(known.values())
    notices = [alert.notice for alert in alerts if alert.notice is not None]
    if incidents:
        title, lines, last = _of_incidents(incidents, link_base)
    else:
        title, lines, last = _of_notices(notices, link_base)
    if more is not None:
        where = "incidents" if incidents else "alerts"
        last.insert(0, f"And {more.count} more since {moment_in_words(more.since)}, see `chandler {where}`.")
    title = f"{severity.capitalize()}: {title}"
    if unacknowledged_for:
        title = f"Not acknowledged for {while_in_words(unacknowledged_for)}: {title}"
    return cut(title, TITLE_LENGTH), fit(lines, last)


def repeated(title: str, body: str, identity: str) -> tuple[str, str]:
    """Return a message that may have arrived before, so that it says so."""
    said = (
        "**This may have reached you already.** An earlier try ended before anyone said whether it had arrived "
        f"(`{plain(identity, 100)}`)."
    )
    return cut(f"Perhaps again: {title}", TITLE_LENGTH), f"{said}\n\n{body}"


def worst_first(incidents: Iterable[Incident]) -> list[Incident]:
    """Return incidents, the most severe first; of equals the more seldom one, then the earlier one."""
    return sorted(
        incidents,
        key=lambda one: (
            -one.found.severity.rank,
            -(one.found.once_in_days or 0),
            one.found.time_range.start,
            one.id,
        ),
    )


def listed(lines: Sequence[str], most: int = LISTED) -> list[str]:
    """Return at most so many lines, and how many more there are."""
    rest = len(lines) - most
    return [*lines[:most], f"- and {rest} more"] if rest > 0 else list(lines)


def fit(lines: Sequence[str], last: Sequence[str] = ()) -> str:
    """Return a body of BODY_LENGTH characters at most: what does not fit is left out, but never the last lines."""
    room = BODY_LENGTH - sum(len(one) + 2 for one in last) - 2
    kept: list[str] = []
    for one in lines:
        if len(one) + 1 > room:
            kept.append("…")
            break
        kept.append(one)
        room -= len(one) + 1
    return "\n\n".join(part for part in ("\n".join(kept), *last) if part)


def _of_incidents(incidents: Sequence[Incident], link_base: str) -> tuple[str, list[str], list[str]]:
    worst = incidents[0]
    if len(incidents) == 1:
        title = f"{place(worst)}: {gist(worst)}"
        commands = f"`chandler incidents show {worst.id}`, `chandler incidents acknowledge {worst.id}`"
        return title, [headline(worst), "", *details(worst)], _last(commands, link_base, worst)
    span = TimeRange(
        min(one.found.time_range.start for one in incidents), max(one.found.time_range.end for one in incidents)
    )
    when = span_in_words(span, is_over=all(one.found.is_over for one in incidents))
    series = {one.found.series for one in incidents}
    what = counted(len(incidents), "incident") if len(series) == 1 else f"market event on {len(series)} series"
    title = f"{what}, the worst {place(worst)}: {gist(worst)}"
    lines = [f"**{what.capitalize()}**: {when}.", "", *listed([line(one) for one in incidents])]
    numbers = " ".join(str(one.id) for one in incidents[:LISTED])
    commands = f"`chandler incidents show {worst.id}`, `chandler incidents acknowledge {numbers}`"
    return title, [*lines, "", f"The worst: {headline(worst)}", "", *details(worst)], _last(commands, link_base, worst)


def _last(commands: str, link_base: str, incident: Incident) -> list[str]:
    link = f"[Look at it]({link_base.rstrip('/')}/chandler/incident?id={incident.id}): " if link_base else ""
    return [link + commands]


def _of_notices(notices: Sequence[Notice], link_base: str) -> tuple[str, list[str], list[str]]:
    first = min(notices, key=lambda one: (-one.severity.rank, one.happened_at, one.identity))
    if len(notices) == 1:
        lines = [f"{moment_in_words(first.happened_at)}: {with_addresses(sentence(first.detail), _DETAIL)}"]
        return plain(first.title, TITLE_LENGTH), lines, _link(first, link_base)
    title = notices_in_words(first.kind, len(notices))
    return title, [f"**{title}**", "", *listed([notice_line(one) for one in notices])], _link(first, link_base)


def notice_line(notice: Notice) -> str:
    """Return a notice in one line of a list."""
    return f"- {plain(notice.title, 120)}, {notice.happened_at:%m-%d %H:%M}: {with_addresses(notice.detail, 100)}"


def notices_in_words(kind: PipelineKind, count: int) -> str:
    """Return how many notices of a kind there were: `3 partitions failed`."""
    return f"{count} {_NAMES[kind][count != 1]}"


def _link(notice: Notice, link_base: str) -> list[str]:
    if not (link_base and notice.link.startswith("/")):
        return []
    return [f"[Look at it]({link_base.rstrip('/')}{quote(notice.link, safe='/?=&%:+-_.~#')})"]
