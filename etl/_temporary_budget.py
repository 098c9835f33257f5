"""Temporary."""

from contextlib import asynccontextmanager
import asyncio


class _B:
    def __init__(self):
        self.until = 0.0

    async def spend(self, w):
        now = asyncio.get_running_loop().time()
        if now < self.until:
            await asyncio.sleep(self.until - now)

    def settle(self, w, u):
        pass

    async def pause(self, s):
        self.until = asyncio.get_running_loop().time() + s

    def use(self):
        return (0, 0)


@asynccontextmanager
async def open_budget(*a, **k):
    yield _B()
