"""A child process that does something and is killed with SIGKILL at a step of it.

Children are forked from one server process that has imported what they need, so that each takes no time to begin.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any


def run_in_child(target: Callable[..., None], arguments: Sequence[Any], preload: Sequence[str]) -> int | None:
    """Do something in a child process; return its exit code, negative for a signal."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*preload])
    child = context.Process(target=target, args=tuple(arguments))
    child.start()
    child.join()
    return child.exitcode


def dying(function: Callable[..., Any], call: int, when: str = "after") -> Callable[..., Any]:
    """Return a function that does the same, and kills the process before or after its so many-th call."""
    calls = itertools.count(1)

    def die_in_time(*args: Any, **kwargs: Any) -> Any:
        mine = next(calls)  # it may be called by several threads
        if mine == call and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **kwargs)
        if mine == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return die_in_time
