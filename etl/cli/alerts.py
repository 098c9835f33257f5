"""The commands of alerts: what waits to be told, who was told, how it goes with the channels; and telling by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from etl.alerting import alerts_path, load_alerting
from etl.alerts.addresses import address_from_environment, how_to_set
from etl.cli.terminal import (
    AsJson,
    err,
    opened_warehouse,
    out,
    read_settings_to_look,
    run_name,
    tell_none,
)
from etl.errors import AlertDeliveryError, ConfigError
from etl.messages import MessageState
from etl.spelling import nearest

if TYPE_CHECKING:
    from etl.warehouse import Warehouse

app = typer.Typer(
    invoke_without_command=True,
    help="Look at alerts, messages and channels; send, send again, or test a channel. Without a command: list.",
)


@app.callback()
def _list_alone(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_list()


@app.command("list")
def show_list(
    channel: Annotated[str | None, typer.Option(help="Only messages to this channel.", show_default=False)] = None,
    state: Annotated[
        Literal["waiting", "sending", "sent", "dead", "dropped"] | None,
        typer.Option(help="Only messages in this state.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of each to list, the latest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the last alerts, with what was decided of each, and the last messages, with what became of them.

    Example: [bold]chandler alerts list --state waiting[/bold]
    """
    from etl import show
    from etl.warehouse import list_decisions, list_messages

    with _opened() as warehouse, warehouse.begin() as connection:
        decisions = list_decisions(connection, limit)
        found = list_messages(connection, limit, channel=channel, state=None if state is None else MessageState(state))
    if as_json:
        alerts = [show.decision_json(one) for one in decisions]
        out.print_json(data={"alerts": alerts, "messages": [show.message_json(one) for one in found]})
        return
    if channel is None and state is None and decisions:
        out.print(show.alerts_table(decisions))
    if found:
        out.print(show.messages_table(found))
    elif decisions:
        tell_none("message", is_filtered=channel is not None or state is not None)
    else:
        err.print("No alert has been raised yet, and no message was sent.")


@app.command("show")
def show_alert(alert: Annotated[int, typer.Argument(help="The alert's number.")], as_json: AsJson = False) -> None:
    """Show an alert: what was decided of it, each message that tells of it, and each try to send that.

    Example: [bold]chandler alerts show 12[/bold]
    """
    from etl import show
    from etl.warehouse import find_decision, messages_of, read_tries

    with _opened() as warehouse, warehouse.begin() as connection:
        decision = find_decision(connection, alert)
        found = {one.id: (one, read_tries(connection, one.id)) for one in messages_of(connection, alert)}
    if as_json:
        messages = [show.message_json(message, tries) for message, tries in found.values()]
        out.print_json(data=show.decision_json(decision) | {"messages": messages})
    else:
        for part in show.alert_parts(decision, found):
            out.print(part, soft_wrap=isinstance(part, Text))


@app.command()
def send() -> None:
    """Decide whom to tell of what waits, and send what is due, as the DAG deliver_alerts does.

    Channels lead where CHANDLER_CHANNEL_<NAME> says; Connections are for Airflow alone.

    Example: [bold]CHANDLER_CHANNEL_TEAM=slack://... chandler alerts send[/bold]
    """
    from etl import show
    from etl.delivery import deliver

    alerting = load_alerting()
    with _opened() as warehouse:
        delivered = deliver(warehouse, alerting, address_from_environment, run_name())
    for line in show.delivered_lines(delivered):
        out.print(line, soft_wrap=True)


@app.command()
def test(channel: Annotated[str, typer.Argument(help="Its name in alerts.toml.")]) -> None:
    """Send a message to a channel that says that it is a test, and say what came of it. Needs no warehouse.

    Example: [bold]CHANDLER_CHANNEL_TEAM=slack://... chandler alerts test team[/bold]
    """
    alerting = load_alerting()
    if channel not in alerting.channels:
        raise ConfigError(f"no table [channels.{channel}] in {alerts_path()}{nearest(channel, alerting.channels)}")
    address = address_from_environment(channel)
    if address is None:
        raise ConfigError(f"channel {channel}: {how_to_set(channel)}")
    from etl.alerts.channels import Result
    from etl.courier import try_channel

    outcome = try_channel(channel, address, alerting.channels[channel], datetime.now(UTC))
    if outcome.result is not Result.SENT:
        raise AlertDeliveryError(f"channel {channel}: {outcome}")
    out.print(Text(f"channel {channel}: {outcome}"))


@app.command()
def resend(message: Annotated[int, typer.Argument(help="The message's number.")]) -> None:
    """Put a message on its way once more, whatever became of it. One that may have arrived says so.

    It is sent by the next run of deliver_alerts, or by chandler alerts send.

    Example: [bold]chandler alerts resend 34[/bold]
    """
    from etl.warehouse import send_again

    with _opened() as warehouse, warehouse.begin() as connection:
        found = send_again(connection, message, datetime.now(UTC))
    out.print(Text(f"message {found.id} to {found.draft.channel} is on its way: {found.draft.title}"))


@app.command()
def channels(as_json: AsJson = False) -> None:
    """List the channels: where each leads is not shown, but whether the environment says so, and how it goes with it.

    Example: [bold]chandler alerts channels[/bold]
    """
    from etl import show
    from etl.warehouse import count_messages, read_channel_state

    alerting = load_alerting()
    with _opened() as warehouse, warehouse.begin() as connection:
        counts = count_messages(connection)
        states = [read_channel_state(connection, name) for name in sorted({*alerting.channels, *counts})]
    reports = [
        show.ChannelReport(one, address_from_environment(one.name) is not None, counts.get(one.name, {}))
        for one in states
    ]
    if as_json:
        out.print_json(data=[show.channel_json(one) for one in reports])
    elif reports:
        out.print(show.channels_table(reports))
    else:
        err.print(f"{alerts_path()} has no channels.", markup=False)


@contextmanager
def _opened() -> Iterator[Warehouse]:
    with opened_warehouse(read_settings_to_look()) as warehouse:
        yield warehouse
