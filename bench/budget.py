"""Use of one budget by four processes at once: all of it, no more, and how soon they stop when the exchange says so.

Run as `python -m bench.budget`. The replay exchange counts as Binance does, by clock minute, with its limits on. Each
process asks for pages as fast as it is let, for three clock minutes. Then the exchange bans the address once, with
Retry-After, and everyone is to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import aiohttp

from etl.settings import Settings
from etl.warehouse import open_warehouse
from etl.warehouse.budget import SharedBudget
from etl.warehouse.embedded import embedded_postgres

PROCESSES, AT_ONCE = 4, 20
LIMIT, INTERVAL_S, WEIGHT = 6000, 60.0, 2
BAN_LASTS_S = 2.0  # as long as the fault's Retry-After
LATENCY_MS = 30
CHANDLER = Path(sys.executable).with_name("chandler")


@dataclass
class Diary:
    """Requests of one process: when it sent them, and when and how they were answered; seconds since the epoch."""

    sent: list[float] = field(default_factory=list)
    answered: list[tuple[float, int]] = field(default_factory=list)
    cpu_s: float = 0.0


@contextmanager
def replay(pages: int) -> Iterator[str]:
    """Serve the made-up market with limits on, banning once after `pages`, and yield the address."""
    faults = ["--fault", f"http_418:1@{pages}"]
    command = [CHANDLER, "replay", "--port", "0", "--latency-ms", str(LATENCY_MS), *faults]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            yield next(word for word in server.stderr.readline().split() if word.startswith("http"))
        finally:
            server.terminate()


async def spend(exchange_url: str, warehouse_url: str, begin: float, end: float) -> Diary:
    """Ask for pages within the budget from `begin` to `end`."""
    diary = Diary()
    settings = Settings(warehouse_url=warehouse_url)
    url = f"{exchange_url}/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime=1756684800000"
    terms = {"weight_limit": LIMIT, "interval_s": INTERVAL_S, "share": 1.0}
    with open_warehouse(settings) as warehouse:
        async with SharedBudget(warehouse, "binance", **terms) as budget, aiohttp.ClientSession() as session:

            async def ask() -> None:
                while time.time() < end:
                    await budget.spend(WEIGHT)
                    diary.sent.append(time.time())
                    async with session.get(url) as answer:
                        await answer.read()
                    diary.answered.append((time.time(), answer.status))
                    budget.settle(WEIGHT, int(answer.headers["X-MBX-USED-WEIGHT-1M"]))
                    if answer.status in {418, 429}:
                        await budget.pause(float(answer.headers["Retry-After"]))

            await asyncio.sleep(begin - time.time())
            asked = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]
            await asyncio.sleep(end - time.time())
            for task in asked:
                task.cancel()
            await asyncio.wait(asked)
    diary.cpu_s = time.process_time()
    return diary


def report(diaries: list[Diary], first_minute: int, minutes: int) -> None:
    """Print what the exchange saw, and what came of the ban."""
    statuses = Counter(status for diary in diaries for _, status in diary.answered)
    print(f"{PROCESSES} processes: {dict(statuses)}; CPU {', '.join(f'{diary.cpu_s:.1f}' for diary in diaries)} s")
    for minute in range(first_minute, first_minute + minutes):
        asked = sum(WEIGHT for diary in diaries for at in diary.sent if at // 60 == minute)
        print(f"minute {minute - first_minute + 1}: weight {asked} of {LIMIT}, {asked / LIMIT:.1%}")
    bans = [at for diary in diaries for at, status in diary.answered if status == 418]
    if not bans:
        print("no ban")
        return
    for number, diary in enumerate(diaries):
        # What was sent after that belongs to the time after the ban.
        late = [at - bans[0] for at in diary.sent if 0 < at - bans[0] < BAN_LASTS_S - 0.5]
        again = min((at - bans[0] for at in diary.sent if at - bans[0] > BAN_LASTS_S - 0.5), default=math.nan)
        print(
            f"process {number}: last request {max(late, default=0.0):.2f} s after the ban's answer,"
            f" {len(late)} in all; the next after {again:.2f} s"
        )


def main() -> None:
    """Run the processes, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        exchange_url, warehouse_url, begin, end = arguments.child
        print(json.dumps(asdict(asyncio.run(spend(exchange_url, warehouse_url, float(begin), float(end))))))
        return
    # In the middle of the minute that follows, so that it is not the minute's turn that stops them.
    pages = arguments.minutes * LIMIT // WEIGHT + LIMIT // WEIGHT // 4
    with (
        tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder,
        embedded_postgres(Path(folder) / "postgres", "warehouse") as warehouse_url,
        replay(pages) as exchange_url,
    ):
        with open_warehouse(Settings(warehouse_url=warehouse_url), creates=True):
            pass
        first_minute = int(time.time() // 60) + 1
        if first_minute * 60 - time.time() < 8:
            first_minute += 1
        begin, end = first_minute * 60, (first_minute + arguments.minutes) * 60 + 25
        command = [sys.executable, "-m", "bench.budget", "--child", exchange_url, warehouse_url, str(begin), str(end)]
        children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(PROCESSES)]
        diaries = [Diary(**json.loads(child.communicate()[0])) for child in children]
        report(diaries, first_minute, arguments.minutes)


if __name__ == "__main__":
    main()
