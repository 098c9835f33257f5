"""Errors of the stack itself."""

from etl.errors import ChandlerError


class StackError(ChandlerError):
    """The stack cannot start, or a part of it died."""


class StackBusyError(StackError):
    """Another stack uses the same home."""


class StopAskedError(StackError):
    """Ctrl-C, or a signal that means the same."""


class ApiError(StackError):
    """Airflow's REST API refused a request, or did not answer.

    Args:
        message: What was asked and answered.
        status: The HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
