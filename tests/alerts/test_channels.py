import logging
import pickle
import socket
import threading

import pytest

from etl.alerting import ChannelSettings
from etl.alerts.addresses import Address
from etl.alerts.channels import Outcome, Result, open_channel
from etl.errors import ConfigError
from tests.alerts.receivers import (
    MailReceiver,
    WebReceiver,
    drip,
    free_port,
    nothing,
    status,
)

LOCAL = ChannelSettings(allow_private=True, timeout_s=30)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
SECRET = "T0pSecretToken"  # noqa: S105 - nobody's


def send(
    url: str, settings: ChannelSettings = LOCAL, body: str = "It **fell**.", image: bytes | None = None
) -> Outcome:
    """Send a message to an address."""
    return open_channel("team", Address(url), settings).send("BTC fell", body, image, "m-1")


def test_a_webhook_gets_title_body_image_and_identity(web: WebReceiver) -> None:
    """A json:// channel is sent all of a message; its identity stands in a header."""
    assert send(web.url(), image=PNG) == Outcome(Result.SENT)
    (request,) = web.requests
    assert request.json["title"] == "BTC fell"
    assert "fell" in request.json["message"]
    assert request.json["attachments"][0]["filename"] == "chart.png"
    assert request.headers["X-Chandler-Message"] == "m-1"


def test_no_image_where_it_is_not_wanted(web: WebReceiver) -> None:
    """`chart = false` keeps the image out."""
    assert send(web.url(), ChannelSettings(allow_private=True, chart=False), image=PNG).result is Result.SENT
    assert web.requests[0].json["attachments"] == []


def test_mail_has_the_chart_and_html(mail: MailReceiver) -> None:
    """A mail holds the message as HTML, the chart as an image, and the identity in a header."""
    assert send(mail.url, image=PNG) == Outcome(Result.SENT)
    (found,) = mail.mails
    assert found["Subject"] == "BTC fell"
    assert found["X-Chandler-Message"] == "m-1"
    (image,) = [part for part in found.walk() if part.get_content_type() == "image/png"]
    assert image.get_payload(decode=True) == PNG
    (page,) = [part for part in found.walk() if part.get_content_type() == "text/html"]
    assert "<strong>fell</strong>" in page.get_content()


def test_slack_is_sent_by_its_real_plugin(web: WebReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slack:// address posts to the webhook of its tokens; the identity stands in the text."""
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://127.0.0.1:{web.port}/services")
    assert send("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", image=PNG) == Outcome(Result.SENT)
    (request,) = web.requests
    assert request.path.startswith("/services/T1JJ3T3L2/A1BRTD4JD/")
    assert "BTC fell" in request.body.decode()
    assert "m-1" in request.body.decode()


@pytest.mark.parametrize("code", [400, 404, 429, 500, 504])
def test_a_refusal_has_its_number(web: WebReceiver, code: int) -> None:
    """A channel that answers with an error has refused, whatever the error; its number is known."""
    web.always = status(code)
    assert send(web.url()) == Outcome(Result.REFUSED, code)


def test_a_redirect_is_not_followed(web: WebReceiver) -> None:
    """A server that sends us elsewhere has refused; nobody goes there."""
    web.always = status(302, Location=f"http://127.0.0.1:{web.port}/elsewhere")
    assert send(web.url()) == Outcome(Result.REFUSED, 302)
    assert len(web.requests) == 1


def test_nobody_listens() -> None:
    """Nothing is handed over to a place at which nobody listens, by HTTP or mail; nor to a name that leads nowhere."""
    port = free_port()
    mail = f"mailto://127.0.0.1:{port}?mode=insecure&from=a@example.com&to=b@example.com"
    assert send(f"json://127.0.0.1:{port}/") == Outcome(Result.UNREACHABLE)
    assert send(mail) == Outcome(Result.UNREACHABLE)
    assert send("json://nowhere.invalid/") == Outcome(Result.UNREACHABLE)


def test_one_that_takes_it_and_says_nothing(web: WebReceiver) -> None:
    """A request that was taken and not answered may have arrived."""
    web.always = nothing(2)
    assert send(web.url(), ChannelSettings(allow_private=True, timeout_s=1)) == Outcome(Result.UNKNOWN)


def test_one_that_never_comes_to_an_end(web: WebReceiver) -> None:
    """An answer that drips for ever is cut off; each read of it was in time."""
    web.always = drip(3_600)
    assert send(web.url(), ChannelSettings(allow_private=True, timeout_s=0.3)) == Outcome(Result.UNKNOWN)


def test_mail_that_is_refused(mail: MailReceiver) -> None:
    """A mail server's number is known too, and a mail that it refused has not arrived."""
    mail.refuse = ["554 no"]
    assert send(mail.url) == Outcome(Result.REFUSED, 554)


@pytest.mark.parametrize(("said", "result"), [(b"", Result.UNREACHABLE), (b"220 hi\r\n", Result.UNREACHABLE)])
def test_a_mail_server_that_hangs_has_nothing(said: bytes, result: Result) -> None:
    """A mail is handed over by its last line: a server that falls silent before it has nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        held = []

        def greet() -> None:
            connection, _ = server.accept()
            held.append(connection)
            connection.sendall(said)

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"mailto://127.0.0.1:{port}?mode=insecure&from=a@example.com&to=b@example.com"
        assert send(url, ChannelSettings(allow_private=True, timeout_s=0.4)).result is result
        thread.join()
        held[0].close()


@pytest.mark.parametrize("url", ["nothing://x/T0pSecretToken", "T0pSecretToken", "slack://T0pSecretToken", "mailto://"])
def test_an_address_that_is_none_is_not_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error names the channel and the scheme, and nothing else of the address; nor does any log."""
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError, match="channel team") as caught:
        open_channel("team", Address(url), LOCAL)
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
    assert caught.value.__cause__ is None


def test_an_address_does_not_show_itself() -> None:
    """Neither as text nor pickled: it stays in the process that read it."""
    address = Address(f"slack://{SECRET}")
    assert SECRET not in f"{address} {address!r} {[address]}"
    with pytest.raises(TypeError, match="stays in the process"):
        pickle.dumps(address)


def test_no_log_holds_an_address(web: WebReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that Apprise, requests or urllib3 log of a try reaches a log, whatever its level and however it ends."""
    url = f"json://user:{SECRET}@127.0.0.1:{web.port}/{SECRET}?-token={SECRET}"
    with caplog.at_level(logging.DEBUG):
        web.answers = [status(200), status(500)]
        assert [send(url).result, send(url).result] == [Result.SENT, Result.REFUSED]
        web.stop()
        assert send(url).result is Result.UNREACHABLE
    assert SECRET not in caplog.text
    assert not [one for one in caplog.records if one.name.startswith(("apprise", "urllib3", "requests"))]
