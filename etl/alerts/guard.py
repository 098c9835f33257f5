"""Keeps what is sent away from private networks: looked at where it counts, at each connection that is made.

A name may lead anywhere, an address has many spellings, and a server may redirect. So it is no text that is judged but
the numbers to which the process connects, by Python's audit hook, which no library can forget to ask. It holds for the
block that asks for it, in its thread; other connections of the process are none of its business.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.request import getproxies

from etl.errors import AlertDeliveryError

Listener = Callable[[str, tuple[Any, ...]], None]

_SHARED_SPACE = ipaddress.ip_network("100.64.0.0/10")  # of carriers: neither private nor public to Python. RFC 6598
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))  # an IPv4 address at the end
_WHERE_TO = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_HEARD = ("socket.", "http.client.", "smtplib.")


class PrivateAddressError(AlertDeliveryError):
    """Something that is sent would have gone to a private address, or to where nobody can say. Holds no address."""

    is_retryable = False


class Guard:
    """Bounds of a guarded block, and its traffic so far.

    Attributes:
        has_refused: Whether it wanted to go where it may not; also if some library swallowed the error.
        connections: How many it began.
        is_cut: Whether it took too long, and its connections were cut.
    """

    def __init__(self, *, allow_private: bool, listener: Listener | None) -> None:
        self.has_refused = False
        self.connections = 0
        self.is_cut = False
        self._allow_private = allow_private
        self._listener = listener
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Judge an audit event.

        Raises:
            PrivateAddressError: It goes where it may not.
        """
        if event in _WHERE_TO:
            self._judge(args[0], args[1])
        if event == "socket.connect":
            self._follow(args[0])
        if self._listener is not None:
            self._listener(event, args)

    def cut(self) -> None:
        """End the connections that were made; whoever waits for an answer gets none."""
        with self._lock:
            self.is_cut = True
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Forget the connections."""
        with self._lock:
            while self._sockets:
                self._sockets.pop().close()

    def _judge(self, sock: socket.socket, address: object) -> None:
        if address is None or self._allow_private:  # None: sent to where it is connected
            return
        if not isinstance(address, tuple) or not is_public(str(address[0])):
            self.has_refused = True
            sock.close()  # whoever made it expects errors of the system alone, and would leave it open
            why = "the address is one of a private network, or of this machine"
            raise PrivateAddressError(f"{why}; allow_private = true would let it through")

    def _follow(self, sock: socket.socket) -> None:
        self.connections += 1
        with self._lock:
            if self.is_cut:
                raise TimeoutError("it has taken too long already")
            # A copy of its own: TLS takes the socket away from whoever made it.
            self._sockets.append(sock.dup())


_current: ContextVar[Guard | None] = ContextVar("chandler_guard", default=None)


@contextmanager
def guarded(
    *, allow_private: bool = False, total_s: float | None = None, listener: Listener | None = None
) -> Iterator[Guard]:
    """Refuse connections of this thread to private addresses while the block runs.

    Args:
        allow_private: Refuse none.
        total_s: Connections are cut after so long, however slowly something still comes.
        listener: Is told of audit events of sockets, `http.client` and `smtplib` in the block.
    """
    _install()
    guard = Guard(allow_private=allow_private, listener=listener)
    timer = threading.Timer(total_s, guard.cut) if total_s is not None else None
    if timer is not None:
        timer.daemon = True
        timer.start()
    token = _current.set(guard)
    try:
        yield guard
    finally:
        _current.reset(token)
        if timer is not None:
            timer.cancel()
        guard.close()


def is_public(address: str) -> bool:
    """Return whether an IP address, in any spelling that Python knows as one, is public; false for what is no address.

    What holds an IPv4 address in an IPv6 one is judged by that.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1])
        if any(found in network for network in _NAT64):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner:
            return is_public(str(inner))
        if found.is_site_local:
            return False
    elif found in _SHARED_SPACE:
        return False
    return found.is_global and not found.is_multicast and not found.is_reserved


def names_a_proxy() -> bool:
    """Return whether the environment sends HTTP through a proxy, which connects where no guard here sees it."""
    proxies = getproxies()
    return proxies.get("no") != "*" and any(proxies.get(scheme) for scheme in ("http", "https", "all"))


@cache
def _install() -> None:
    sys.addaudithook(_hear)


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(_HEARD) and (guard := _current.get()) is not None:
        guard.hear(event, args)
