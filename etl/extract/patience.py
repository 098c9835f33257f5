"""Retries of a request: what fails is asked for again a few times, unless asking again cannot help.

Two layers: what breaks is tried again after short pauses that grow and jitter; where the exchange wants us away, the
budget keeps everyone away for as long as it asks, and the try does not count.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import tenacity

from etl.errors import ChandlerError, RateLimitError, StoreLostError
from etl.extract.source import Page, Route, Source
from etl.series import Series, TimeRange

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_TRIES = 5
_WAIT = tenacity.wait_exponential_jitter(multiplier=0.5, max=8.0, jitter=0.5)
_LONGEST_BAN_S = 300.0  # what is longer is left to Airflow's retries, which keep no worker waiting


async def fetch_patiently(source: Source, series: Series, window: TimeRange, route: Route | None = None) -> Page:
    """Ask until the page is there, as long as that may help.

    Raises:
        SourceError: It did not help; the last failure.
    """
    return await insist(lambda: source.fetch_page(series, window, route))


async def insist(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until there is an answer, as long as that may help.

    Raises:
        SourceError: It did not help; the last failure.
    """
    staying_away = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_short_ban),
        stop=tenacity.stop_after_delay(_LONGEST_BAN_S),
        before_sleep=_log_ban,
        reraise=True,
    )
    trying_again = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_is_worth_a_try),
        stop=tenacity.stop_after_attempt(_TRIES),
        wait=_WAIT,
        before_sleep=_FailureLog(),
        reraise=True,
    )

    async def once() -> _T:
        return await ask()

    return await staying_away(trying_again, once)


def _is_short_ban(error: BaseException) -> bool:
    return isinstance(error, RateLimitError) and (error.retry_after_s or 0.0) <= _LONGEST_BAN_S


def _is_worth_a_try(error: BaseException) -> bool:
    # A lost warehouse ends what is under way, with a word on what to do: to go on would make that untrue.
    if isinstance(error, RateLimitError | StoreLostError):
        return False
    return isinstance(error, ChandlerError) and error.is_retryable


def _log_ban(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    seconds = error.retry_after_s if isinstance(error, RateLimitError) else None
    log.warning("%s; everyone stays away%s", error, "" if seconds is None else f" for {seconds:.0f} s")


class _FailureLog:
    """Logs why a try has failed: as a warning once, and as information for as long as it stays the same."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause_s = state.next_action.sleep if state.next_action else 0.0
        level = logging.INFO if str(error) == self._last else logging.WARNING
        self._last = str(error)
        log.log(level, "%s; try %d of %d in %.1f s", error, state.attempt_number + 1, _TRIES, pause_s)
