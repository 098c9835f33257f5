"""Signals that end a command as Ctrl-C does: what it holds open is closed, and its last user stops the PostgreSQL."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ending_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what SIGINT does; a signal that the caller ignores, as `nohup` does, stays ignored.

    For the main thread.

    Raises:
        SystemExit: Such a signal has ended the block: with 128 and its number, as a shell expects.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        # A second one would strike while the first has things closed.
        if received:
            return
        received.append(number)
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as of what a script has put into the background
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    own = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in own:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in own:
            signal.signal(number, signal.SIG_DFL)
        if received:
            raise SystemExit(128 + received[0])
