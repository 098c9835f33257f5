"""Limits of an exchange for one address, and the ban of an address that does not listen."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from etl.replay.wire import RefusedError

_MINUTE_MS = 60_000
_PATIENCE = 20  # refusals within a minute before an address is banned; Binance keeps its number to itself
_FIRST_BAN_MS = 120_000  # bans "scale in duration for repeat offenders, from 2 minutes to 3 days"
_LONGEST_BAN_MS = 3 * 86_400_000


@dataclass(slots=True)
class _Account:
    minute: int = -1
    used: int = 0
    refusals: int = 0
    bans: int = 0
    banned_until_ms: int = 0


@dataclass(slots=True)
class WeightLimits:
    """Weight used by address in each clock minute, and bans for those who go on.

    Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits

    Attributes:
        is_on: Whether anyone is refused.
        weight_per_minute: What an address may spend.
        refuse: Makes the refusal, of the seconds until the next minute.
        ban: Makes the answer to a banned address, of the ban's end and the present, in milliseconds.
        accepted: The weight of what was not refused, of all addresses, by clock minute since the epoch.
    """

    is_on: bool
    weight_per_minute: int
    refuse: Callable[[int], RefusedError]
    ban: Callable[[int, int], RefusedError]
    accepted: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _accounts: dict[str, _Account] = field(default_factory=lambda: defaultdict(_Account))

    def spend(self, address: str, weight: int, now_ms: int) -> None:
        """Count `weight` in this clock minute.

        Raises:
            RefusedError: That is over the limit, or the address is banned.
        """
        account = self._accounts[address]
        if account.minute != (minute := now_ms // _MINUTE_MS):
            account.minute, account.used, account.refusals = minute, 0, 0
        account.used += weight
        if self.is_on:
            self._check(account, now_ms)
        self.accepted[minute] += weight

    def headers(self, address: str) -> Mapping[str, str]:
        """Return what `address` has used in the last clock minute it was seen in."""
        used = str(self._accounts[address].used)
        return {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}

    def _check(self, account: _Account, now_ms: int) -> None:
        if now_ms < account.banned_until_ms:
            raise self.ban(account.banned_until_ms, now_ms)
        if account.used <= self.weight_per_minute:
            return
        account.refusals += 1
        if account.refusals > _PATIENCE:
            account.banned_until_ms = now_ms + min(_FIRST_BAN_MS << account.bans, _LONGEST_BAN_MS)
            account.bans = min(account.bans + 1, 16)
            raise self.ban(account.banned_until_ms, now_ms)
        raise self.refuse(-(-((account.minute + 1) * _MINUTE_MS - now_ms) // 1000))


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


@dataclass(slots=True)
class RateLimits:
    """Requests a second by address: a bucket of tokens that fills at `per_s` up to `burst`.

    It counts real seconds, whatever the exchange's clock says, so that a server whose clock stands still can be asked
    for long.

    Attributes:
        is_on: Whether anyone is refused.
        per_s: Requests a second in the long run.
        burst: Requests at once after a rest.
        refuse: Makes the refusal.
        timer: Seconds that only grow.
    """

    is_on: bool
    per_s: float
    burst: int
    refuse: Callable[[], RefusedError]
    timer: Callable[[], float] = time.monotonic
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def spend(self, address: str, weight: int, now_ms: int) -> None:
        """Take a token for each unit of `weight`.

        Raises:
            RefusedError: There are not that many; none is taken then.
        """
        if not self.is_on:
            return
        now_s = self.timer()
        bucket = self._buckets.setdefault(address, _Bucket(self.burst, now_s))
        bucket.tokens = min(self.burst, bucket.tokens + (now_s - bucket.at_s) * self.per_s)
        bucket.at_s = now_s
        if bucket.tokens < weight:
            raise self.refuse()
        bucket.tokens -= weight

    def headers(self, address: str) -> Mapping[str, str]:
        """Return nothing: exchanges that count so do not tell."""
        return {}


@dataclass(frozen=True, slots=True)
class NoLimits:
    """Everyone may ask for everything."""

    def spend(self, address: str, weight: int, now_ms: int) -> None:
        """Count nothing."""

    def headers(self, address: str) -> Mapping[str, str]:
        """Return nothing."""
        return {}
