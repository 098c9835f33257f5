"""Requests side by side whose failure is one error of ours, not a group of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from etl.errors import ChandlerError

_T = TypeVar("_T")


async def together(asks: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Run `asks` at once and return their results, in the order given.

    Raises:
        ChandlerError: The first that failed did so with it; the others are cancelled, and have ended.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask) for ask in asks]
    except BaseExceptionGroup as errors:
        # Not by except*, which puts what is raised in it into a group again.
        ours, others = errors.split(ChandlerError)
        if ours is None or others is not None:
            raise
        # The others follow from the same cause, or will show in a rerun.
        raise ours.exceptions[0] from errors
    return [task.result() for task in tasks]
