"""Every error that ccxt can raise becomes one of ours."""

from __future__ import annotations

import inspect

import aiohttp
import ccxt
import pytest

from etl.errors import MalformedPayloadError, RateLimitError, SourceError, SourceUnavailableError
from etl.extract.translate import TRANSLATION, translate

CCXT_ERRORS = sorted(
    (error for _, error in inspect.getmembers(ccxt, inspect.isclass) if issubclass(error, ccxt.BaseError)),
    key=lambda error: error.__name__,
)


@pytest.mark.parametrize("theirs", CCXT_ERRORS, ids=lambda error: error.__name__)
def test_every_ccxt_error_is_ours(theirs: type[Exception]) -> None:
    """Each class of ccxt's tree is translated, and only what concerns the network may be retried."""
    ours = translate(theirs("what they said"))
    assert isinstance(ours, SourceError)
    assert "what they said" in str(ours)
    assert "unexpected" not in str(ours)
    assert ours.is_retryable == issubclass(theirs, ccxt.OperationFailed | ccxt.BadResponse)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (AttributeError("'str' object has no attribute 'get'"), MalformedPayloadError),
        (TypeError("string indices must be integers"), MalformedPayloadError),
        (KeyError("serverTime"), MalformedPayloadError),
        (IndexError("list index out of range"), MalformedPayloadError),
        (RecursionError("maximum recursion depth exceeded"), MalformedPayloadError),
        (ArithmeticError("no number"), MalformedPayloadError),
        (TimeoutError("timed out"), SourceUnavailableError),
        (ConnectionResetError("by peer"), SourceUnavailableError),
        (aiohttp.ClientPayloadError("broke off"), SourceUnavailableError),
    ],
    ids=lambda error: type(error).__name__ if isinstance(error, Exception) else "",
)
def test_what_is_not_of_ccxt_s_tree_is_ours_too(theirs: Exception, ours: type[SourceError]) -> None:
    """An answer of another form makes ccxt stumble over itself: no bug of ours, and worth another try."""
    error = translate(theirs)
    assert type(error) is ours
    assert error.is_retryable
    assert str(theirs) in str(error)


def test_the_table_has_no_dead_line() -> None:
    """No entry stands behind one that takes everything from it."""
    for index, (theirs, _, _) in enumerate(TRANSLATION):
        assert not any(issubclass(theirs, earlier) for earlier, _, _ in TRANSLATION[:index]), theirs


def test_retry_after_and_overload_are_understood() -> None:
    """The rest of the answer, beside ccxt's class, is not lost."""
    limited = translate(ccxt.DDoSProtection("418"), retry_after_s=30.0)
    assert isinstance(limited, RateLimitError)
    assert limited.retry_after_s == 30.0
    assert isinstance(translate(ccxt.ExchangeError("overloaded"), status=503), SourceUnavailableError)
    assert isinstance(translate(ccxt.BadRequest("closed for maintenance"), status=503), SourceUnavailableError)
    assert isinstance(translate(ccxt.ExchangeError("slow down"), status=429), RateLimitError)
    assert not translate(ccxt.ExchangeError("no"), status=400).is_retryable
    assert translate(ccxt.ExchangeError("Internal server error"), status=200).is_retryable
    assert translate(ccxt.ExchangeError("<html>Not Found</html>"), status=404, is_json=False).is_retryable
    assert not translate(ccxt.BadRequest("no"), status=200).is_retryable


def test_a_country_that_is_not_served_is_no_trouble_with_the_network() -> None:
    """Binance answers so to callers from some countries: no retry helps, and the message says what it is about."""
    ours = translate(ccxt.ExchangeNotAvailable("restricted location"), status=451)
    assert not ours.is_retryable
    assert "call from a country that it serves, or load another exchange" in str(ours)
    denied = translate(ccxt.AuthenticationError("no"), status=401)
    assert "call from another address" in str(denied)
    for refusal in (ours, denied):
        assert "check the keys" not in str(refusal), "none is taken"
    assert "HTTP 451: restricted location" in str(ours)
