"""Record of a try on the wire: whether a message was handed over, and what was answered.

Apprise tells no more than yes or no, and writes the rest into a log that holds secrets. So the try is watched: Python's
audit events say when a request, or a mail, is handed over; the numbers of answers and the classes of errors, which are
met while Apprise logs them, say how it ended. No text of anybody's is read, and none of those log lines goes anywhere.
"""

from __future__ import annotations

import logging
import smtplib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

_END_OF_MAIL = b"\r\n.\r\n"
# Those of libraries that write addresses, which are secrets, into their lines.
_SILENCED = (
    *("apprise", "requests", "urllib3", "urllib3.connectionpool", "urllib3.connection", "urllib3.poolmanager"),
    *("urllib3.util.retry",),
)
_ANSWERED = "urllib3.connectionpool"
_STATUS = 6  # where the number of an answer stands in what it logs of one


@dataclass(slots=True)
class Wire:
    """Observations of a try.

    Attributes:
        is_open: Whether something was handed over of which nothing was heard since.
        answers: The numbers with which servers answered: of HTTP, or of SMTP where it refused.
        accepted: How many mails were accepted.
        speaks: Whether what goes on is HTTP or SMTP, so that nothing handed over means that nothing has arrived.
        error: What Apprise met last.
    """

    is_open: bool = False
    answers: list[int] = field(default_factory=list)
    accepted: int = 0
    speaks: bool = False
    error: BaseException | None = None

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        if event.startswith(("http.client.", "smtplib.")):
            self.speaks = True
        if event == "http.client.send":
            self.is_open = True
        elif event == "smtplib.send":
            said = args[1] if isinstance(args[1], bytes) else str(args[1]).encode(errors="replace")
            if said.endswith(_END_OF_MAIL):
                self.is_open = True
            elif self.is_open and said[:4].lower() == b"mail":  # the next one begins: the one before was accepted
                self.is_open = False
                self.accepted += 1

    def meet(self, record: logging.LogRecord) -> None:
        """Take note of what a library logs: of the number of an answer, and of the error it has just caught."""
        if record.name == _ANSWERED:
            self.speaks = True
            if isinstance(record.args, tuple) and len(record.args) > _STATUS:
                self._note(record.args[_STATUS])
        elif (error := sys.exc_info()[1]) is not None and error is not self.error:
            self.error = error
            if isinstance(error, smtplib.SMTPResponseException):
                self._note(error.smtp_code)
            elif isinstance(error, smtplib.SMTPRecipientsRefused):
                for code, _ in error.recipients.values():
                    self._note(code)

    def _note(self, answer: object) -> None:
        if isinstance(answer, int):
            self.is_open = False
            self.answers.append(answer)


_current: ContextVar[Wire | None] = ContextVar("chandler_wire", default=None)


@contextmanager
def watched() -> Iterator[Wire]:
    """Watch what this thread sends while the block runs; `Wire.hear` is to be told of audit events."""
    silence()
    wire = Wire()
    token = _current.set(wire)
    try:
        yield wire
    finally:
        _current.reset(token)
        wire.error = None


def silence() -> None:
    """Keep what Apprise, and what it sends by, would log out of everybody's logs, for as long as the process lives."""
    for name in _SILENCED:
        logging.getLogger(name).addFilter(_drop)
    logging.getLogger("apprise").propagate = False
    for name in ("apprise", _ANSWERED):  # what is dropped must be made, to be seen
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).disabled = False


def _drop(record: logging.LogRecord) -> bool:
    if (wire := _current.get()) is not None:
        wire.meet(record)
    return wire is None and record.name != "apprise" and record.levelno > logging.DEBUG
