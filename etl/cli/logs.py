"""Logs of commands: for people on a terminal, or a JSON object a line for what collects logs.

`CHANDLER_LOG_FORMAT=json` asks for the second. Airflow's own logs have a setting of Airflow's.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson
from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from etl.errors import ChandlerError, ConfigError
from etl.series import Series, TimeRange
from etl.spelling import nearest

VARIABLE = "CHANDLER_LOG_FORMAT"
log = logging.getLogger("chandler")
# Of what is said in a colour as a whole; what has none, or another one, is INFO.
_LEVELS = {"red": logging.ERROR, "yellow": logging.WARNING}


class LogFormat(StrEnum):
    """Formats of a line of the log."""

    TEXT = "text"
    JSON = "json"


class Stderr(Console):
    """The place beside their results where commands speak to people: or the log, if only a machine listens.

    Attributes:
        told: Mistakes of settings that were printed, each as a line: an error that repeats them leaves them out.
    """

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)
        self.is_log = False
        self.told: set[str] = set()

    def print(self, *objects: Any, style: Any = None, **options: Any) -> None:
        """Print; or log what is text, and leave out bars and whatever else moves."""
        if not self.is_log:
            super().print(*objects, style=style, **options)
            return
        read = Text.from_markup if options.get("markup", True) else Text
        for one in objects:
            if isinstance(one, str | Text):
                text = read(one) if isinstance(one, str) else one
                words = f"{style} {text.style}".split()
                log.log(max(_LEVELS.get(word, logging.INFO) for word in words), "%s", text.plain)


class JsonLines(logging.Formatter):
    """A JSON object a line: time, level, logger, message; series, start and end where the record is about some."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (run := getattr(record, "run", None)) is not None:
            facts["run"] = run
        facts |= _place(record)
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(facts, default=str).decode()


def _place(record: logging.LogRecord) -> dict[str, str]:
    """Return what a record is about: the first series and the first range that it was given."""
    args = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    given = [part for one in args for part in _parts(one)]
    series = next((one for one in given if isinstance(one, Series)), None)
    span = next((one for one in given if isinstance(one, TimeRange)), None)
    place = {} if series is None else {"series": str(series)}
    return place if span is None else place | {"start": span.start.isoformat(), "end": span.end.isoformat()}


def _parts(given: object) -> tuple[object, ...]:
    return (given.series, given.time_range) if isinstance(given, ChandlerError) else (given,)


def set_up_logs(err: Stderr, *, verbose: bool) -> None:
    """Let records go to stderr: warnings and worse, what each step does if `verbose`, and whatever is said to people.

    Raises:
        ConfigError: CHANDLER_LOG_FORMAT is none.
    """
    err.told.clear()
    err.is_log = log_format() is LogFormat.JSON
    handler: logging.Handler
    if err.is_log:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
    else:
        handler = RichHandler(console=err, show_path=False, show_time=verbose, markup=False, highlighter=None)
        handler.setFormatter(logging.Formatter("%(message)s"))
    log.setLevel(logging.INFO if err.is_log else logging.NOTSET)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler])
    for noisy in ("alembic", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def log_format() -> LogFormat:
    """Return what the environment asks for.

    Raises:
        ConfigError: It is none.
    """
    asked = os.environ.get(VARIABLE) or LogFormat.TEXT
    if asked not in list(LogFormat):
        raise ConfigError(f"{VARIABLE}: {asked!r} is no format{nearest(asked, LogFormat)}; write text or json")
    return LogFormat(asked)
