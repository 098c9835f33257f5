"""Our errors as Airflow understands them: what a retry cannot help fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from etl.errors import ChandlerError


@contextmanager
def failing_at_once() -> Iterator[None]:
    """Let a retryable error pass as it is, so that Airflow tries again; make any other error of ours final.

    Raises:
        AirflowFailException: The error that no retry can help, with its message.
    """
    try:
        yield
    except ChandlerError as error:
        if error.is_retryable:
            raise
        # Airflow shows a log from its end, and a chain by its first cause last: there shall stand what to do about it.
        raise AirflowFailException(str(error)) from None
