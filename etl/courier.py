"""Sends what is due to one channel: one message after another, each on record before it is sent and after.

A try that ended without a word may have come through. Then the message is sent once more and says so, and after a
second such end it is let be: nobody gets it three times, and who got it twice knows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from etl.alerting import Alerting, ChannelSettings, alerts_path
from etl.alerts.addresses import Address, how_to_set
from etl.alerts.channels import Channel, Outcome, Result, open_channel
from etl.alerts.lanes import why_silent
from etl.alerts.wording import repeated
from etl.charting import Charts
from etl.errors import ConfigError
from etl.messages import Alert, Message, MessageState, dead_channel_notice
from etl.warehouse import (
    ChannelState,
    Warehouse,
    begin_try,
    due_messages,
    end_try,
    give_up_messages,
    hold_channel,
    mark_channel_failing,
    mark_channel_sent,
    put_notice,
    read_alerts,
    read_channel_state,
    settle_message,
)

log = logging.getLogger(__name__)

_SHORTEST, _LONGEST = timedelta(minutes=1), timedelta(hours=1)  # a channel's pauses, that double
_REFUSALS = 3  # in a row are the channel's fault, and not the messages'
_CUT_OFF = "it was cut off while it was sent; it may have arrived"
_TWICE = "sent twice at most; whether it arrived nobody said"


@dataclass(slots=True)
class Posted:
    """Messages sent to a channel in one delivery, and those that failed.

    Attributes:
        failed: Tries that ended otherwise than well; the messages wait.
        given_up: Messages that will not be tried again.
        dropped: Messages that need not be sent any more.
        state: Why no more was sent, in words; empty if all was that was due.
    """

    channel: str
    sent: int = 0
    failed: int = 0
    given_up: int = 0
    dropped: int = 0
    state: str = ""


class Courier:
    """Dependencies of sending to any channel.

    Args:
        run: What to call this run in the warehouse.
        clock: Returns the time, aware UTC.
    """

    def __init__(
        self, warehouse: Warehouse, alerting: Alerting, charts: Charts, run: str, clock: Callable[[], datetime]
    ) -> None:
        self.warehouse = warehouse
        self.alerting = alerting
        self.charts = charts
        self.run = run
        self.clock = clock

    def post(self, name: str, address: Address | ConfigError | None) -> Posted:
        """Send to a channel what is due there.

        Args:
            address: Where it leads; what is wrong with that; or None, if nobody has said.

        Raises:
            StoreError: The warehouse refuses or went away.
        """
        with hold_channel(self.warehouse, name) as connection:
            if connection is None:
                return Posted(name, state="another run sends to it just now")
            return _Round(self, connection, name).post(address)


class _Round:
    """One go at a channel that nobody else sends to meanwhile."""

    def __init__(self, courier: Courier, connection: Connection, name: str) -> None:
        self.courier = courier
        self.connection = connection
        self.name = name
        self.posted = Posted(name)
        self.state = read_channel_state(connection, name)
        self.refusals = 0

    def post(self, address: Address | ConfigError | None) -> Posted:
        now = self.courier.clock()
        if (channel := self._open(address)) is None:
            self._give_up(now, self.posted.state, with_untried=True)
        elif self.state.next_try is not None and self.state.next_try > now:
            self.posted.state = f"it failed, and is left alone until {self.state.next_try:%Y-%m-%d %H:%M:%S} UTC"
        else:
            self._send_all(channel, now)
        self.connection.commit()
        return self.posted

    def _open(self, address: Address | ConfigError | None) -> Channel | None:
        settings = self.courier.alerting.channels.get(self.name)
        if settings is None:
            self.posted.state = f"no table [channels.{self.name}] in {alerts_path()} any more; its messages wait"
        elif address is None:
            self.posted.state = how_to_set(self.name)
        elif isinstance(address, ConfigError):
            self.posted.state = str(address)
        else:
            try:
                return open_channel(self.name, address, settings)
            except ConfigError as error:
                self.posted.state = str(error)
        return None

    def _send_all(self, channel: Channel, now: datetime) -> None:
        due = due_messages(self.connection, self.name, now)
        alerts = read_alerts(self.connection, {number for message in due for number in message.draft.alerts})
        held: set[str] = set()
        for message in due:
            if held.intersection(message.draft.series):
                held.update(message.draft.series)
                continue
            outcome = self._send(channel, message, alerts)
            if outcome is not None and outcome.result is not Result.SENT:
                held.update(message.draft.series)
            self.connection.commit()
            if self.posted.state:
                return
        if self.refusals and not self.posted.sent:  # it answers, so that others need not wait; yet it takes nothing
            self._mark_failing(self.courier.clock(), timedelta(0))

    def _send(self, channel: Channel, message: Message, alerts: Mapping[int, Alert]) -> Outcome | None:
        """Send a message, or settle why not."""
        if message.state is MessageState.SENDING:
            if message.may_have_arrived:
                self._settle(message, MessageState.SENT, _TWICE)
                return None
            message = replace(message, may_have_arrived=True)
            settle_message(self.connection, message, MessageState.SENDING, _CUT_OFF, may_have_arrived=True)
        if reason := why_not_needed(message, alerts):
            self.posted.dropped += 1
            self._settle(message, MessageState.DROPPED, reason)
            return None
        draft = message.draft
        title, body, image = draft.title, draft.body, None
        if message.may_have_arrived:
            title, body = repeated(title, body, draft.identity)
        elif draft.incident_id is not None and channel.takes_images:
            image = self.courier.charts.of(draft.incident_id)
        try_id = begin_try(self.connection, message, self.courier.run, self.courier.clock())
        self.connection.commit()
        if try_id is None:
            return None
        outcome = channel.send(title, body, image, draft.identity)
        now = self.courier.clock()
        end_try(self.connection, try_id, str(outcome), now)
        self._end(message, outcome, now)
        return outcome

    def _end(self, message: Message, outcome: Outcome, now: datetime) -> None:
        if outcome.result is Result.SENT:
            self.refusals = 0
            self.posted.sent += 1
            settle_message(self.connection, message, MessageState.SENT, str(outcome), sent_at=now)
            mark_channel_sent(self.connection, self.name, now)
            self.state = ChannelState(self.name, last_sent_at=now)
            return
        log.warning("channel %s: message %d: %s", self.name, message.id, outcome)
        self.posted.failed += 1
        if outcome.result is Result.REFUSED:
            self._refused(message, outcome, now)
            return
        if outcome.result is Result.UNKNOWN and message.may_have_arrived:
            self._settle(message, MessageState.SENT, _TWICE)
        else:
            is_open = outcome.result is Result.UNKNOWN
            settle_message(self.connection, message, MessageState.WAITING, str(outcome), may_have_arrived=is_open)
        self._stop(outcome, now)

    def _refused(self, message: Message, outcome: Outcome, now: datetime) -> None:
        """Let the message wait by itself: another one may be to the channel's liking."""
        self.refusals += 1
        again = now + pause_after(message.tries + 1)
        settle_message(self.connection, message, MessageState.WAITING, str(outcome), next_try=again)
        if self.refusals >= _REFUSALS:
            self._stop(outcome, now)
        else:
            self._give_up(now, str(outcome), with_untried=False)

    def _stop(self, outcome: Outcome, now: datetime) -> None:
        """Leave the channel alone for a while."""
        self._mark_failing(now, pause_after(self.state.failures + 1))
        self.posted.state = f"{outcome}; it is left alone until {self.state.next_try:%Y-%m-%d %H:%M:%S} UTC"
        since = self.state.failing_since or now
        self._give_up(now, str(outcome), with_untried=since <= now - self.courier.alerting.give_up_after)

    def _mark_failing(self, now: datetime, pause: timedelta) -> None:
        self.state = mark_channel_failing(self.connection, self.state, now, pause)

    def _give_up(self, now: datetime, why: str, *, with_untried: bool) -> None:
        before = now - self.courier.alerting.give_up_after
        dead = give_up_messages(self.connection, self.name, before, f"given up: {why}", with_untried=with_untried)
        self.posted.given_up += len(dead)
        if dead and self.state.failing_since is not None:
            put_notice(self.connection, dead_channel_notice(self.name, self.state.failing_since))

    def _settle(self, message: Message, state: MessageState, outcome: str) -> None:
        now = self.courier.clock() if state is MessageState.SENT else None
        settle_message(self.connection, message, state, outcome, sent_at=now)


