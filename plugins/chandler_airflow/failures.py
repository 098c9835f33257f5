"""Our errors as Airflow understands them: what a retry cannot help fails at once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from etl.errors import ChandlerError, UnknownSymbolError

log = logging.getLogger(__name__)


class NothingHandedOverError(AirflowFailException):
    """A step has nothing to work on, since the step before it has left nothing.

    Args:
        step: The id of the task that has left nothing.
        series: Whose partition it is about; None if it is about all of the run.
    """

    def __init__(self, step: str, series: str | None) -> None:
        whose = "" if series is None else f" of {series}"
        super().__init__(
            f"{step}{whose} has left nothing to go on with: it has failed, or was marked as success without having "
            f"run; clear {step}{whose} with what follows (downstream)"
        )


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Let a retryable error pass as it is, so that Airflow tries again; make any other error of ours final.

    The message of either is logged first, by itself: Airflow's page shows a traceback folded, and its head on one line.

    Raises:
        AirflowFailException: The error that no retry can help, with its message.
    """
    try:
        yield
    except AirflowFailException as error:
        _log_message(error)
        raise
    except ChandlerError as error:
        _log_message(error)
        if error.is_retryable:
            raise
        # Without the cause, whose traceback Airflow would show as well.
        raise AirflowFailException(str(error)) from None


def _log_message(error: Exception) -> None:
    for line in str(error).splitlines():
        log.error("%s", line)


@contextmanager
def naming_kept_list() -> Iterator[None]:
    """Add to the error of a wrong symbol which task to clear: the run keeps its list, and would ask for it once more.

    Raises:
        AirflowFailException: The exchange does not list the symbol, and no retry can help.
    """
    try:
        yield
    except UnknownSymbolError as error:
        if error.is_retryable:
            raise
        raise AirflowFailException(
            f"{error}; once the symbol is right, clear list_series with Downstream chosen: the run keeps its list"
        ) from None
