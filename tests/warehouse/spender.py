"""A process that spends as much of a budget as it can get, on requests to an exchange.

Run as `python -m tests.warehouse.spender`, with the arguments of `spend` as JSON; it prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

from etl.settings import Settings
from etl.warehouse import open_warehouse
from etl.warehouse.budget import SharedBudget

WEIGHT, AT_ONCE = 2, 6


async def spend(warehouse_url: str, exchange_url: str, terms: dict[str, Any]) -> Counter[str]:
    """Ask from one moment to another, and return how often each status was answered.

    The two, seconds since the epoch, are read from the input, once it is said that all is ready.
    """
    statuses: Counter[str] = Counter()
    with open_warehouse(Settings(warehouse_url=warehouse_url)) as warehouse:
        async with SharedBudget(warehouse, "binance", **terms) as budget, aiohttp.ClientSession() as session:
            print("ready", flush=True)  # noqa: T201  # what the parent waits for
            begin, end = json.loads(await asyncio.to_thread(sys.stdin.readline))

            async def ask() -> None:
                while time.time() < end:
                    await budget.spend(WEIGHT)
                    await asyncio.sleep(random.uniform(0.0, 0.04))  # noqa: S311 # a network's jitter is no secret
                    async with session.get(exchange_url) as answer:
                        used = int(answer.headers["X-MBX-USED-WEIGHT-1M"])
                    statuses[str(answer.status)] += 1
                    budget.settle(WEIGHT, used)

            await asyncio.sleep(begin - time.time())
            asked = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]
            await asyncio.sleep(end - time.time())
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
    return statuses


if __name__ == "__main__":
    print(json.dumps(asyncio.run(spend(**json.loads(sys.argv[1])))))  # noqa: T201
