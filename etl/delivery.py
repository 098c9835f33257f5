"""From the outbox to people: decide whom to tell, then send what is due. Safe to run as often as one likes.

What was decided is committed before anything is sent. Two that run at once decide one after the other, and send to a
channel one after the other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from etl.alerting import Alerting
from etl.alerts.addresses import Address
from etl.alerts.digest import Day, due_digest, write_digest
from etl.alerts.past import DECIDED_FOR, Decided, Past, Told, reach
from etl.alerts.routing import Plan, plan
from etl.charting import Charts
from etl.courier import Courier, Posted
from etl.errors import ConfigError
from etl.incidents import IncidentState
from etl.messages import Draft
from etl.warehouse import (
    Warehouse,
    Wish,
    channels_with_due,
    incidents_opened,
    list_incidents,
    plan_alone,
    read_alerts,
    read_decided,
    read_messages,
    read_unplanned,
    write_plan,
)

log = logging.getLogger(__name__)

_AT_ONCE = 8  # channels: one that is slow keeps no other waiting


@dataclass(frozen=True, slots=True)
class Delivered:
    """Result of a delivery.

    Attributes:
        decided: Alerts of which it was decided whom to tell.
        made: Messages that were made of them.
        waiting: Alerts that wait for others which belong with them.
        posted: What was done for each channel that had something due.
    """

    decided: int
    made: int
    waiting: int
    posted: tuple[Posted, ...]

    @property
    def sent(self) -> int:
        """The number of messages that were sent."""
        return sum(one.sent for one in self.posted)


def deliver(
    warehouse: Warehouse,
    alerting: Alerting,
    addresses: Callable[[str], Address | None],
    run: str,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    link_base: str = "",
    wait: bool = True,
) -> Delivered:
    """Make messages of what waits in the outbox, and send what is due. A channel that fails is no error.

    Args:
        addresses: Returns where a channel leads; None if nobody has said.
        run: What to call this run in the warehouse.
        link_base: Where Airflow's UI is, for links in messages; none without.
        wait: Whether to wait, once, until what is young has waited for others that belong with it.

    Raises:
        StoreError: The warehouse refuses or went away.
    """
    made, planned = make_messages(warehouse, alerting, clock(), link_base=link_base)
    decided = len(planned.outcomes)
    if wait and planned.ripe_at is not None:
        time.sleep(max(timedelta(0), planned.ripe_at - clock()).total_seconds())
        more, planned = make_messages(warehouse, alerting, clock(), link_base=link_base)
        made, decided = made + more, decided + len(planned.outcomes)
    posted = send_due(warehouse, alerting, addresses, run, clock)
    for one in posted:
        log.info("channel %s: %d sent, %d failed. %s", one.channel, one.sent, one.failed, one.state)
    return Delivered(decided, made, len(planned.waiting), tuple(posted))


def make_messages(warehouse: Warehouse, alerting: Alerting, now: datetime, *, link_base: str = "") -> tuple[int, Plan]:
    """Decide whom to tell of what waits in the outbox; return how many messages were made, and what was decided."""
    with warehouse.begin() as connection:
        plan_alone(connection)
        past = read_past(connection, alerting, now)
        decision = plan(read_unplanned(connection), past, alerting, now, link_base=link_base)
        digests = _digests(connection, past, alerting, now)
        made = write_plan(connection, (*decision.drafts, *digests), decision.outcomes, now)
    return made, decision


def _digests(connection: Connection, past: Past, alerting: Alerting, now: datetime) -> tuple[Draft, ...]:
    if (due := due_digest(past, alerting, now)) is None:
        return ()
    is_open = Wish(states=(IncidentState.OPEN, IncidentState.UPDATED), is_history=False, is_acknowledged=False)
    day = Day(tuple(incidents_opened(connection, due.time_range)), tuple(list_incidents(connection, is_open)))
    return write_digest(due, day, past, alerting, now)


def read_past(connection: Connection, alerting: Alerting, now: datetime) -> Past:
    """Return what was told and decided lately, as far back as planning looks."""
    messages = read_messages(connection, now - reach(alerting))
    alerts = read_alerts(connection, {number for message in messages for number in message.draft.alerts})
    told = (
        Told(
            id=one.id,
            channel=one.draft.channel,
            identity=one.draft.identity,
            alerts=tuple(alerts[number] for number in one.draft.alerts if number in alerts),
            unless_acknowledged=one.draft.unless_acknowledged,
            state=one.state,
            created_at=one.created_at,
        )
        for one in messages
    )
    decided = (Decided(alert, when) for alert, when in read_decided(connection, now - DECIDED_FOR))
    return Past(tuple(told), tuple(decided))


def send_due(
    warehouse: Warehouse,
    alerting: Alerting,
    addresses: Callable[[str], Address | None],
    run: str,
    clock: Callable[[], datetime],
) -> list[Posted]:
    """Send what is due, to all channels at once, in the order in which it was made to each."""
    with warehouse.begin() as connection:
        names = channels_with_due(connection, clock())
    if not names:
        return []
    courier = Courier(warehouse, alerting, Charts(warehouse), run, clock)
    # Asked for here: Airflow answers the task's own thread.
    known = [_find(addresses, name) for name in names]
    with ThreadPoolExecutor(min(len(names), _AT_ONCE)) as pool:
        return list(pool.map(courier.post, names, known))


def _find(addresses: Callable[[str], Address | None], name: str) -> Address | ConfigError | None:
    try:
        return addresses(name)
    except ConfigError as error:
        return error
