"""Real ccxt, pointed at a replay exchange."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import ccxt

from etl.replay import ReplayServer


def pointed(name: str, server: ReplayServer) -> Any:
    """Return ccxt's exchange `name`, every address of which leads to `server`; paths stay as they are."""
    exchange = getattr(ccxt, name)({"enableRateLimit": False})
    addresses = {
        key: exchange.implode_hostname(url) for key, url in exchange.urls["api"].items() if isinstance(url, str)
    }
    exchange.urls["api"] = {key: server.url + urlsplit(url).path for key, url in addresses.items()}
    return exchange
