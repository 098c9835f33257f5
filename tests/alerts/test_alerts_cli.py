"""`chandler alerts` as its user types it, on a real warehouse and a web server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.stores import Stores
from etl.warehouse import put_notice
from tests.alerts.made_alerts import notice
from tests.alerts.receivers import WebReceiver, nothing, status, web_receiver
from tests.commands import Ended, Run, runner

TOML = """
gather_s = 0
[channels.team]
allow_private = true
timeout_s = 30
[channels.night]
[[routes]]
channels = ["team"]
"""
SECRET = "T0pSecretToken"  # noqa: S105 - nobody's


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebReceiver]:
    """A web server to which the channel `team` leads."""
    with web_receiver() as receiver:
        monkeypatch.setenv("CHANDLER_CHANNEL_TEAM", receiver.url(path=f"/{SECRET}"))
        yield receiver


@pytest.fixture
def run(stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `chandler alerts` in this process; in the outbox is a notice."""
    (tmp_path / "alerts.toml").write_text(TOML)
    with stores.warehouse.begin() as connection:
        put_notice(connection, notice())
    chandler = runner(monkeypatch, capsys, "alerts")

    def discreet(*arguments: str) -> Ended:
        ended = chandler(*arguments)
        assert SECRET not in ended.raw + ended.err
        return ended

    return discreet


def test_what_waits_is_sent_and_shown(run: Run, web: WebReceiver) -> None:
    """An alert waits, is sent by hand, and can be looked at with each message and try."""
    assert "waits until it is decided" in run().out
    assert "team: 1 sent, 0 failed" in run("send").out
    assert len(web.requests) == 1
    listed = json.loads(run("list", "--json").out)
    assert listed["alerts"][0]["outcome"] == "told: team"
    assert listed["messages"][0]["state"] == "sent"
    shown = run("show", str(listed["alerts"][0]["id"])).out
    assert "binance:BTC/USDT:1m failed" in shown
    assert shown.endswith(": sent")
    assert "No message matches" in run("list", "--state", "dead").err


def test_a_message_is_sent_again(run: Run, web: WebReceiver) -> None:
    """A sent message goes out once more when a person says so, and says that it may be known."""
    run("send")
    number = str(json.loads(run("list", "--json").out)["messages"][0]["id"])
    assert f"message {number} to team is on its way" in run("resend", number).out
    sent = run("send").out
    assert "0 new alerts decided, 0 new messages made" in sent
    assert "made before, and sent now: team: 1 sent" in sent
    assert [title.startswith("Perhaps again") for title in web.titles] == [False, True]
    assert run("resend", "99").status == 2


def test_a_channel_is_tested(run: Run, web: WebReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says what came of it, and fails if it was not taken; what lacks is named."""
    assert "channel team: sent" in run("test", "team").out
    assert "a test of team" in web.titles[0]
    web.answers = [status(403), nothing(1)]
    refused = run("test", "team")
    assert (refused.status, "refused by the channel with 403" in refused.err) == (1, True)
    assert "may have arrived" in run("test", "team").err
    assert "alerts.toml; nearest: team" in run("test", "tem").err
    assert "CHANDLER_CHANNEL_NIGHT" in run("test", "night").err


def test_channels_are_listed_without_where_they_lead(run: Run, web: WebReceiver) -> None:
    """Each channel of alerts.toml is there, with what waits for it and since when it fails."""
    web.always = status(500)
    run("send")
    team = next(one for one in json.loads(run("channels", "--json").out) if one["channel"] == "team")
    assert (team["has_address"], team["messages"]) == (True, {"waiting": 1})
    assert team["failing_since"]
    shown = run("channels").out
    assert "fails since" in shown
    assert "night not in the environment" in shown
