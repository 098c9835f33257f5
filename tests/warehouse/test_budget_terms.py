"""Permitted spending, and what an exchange says it has counted: pure, without a bucket."""

from __future__ import annotations

import pytest

from etl.warehouse.budget.tally import Tally
from etl.warehouse.budget.terms import Terms


@pytest.mark.parametrize(
    ("limit", "interval_s", "share"),
    [(6000, 60.0, 0.9), (600, 60.0, 0.9), (60, 60.0, 1.0), (10, 1.0, 1.0), (1, 1.0, 1.0), (100_000_000, 60.0, 1.0)],
)
def test_terms_leave_at_least_98_percent(limit: int, interval_s: float, share: float) -> None:
    """The margin against late arrivals costs little, and the short rate lets the long one be reached."""
    terms = Terms.of(limit, interval_s, share)
    permitted_per_ms = limit * share / terms.interval_ms
    unused = [terms.lease_units - 1 if rate is not terms.rates[-1] else 0 for rate in terms.rates]
    for rate, left in zip(terms.rates, unused, strict=True):
        assert (rate.limit - left) * terms.unit / (rate.interval + 1) >= 0.98 * permitted_per_ms
    assert terms.rates[-1].limit * terms.unit <= limit * share
    assert terms.rates[-1].interval > terms.interval_ms
    if terms.lease_units == 1:
        assert 1 / (terms.rates[0].interval + 1) <= limit / terms.interval_ms, "slow exchanges may count by the second"


def test_a_late_count_is_not_taken_for_the_new_minutes() -> None:
    """An old count frightens nobody if the exchange's minute turns after ours, or an answer comes late."""
    tally = Tally(60.0)
    tally.note(5900, 119.0)
    tally.note(5950, 120.5)
    assert tally.used_weight(120.6) == 0
    tally.note(4, 121.0)
    tally.note(8, 122.0)
    tally.note(5990, 122.1)
    tally.note(10, 122.2)
    assert tally.used_weight(122.3) == 10
    assert tally.sure_weight(122.3) == (2, 8)
    assert tally.used_weight(181.0) == 0


def test_a_steady_count_is_believed_soon() -> None:
    """A count that is higher than in the minute before is believed once doubt about the minute's turn is over."""
    tally = Tally(60.0)
    tally.note(100, 110.0)
    tally.note(500, 130.0)
    assert tally.sure_weight(131.0) == (2, 500)
    assert tally.left_s(131.0) == pytest.approx(49.1)
