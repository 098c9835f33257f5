"""Exceptions of ccxt, and of what it stands on, into ours: once and in one table."""

from __future__ import annotations

from typing import Any

import aiohttp
import ccxt

from etl.errors import (
    ChandlerError,
    MalformedPayloadError,
    RateLimitError,
    SourceError,
    SourceUnavailableError,
    UnknownSymbolError,
)
from etl.extract.http import RefusedAnswerError

_AWAY = frozenset({418, 429})
_BARRED = 451
_BARRED_ADVICE = (
    "the exchange may not serve the place that this machine calls from, by law; call from a country that it serves, "
    "or load another exchange"
)

# The first entry that an exception is an instance of decides; so the narrow stand before the wide.
TRANSLATION: tuple[tuple[type[Exception], type[SourceError], str], ...] = (
    (ccxt.BadSymbol, UnknownSymbolError, "the exchange does not list this symbol"),
    (ccxt.DDoSProtection, RateLimitError, "the exchange wants fewer requests"),
    (ccxt.RateLimitExceeded, RateLimitError, "the exchange wants fewer requests"),
    (ccxt.OnMaintenance, SourceUnavailableError, "the exchange is under maintenance; run it again later"),
    (ccxt.RequestTimeout, SourceUnavailableError, "the exchange did not answer in time; run it again"),
    (ccxt.NetworkError, SourceUnavailableError, "the exchange cannot be reached; check the network and run it again"),
    (ccxt.BadResponse, MalformedPayloadError, "the answer is not what the protocol promises"),
    (ccxt.OperationFailed, SourceUnavailableError, "the exchange could not serve just now; run it again"),
    (
        ccxt.AuthenticationError,
        SourceError,
        "the exchange refuses this caller, although candles take no key; call from another address",
    ),
    (ccxt.BaseError, SourceError, "the exchange refuses the request"),
    (aiohttp.ClientError, SourceUnavailableError, "the answer broke off; run it again"),
    (OSError, SourceUnavailableError, "the exchange cannot be reached; check the network and run it again"),
    # ccxt takes for granted that an answer has the form that it is used to, and so may its reader here.
    (Exception, MalformedPayloadError, "the answer is not what the protocol promises; run it again later"),
)


def translate(
    error: Exception,
    *,
    status: int = 0,
    is_json: bool = True,
    retry_after_s: float | None = None,
    **place: Any,
) -> ChandlerError:
    """Return our error for what ccxt raised: of its own tree, or met by it in an answer of another form.

    Args:
        error: What ccxt raised.
        status: The answer's HTTP status, if there was one.
        is_json: Whether it was JSON, and not what a gateway says.
        retry_after_s: What the answer's `Retry-After` said.
        place: `series` and `time_range`, for the message.
    """
    refused = next((one for one in (error, error.__cause__) if isinstance(one, RefusedAnswerError)), None)
    if refused is not None:
        return MalformedPayloadError(f"{refused}; run it again, and look at the address if it stays so", **place)
    is_own_trouble = status >= 500 and not isinstance(error, ccxt.OperationFailed)
    # What ccxt finds no better word for: said with a status of success, or not by the exchange.
    is_vague = type(error) is ccxt.ExchangeError and (200 <= status < 400 or (status >= 400 and not is_json))
    is_broken_off = type(error) is ccxt.ExchangeError and isinstance(error.__cause__, aiohttp.ClientError)
    if status in _AWAY and not isinstance(error, ccxt.DDoSProtection | ccxt.RateLimitExceeded):
        error = ccxt.RateLimitExceeded(str(error))
    elif status == _BARRED:
        # Binance says so to whole countries, and ccxt takes it for trouble with the network.
        error = ccxt.PermissionDenied(str(error))
    elif is_own_trouble or is_vague or is_broken_off:
        # An exchange that fails is to come back to, whatever it says; an answer that breaks off is one that failed.
        error = ccxt.OperationFailed(str(error))
    detail = " ".join(str(error).split())[:200]
    if status >= 400:
        detail = f"HTTP {status}: {detail}"
    for theirs, ours, advice in TRANSLATION:
        if isinstance(error, theirs):
            said = _BARRED_ADVICE if status == _BARRED else advice
            message = f"{said} ({type(error).__name__}: {detail})"
            if ours is RateLimitError:
                return RateLimitError(message, retry_after_s=retry_after_s, **place)
            return ours(message, **place)
    raise AssertionError("the table ends in what takes everything") from error
