import smtplib
import socket
import threading

import httpx
import pytest
from sqlalchemy import text

from etl.alerting import ChannelSettings
from etl.alerts.addresses import Address
from etl.alerts.channels import Outcome, Result, open_channel
from etl.alerts.guard import PrivateAddressError, guarded, is_public
from etl.settings import Settings
from etl.warehouse import open_warehouse
from tests.alerts.receivers import WebReceiver, mail_receiver, status, web_receiver

PRIVATE = (
    *("127.0.0.1", "127.1.2.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
    "0.0.0.0",  # noqa: S104 - nobody binds to it
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1"),
    *("fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1"),
    *("localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", ""),
)


def send(url: str) -> Outcome:
    """Send a message to an address that may not be a private one."""
    return open_channel("team", Address(url), ChannelSettings(timeout_s=30)).send("t", "b", None, "m-1")


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_private(address: str) -> None:
    """Addresses of private networks are told in every spelling; what is no address is nobody's."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_what_is_public(address: str) -> None:
    """Addresses that can be anybody's are let through."""
    assert is_public(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001"])
def test_no_private_address_however_it_is_written(web: WebReceiver, host: str) -> None:
    """A channel at a private address is refused before anything is sent, whatever way it is written."""
    assert send(f"json://{host}:{web.port}/") == Outcome(Result.PRIVATE)
    assert web.requests == []


def test_a_name_that_leads_to_a_private_address(web: WebReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the address that counts to which a name leads when it is connected to, not what it led to before."""
    answers = iter(["93.184.216.34", "127.0.0.1"])
    resolve = socket.getaddrinfo

    def rebinding(host: str, port: int, *args: object, **kwargs: object) -> list[object]:
        return list(resolve(next(answers) if host == "hooks.example" else host, port))

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert socket.getaddrinfo("hooks.example", 80)[0][4][0] == "93.184.216.34"
    assert send(f"json://hooks.example:{web.port}/") == Outcome(Result.PRIVATE)
    assert web.requests == []


def test_mail_is_guarded_too() -> None:
    """A mail server in a private network is refused."""
    with mail_receiver() as mail:
        assert send(mail.url) == Outcome(Result.PRIVATE)
        assert mail.mails == []


def test_a_redirect_to_a_private_address(web: WebReceiver) -> None:
    """A library that follows redirects is stopped where it counts, and says who stopped it."""
    with web_receiver() as inner:
        web.always = status(302, Location=inner.url("http"))
        with guarded(allow_private=True), httpx.Client(follow_redirects=True, trust_env=False) as client:
            assert client.post(web.url("http")).status_code == 200
        seen = len(inner.requests)
        with guarded() as guard, httpx.Client(follow_redirects=True, trust_env=False) as client:
            with pytest.raises(PrivateAddressError):
                client.get(inner.url("http"))
            assert guard.has_refused
        assert (seen, len(inner.requests)) == (1, 1)


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_is_not_trusted(web: WebReceiver, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A proxy connects to where nobody here can see: with one in the environment nothing is sent, and that is said."""
    monkeypatch.setenv(name, f"http://127.0.0.1:{web.port}")
    assert send("json://hooks.example.com/") == Outcome(Result.PROXY)
    assert "allow_private" in str(Outcome(Result.PROXY))
    assert web.requests == []


def test_nobody_else_is_hindered(settings: Settings, web: WebReceiver) -> None:
    """While something is sent, other threads connect where they like; and after it this one does too."""
    said: list[int] = []

    def elsewhere() -> None:
        with open_warehouse(settings) as warehouse, warehouse.begin() as connection:
            said.append(connection.execute(text("SELECT 7")).scalar_one())
        with socket.create_connection(("127.0.0.1", web.port)):
            said.append(8)

    with guarded():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with pytest.raises(PrivateAddressError):
            socket.create_connection(("127.0.0.1", web.port))
        with pytest.raises(PrivateAddressError):
            smtplib.SMTP("127.0.0.1", web.port)
    elsewhere()
    assert said == [7, 8, 7, 8]


def test_what_takes_too_long_is_cut() -> None:
    """A connection is cut when its time is up, however long each read may take."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        guarded(allow_private=True, total_s=0.2) as guard,
        socket.create_connection(server.getsockname()) as one,
    ):
        one.settimeout(60)
        assert one.recv(1) == b""
        assert guard.is_cut
