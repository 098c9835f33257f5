"""Parts that tests of delivery share: a clock that is set, channels, messages in the outbox, and a child that dies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from etl import delivery
from etl.alerting import Alerting
from etl.alerts.addresses import Address
from etl.alerts.channels import Channel
from etl.incidents import Severity
from etl.messages import Draft, Message
from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse, write_plan
from etl.warehouse.incident_tables import messages
from etl.warehouse.outbox import to_message
from tests.killing import dying, run_in_child


@dataclass
class Clock:
    """A clock that goes on only when told to."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def on(self, **how_long: float) -> None:
        """Go on by so much."""
        self.now += timedelta(**how_long)


def channels(*names: str, **changes: Any) -> Alerting:
    """Return settings with these channels, which may be at this machine, and a route of everything to all of them."""
    own = {name: {"allow_private": True, "timeout_s": 30} for name in names}
    facts: dict[str, Any] = {"gather_s": 0, "channels": own, "routes": [{"channels": names}]}
    return Alerting(**{**facts, **changes})


def lead(**urls: str) -> Callable[[str], Address | None]:
    """Return where channels lead."""
    return lambda name: Address(urls[name]) if name in urls else None


def put(warehouse: Warehouse, clock: Clock, *titles: str, channel: str = "chat", **changes: Any) -> None:
    """Put messages into the outbox; the series of each is the first word of its title."""
    drafts = []
    for title in titles:
        facts: dict[str, Any] = {"alerts": (), "severity": Severity.HIGH, "body": "body", "not_before": clock.now}
        facts |= {"channel": channel, "identity": title, "title": title, "series": (title.split()[0],)}
        drafts.append(Draft(**{**facts, **changes}))
    with warehouse.begin() as connection:
        write_plan(connection, drafts, {}, clock.now)


def sent(warehouse: Warehouse) -> dict[str, Message]:
    """Return the messages of the outbox by title."""
    with warehouse.begin() as connection:
        found = map(to_message, connection.execute(select(messages).order_by(messages.c.id)))
        return {f"{one.draft.channel}: {one.draft.title}": one for one in found}


def deliver(
    warehouse: Warehouse, alerting: Alerting, clock: Clock, run: str = "run", *, is_patient: bool = True, **urls: str
) -> delivery.Delivered:
    """Deliver what is due."""
    return delivery.deliver(warehouse, alerting, lead(**urls), run, clock=clock, wait=is_patient)


def deliver_and_die(settings: Settings, alerting: Alerting, clock: Clock, **urls: str) -> int | None:
    """Deliver in a child process that dies by SIGKILL once a message is sent, before that is noted.

    Returns:
        Its exit code.
    """
    preload = ["tests.alerts.sending", "tests.alerts.loaded"]
    return run_in_child(_deliver, (settings, alerting, clock.now, urls), preload)


def _deliver(settings: Settings, alerting: Alerting, now: datetime, urls: dict[str, str]) -> None:
    Channel.send = dying(Channel.send, 1)  # type: ignore[method-assign]
    with open_warehouse(settings) as warehouse:
        deliver(warehouse, alerting, Clock(now), "killed", **urls)
