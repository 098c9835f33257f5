"""The way to a channel: one Apprise plugin, asked directly, guarded and watched. Says how a try ended, in a closed set.

Nothing that a server answers, and nothing of a channel's address, leaves this module.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from etl.alerting import ChannelSettings
from etl.alerts.addresses import Address
from etl.alerts.guard import Guard, guarded, names_a_proxy
from etl.alerts.wire import Wire, silence, watched
from etl.errors import ConfigError

if TYPE_CHECKING:
    from apprise import AppriseAttachment, NotifyBase

_MAIL = frozenset({"mailto", "mailtos"})
# Their plugins pass on headers of ours.
_WITH_HEADERS = frozenset({"json", "jsons", "xml", "xmls", "form", "forms"}) | _MAIL
# Their plugins connect in threads of their own, where no guard sees them.
_UNGUARDED = frozenset({"mqtt", "mqtts", "xmpp", "xmpps"})
_TOTAL = 3  # times the time-out: to connect, to be answered, and once more for what comes slowly


class Result(StrEnum):
    """Outcomes of a try.

    SENT: taken. REFUSED: not taken. UNREACHABLE: nothing was handed over. UNKNOWN: handed over, at least in part, and
    nobody said whether it was taken. PRIVATE: where it leads is private, and that is not allowed. PROXY: a proxy would
    connect, and that one may lead anywhere.
    """

    SENT = "sent"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    PRIVATE = "private"
    PROXY = "proxy"


_WORDS = {
    Result.SENT: "sent",
    Result.REFUSED: "refused by the channel",
    Result.UNREACHABLE: "the channel cannot be reached",
    Result.UNKNOWN: "it broke off after something was handed over; it may have arrived",
    Result.PRIVATE: "the address is one of a private network, or of this machine; allow_private = true would allow it",
    Result.PROXY: "a proxy stands in the environment, and nobody knows where that leads; allow_private = true, or "
    "NO_PROXY=*, would allow it",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a try; holds no text of anybody else's.

    Attributes:
        status: The number of the answer that refused it, of HTTP or SMTP; None if there is none.
    """

    result: Result
    status: int | None = None

    def __str__(self) -> str:
        number = "" if self.status is None else f" with {self.status}"
        return _WORDS[self.result] + number


class Channel:
    """A place to which messages are sent."""

    def __init__(self, plugin: NotifyBase, scheme: str, settings: ChannelSettings) -> None:
        self._plugin: Any = plugin  # what plugins have besides, their base does not say
        self._scheme = scheme
        self._settings = settings

    @property
    def takes_images(self) -> bool:
        """True if an image may be sent along."""
        return self._settings.chart and bool(self._plugin.attachment_support)

    def send(self, title: str, body: str, image: bytes | None, identity: str) -> Outcome:
        """Send a message, once.

        Args:
            body: Markdown; the channel gets what it wants: Markdown, HTML or plain text.
            image: A PNG; left out where the channel takes none.
            identity: Goes along in a header, else in the last line, so that a repetition can be told.
        """
        settings = self._settings
        if not settings.allow_private and self._scheme in _UNGUARDED:
            return Outcome(Result.PRIVATE)
        if not settings.allow_private and self._scheme not in _MAIL and names_a_proxy():
            return Outcome(Result.PROXY)
        if self._scheme in _WITH_HEADERS:
            self._plugin.headers["X-Chandler-Message"] = identity
        else:
            body = f"{body}\n\n_message {identity}_"
        total_s = _TOTAL * settings.timeout_s + self._plugin.request_rate_per_sec
        attached = _attach(image) if image is not None and self.takes_images else None
        with (
            watched() as wire,
            guarded(allow_private=settings.allow_private, total_s=total_s, listener=wire.hear) as guard,
        ):
            return self._judge(self._notify(title, body, attached), wire, guard)

    def _notify(self, title: str, body: str, attached: AppriseAttachment | None) -> bool:
        try:
            return bool(
                self._plugin.notify(
                    body=body, title=title, body_format="markdown", overflow="truncate", attach=attached
                )
            )
        except Exception:  # noqa: BLE001 - plugins are by many hands, and what they raise may hold the address
            return False

    def _judge(self, is_taken: bool, wire: Wire, guard: Guard) -> Outcome:
        taken = wire.accepted + sum(200 <= answer < 300 for answer in wire.answers)
        refusals = [answer for answer in wire.answers if not 200 <= answer < 300]
        # One that answered "yes" and "but no" in the text has refused; any other half a success may have arrived.
        is_plain = len(self._plugin) == 1 and len(wire.answers) == 1 and wire.error is None and not guard.is_cut
        if is_taken:
            outcome = Outcome(Result.SENT)
        elif wire.is_open or (taken and not is_plain):
            outcome = Outcome(Result.UNKNOWN)
        elif guard.has_refused:
            outcome = Outcome(Result.PRIVATE)
        elif wire.answers:
            outcome = Outcome(Result.REFUSED, refusals[-1] if refusals else None)
        elif not guard.connections and not isinstance(wire.error, socket.gaierror) and not wire.speaks:
            outcome = Outcome(Result.REFUSED)  # the plugin itself would not have it
        elif wire.speaks or isinstance(wire.error, (ConnectionRefusedError, socket.gaierror)):
            outcome = Outcome(Result.UNREACHABLE)
        else:
            outcome = Outcome(Result.UNKNOWN)
        return outcome


def open_channel(name: str, address: Address, settings: ChannelSettings) -> Channel:
    """Make a channel of its address; nothing is sent yet.

    Raises:
        ConfigError: The address is none that Apprise knows. The error names the channel and the scheme alone.
    """
    silence()
    from apprise import Apprise, AppriseAsset

    asset = AppriseAsset(
        app_id="Chandler",
        app_desc="Chandler",
        app_url="",
        image_url_mask="",
        image_url_logo="",
        http_redirects=False,
        pgp_autogen=False,
        pem_autogen=False,
        storage_mode="memory",
    )
    plugin: Any = None
    with watched(), guarded(allow_private=settings.allow_private):
        try:
            plugin = Apprise.instantiate(address.reveal(), asset=asset)
        except Exception:  # noqa: BLE001 - what a plugin raises may hold the address
            plugin = None
    if plugin is None:
        scheme = f"{address.scheme}://" if address.scheme else "no scheme"
        advice = "see https://appriseit.com/services/ for how one is written"
        raise ConfigError(f"channel {name}: its address ({scheme}) is none that Apprise knows; {advice}")
    # What the address says of these is not asked: tries are counted and timed by the outbox.
    plugin.redirects = False
    plugin.retry = 0
    plugin.socket_connect_timeout = plugin.socket_read_timeout = settings.timeout_s
    return Channel(plugin, address.scheme, settings)


def _attach(image: bytes) -> AppriseAttachment:
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    attached = AppriseAttachment()
    make: Any = AttachMemory  # without annotations
    attached.add(make(content=image, name="chart.png", mimetype="image/png"))
    return attached
