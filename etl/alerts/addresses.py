"""Addresses of channels: Apprise URLs, which are secrets, out of the environment."""

from __future__ import annotations

import os
import re
from typing import NoReturn

VARIABLE_PREFIX = "CHANDLER_CHANNEL_"
CONNECTION_PREFIX = "chandler_channel_"


class Address:
    """An Apprise URL that does not show itself: not in a log, not in a traceback, not pickled into another process."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def scheme(self) -> str:
        """The scheme that the URL begins with, such as `slack`; nothing else of it may be shown."""
        found = re.match(r"([a-z][a-z0-9+.-]{0,30})://", self._url, re.IGNORECASE)
        return found.group(1).lower() if found else ""

    def reveal(self) -> str:
        """Return the URL, for what sends."""
        return self._url

    def __repr__(self) -> str:
        return f"Address({self.scheme}://***)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the address of a channel stays in the process that read it")


def address_from_environment(name: str) -> Address | None:
    """Return a channel's address by `CHANDLER_CHANNEL_<NAME>`; None if that is not set, or empty."""
    url = os.environ.get(VARIABLE_PREFIX + name.upper(), "").strip()
    return Address(url) if url else None


def how_to_set(name: str) -> str:
    """Return what to do where a channel has no address."""
    return (
        f"no address: set the Connection {CONNECTION_PREFIX}{name} (its password) or the variable "
        f"{VARIABLE_PREFIX}{name.upper()} to an Apprise URL"
    )
