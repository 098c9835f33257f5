"""Budgets in virtual time: sleeping takes none, and how fast the machine is has no part in what is seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from etl.warehouse.budget import bucket, leased, memory

_EPOCH_S = 1_700_000_000.0  # the beginning of a window of one, two, and ten seconds
_Result = TypeVar("_Result")


class _VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose clock goes on to the next timer as soon as nothing is left to do before it."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 1_000.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]  # asyncio's own
            self._now_s = max(self._now_s, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


def run_virtually(scenario: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run a scenario of budgets in memory, in a loop whose time is virtual."""
    loop = _VirtualLoop()
    clock = SimpleNamespace(monotonic=loop.time, time=lambda: _EPOCH_S - 1_000.0 + loop.time())
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=lambda: loop) as runner:
        for module in (bucket, leased, memory):
            patch.setattr(module, "time", clock)
        patch.setattr(leased, "_in_thread", _call)
        return runner.run(scenario())


async def _call(function: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
    return function(*args, **kwargs)
