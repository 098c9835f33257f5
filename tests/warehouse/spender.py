"""A process that spends as much of a budget as it can get, on requests to an exchange.

Run as `python -m tests.warehouse.spender`, with the arguments of `spend` as JSON; it prints what it did as JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from typing import Any

import aiohttp

from etl.settings import Settings
from etl.warehouse import open_warehouse
from etl.warehouse.budget import SharedBudget

WEIGHT, AT_ONCE = 2, 6


async def spend(warehouse_url: str, exchange_url: str, terms: dict[str, Any]) -> Counter[str]:
    """Make so many requests, and return how often each status was answered.

    Their number is read from the input, once it is said that all is ready.
    """
    statuses: Counter[str] = Counter()
    with open_warehouse(Settings(warehouse_url=warehouse_url)) as warehouse:
        async with SharedBudget(warehouse, "binance", **terms) as budget, aiohttp.ClientSession() as session:
            print("ready", flush=True)  # noqa: T201  # what the parent waits for
            left = iter(range(json.loads(await asyncio.to_thread(sys.stdin.readline))))

            async def ask() -> None:
                for _ in left:
                    await budget.spend(WEIGHT)
                    await asyncio.sleep(random.uniform(0.0, 0.04))  # noqa: S311 # a network's jitter is no secret
                    async with session.get(exchange_url) as answer:
                        used = int(answer.headers["X-MBX-USED-WEIGHT-1M"])
                    statuses[str(answer.status)] += 1
                    budget.settle(WEIGHT, used)

            await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    return statuses


if __name__ == "__main__":
    print(json.dumps(asyncio.run(spend(**json.loads(sys.argv[1])))))  # noqa: T201