def why_not_needed(message: Message, alerts: Mapping[int, Alert]) -> str:
    """Return why a message need not be sent any more; empty if it is to be.

    Args:
        alerts: By their numbers, as they are now; those that it tells of are among them.
    """
    told = [alerts[number] for number in message.draft.alerts if number in alerts]
    reasons = [why_silent(alert) or _acknowledged(alert, message) for alert in told]
    return reasons[0] if reasons and all(reasons) else ""


def _acknowledged(alert: Alert, message: Message) -> str:
    seen_at = None if alert.incident is None else alert.incident.acknowledged_at
    # Who has acknowledged it before it became as severe as that has not seen this.
    is_seen = seen_at is not None and seen_at >= alert.created_at
    return "acknowledged meanwhile" if is_seen and message.draft.unless_acknowledged else ""


def pause_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: longer each time, and not by the second."""
    pause: timedelta = min(_SHORTEST * 2.0 ** min(failures - 1, 10), _LONGEST)
    return pause * random.uniform(1, 1.2)  # noqa: S311 # to come apart, not to keep a secret


def try_channel(name: str, address: Address, settings: ChannelSettings, now: datetime) -> Outcome:
    """Send a message that says it is a test.

    Raises:
        ConfigError: The address is none.
    """
    body = f"This is a test of the channel **{name}**, sent at {now:%Y-%m-%d %H:%M:%S} UTC. Nothing has happened."
    return open_channel(name, address, settings).send(
        f"Chandler: a test of {name}", body, None, f"test:{now:%Y%m%d%H%M%S}"
    )
