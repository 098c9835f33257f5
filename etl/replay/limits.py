"""What an exchange lets one address spend in a clock minute, and what becomes of an address that does not listen."""

from __future__ import annotations

from dataclasses import dataclass

from etl.replay.binance import WEIGHT_PER_MINUTE, banned, too_much_weight

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


class WeightLimits:
    """Weight used by address.

    Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/limits
    """

    def __init__(self, *, is_on: bool = True) -> None:
        self._is_on = is_on
        self._accounts: dict[str, _Account] = {}

    def spend(self, address: str, weight: int, now_ms: int) -> int:
        """Count `weight` and return what `address` has used in this clock minute.

        Raises:
            RefusedError: That is over the limit, or the address is banned.
        """
        account = self._accounts.setdefault(address, _Account())
        if account.minute != (minute := now_ms // _MINUTE_MS):
            account.minute, account.used, account.refusals = minute, 0, 0
        account.used += weight
        if not self._is_on:
            return account.used
        if now_ms < account.banned_until_ms:
            raise banned(account.banned_until_ms, now_ms)
        if account.used > WEIGHT_PER_MINUTE:
            account.refusals += 1
            if account.refusals > _PATIENCE:
                account.banned_until_ms = now_ms + min(_FIRST_BAN_MS << account.bans, _LONGEST_BAN_MS)
                account.bans = min(account.bans + 1, 16)
                raise banned(account.banned_until_ms, now_ms)
            raise too_much_weight(retry_after_s=-(-((minute + 1) * _MINUTE_MS - now_ms) // 1000))
        return account.used

    def used(self, address: str) -> int:
        """Return what `address` has used in the last clock minute it was seen in."""
        return self._accounts.get(address, _Account()).used
