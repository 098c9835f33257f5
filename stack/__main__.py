"""Chandler with all that it needs, on this machine: PostgreSQL, Airflow and, for the demo, an exchange."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from etl.errors import ChandlerError
from stack.airflow import REPOSITORY
from stack.home import Home
from stack.screen import Screen
from stack.session import run_demo, run_feeds

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

_KEPT = REPOSITORY / ".chandler"
_INTERRUPTED = 128 + signal.SIGINT


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Check the result with `chandler audit`, stop, and end.")
    ] = False,
    days: Annotated[int, typer.Option(min=1, max=60, help="How many of the last UTC days to load.")] = 7,
) -> None:
    """Load the last days of a made-up market through Airflow, and leave Airflow up to look at."""
    home = Home(_home_folder("demo"))
    for name in [name for name in os.environ if name.startswith(("CHANDLER_", "AIRFLOW_CONN_CHANDLER_"))]:
        # A made-up market must not find its way into somebody's real warehouse or archive.
        del os.environ[name]
    os.environ["CHANDLER_FEEDS"] = str(REPOSITORY / "feeds.demo.toml")
    _guard(lambda screen, stop_asked: run_demo(home, screen, stop_asked, days=days, is_once=once))


@app.command()
def run() -> None:
    """Keep the feeds of feeds.toml up to date from their exchanges, day by day, until Ctrl-C."""
    home = Home(_home_folder("run"))
    os.environ.setdefault("CHANDLER_FEEDS", str(REPOSITORY / "feeds.toml"))
    _guard(lambda screen, stop_asked: run_feeds(home, screen, stop_asked))


def _home_folder(name: str) -> Path:
    """Return where a command keeps everything: never where the other one does, as made-up candles are no real ones."""
    folder = Path(os.environ.get("CHANDLER_HOME", _KEPT / name)).expanduser().absolute()
    other = "demo" if name == "run" else "run"
    if folder == _KEPT / other:
        told = f"that is what `make {other}` keeps; unset it, or name another folder"
        raise typer.BadParameter(told, param_hint=f"CHANDLER_HOME={folder}")
    return folder


def _guard(work: Callable[[Screen, threading.Event], None]) -> None:
    """Do the work; turn signals into a request to stop, and our errors into a message and status 1."""
    screen = Screen()
    stop_asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop_asked.set())
    try:
        work(screen, stop_asked)
    except ChandlerError as error:
        if stop_asked.is_set():
            # What breaks off in the middle of a start breaks off because of Ctrl-C: no fault, but no success either.
            raise typer.Exit(_INTERRUPTED) from error
        screen.fail(str(error))
        raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
