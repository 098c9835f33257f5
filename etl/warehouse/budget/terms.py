"""Permitted spending, in the terms of pyrate-limiter."""

from __future__ import annotations

from dataclasses import dataclass

from pyrate_limiter import Rate

from etl.errors import ConfigError

_MOST_UNITS = 10_000  # in a limit: a unit is a row, and an enormous limit shall not make an enormous table
_LARGEST_LEASE = 500
_LEASE_S = 0.1
_CATCH_UP = 1.1
_MARGIN, _LONGEST_MARGIN_S = 0.015, 0.3
_SLIP, _LONGEST_SLIP_S = 0.05, 0.5


@dataclass(frozen=True, slots=True)
class Terms:
    """Permitted spending.

    Attributes:
        weight_limit: What the exchange lets one address spend in `interval_s`.
        interval_s: Seconds. An exchange that counts by the clock begins anew at multiples of it.
        permitted: What of the limit we spend.
        unit: How much weight a unit of the bucket stands for.
        lease_units: The most units taken at once.
        rates: What the bucket admits, in units: a short rate against bursts, where there is room for one, and the
            interval's.
    """

    weight_limit: int
    interval_s: float
    permitted: int
    unit: int
    lease_units: int
    rates: tuple[Rate, ...]

    @classmethod
    def of(cls, weight_limit: int, interval_s: float, share: float) -> Terms:
        """Work out the terms for a `share` of a limit, over 0 and up to 1.

        Raises:
            ConfigError: That leaves nothing to spend.
        """
        permitted = int(weight_limit * share + 1e-9)
        if not (0 < share <= 1 and permitted >= 1 and interval_s > 0):
            raise ConfigError(f"a share of {share} of {weight_limit} leaves nothing to spend; set it over 0, up to 1")
        unit = max(1, weight_limit // _MOST_UNITS)
        units = max(1, permitted // unit)
        # What is left of a limit and less than a lease may stay unused, so a lease is a fiftieth of it at the most.
        lease = min(max(1, int(min(_LEASE_S * units / interval_s, units / 50))), _LARGEST_LEASE)
        return cls(weight_limit, interval_s, permitted, unit, lease, _rates(units, interval_s, share, lease))

    @property
    def interval_ms(self) -> int:
        """The interval in milliseconds."""
        return round(self.interval_s * 1000)

    @property
    def slip_ms(self) -> int:
        """The time before a clock window, in milliseconds, in which a spent request may arrive within the window."""
        return int(min(_LONGEST_SLIP_S, _SLIP * self.interval_s) * 1000)


def _rates(units: int, interval_s: float, share: float, lease: int) -> tuple[Rate, ...]:
    # A request arrives later than it is spent, and one more so than another: in the time between, an interval of the
    # exchange's can hold what was spent in a longer one of ours.
    whole = Rate(units, round((interval_s + min(_LONGEST_MARGIN_S, _MARGIN * interval_s)) * 1000))
    # Wide enough that the even rate is reached though up to a lease less one stays unused.
    burst = max(1, 11 * (lease - 1))
    # One at a time there is nothing to catch up with, and an exchange that lets in so few may count by the second.
    haste = _CATCH_UP if lease > 1 else min(_CATCH_UP, 1 / share)
    short_ms = int(burst * interval_s * 1000 / (haste * units))
    return (Rate(burst, short_ms), whole) if burst < units and 0 < short_ms < whole.interval else (whole,)
