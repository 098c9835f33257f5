"""What tests of the budget stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse
from etl.warehouse.budget import LeasedBudget, SharedBudget, local_budget

Make = Callable[..., LeasedBudget]


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    """A fresh warehouse."""
    with open_warehouse(Settings(warehouse_url=warehouse_url)) as opened:
        yield opened


@pytest.fixture(params=["shared", "local"])
def make(request: pytest.FixtureRequest) -> Make:
    """Make a budget in the warehouse, and one in memory."""
    if request.param == "local":
        return local_budget
    warehouse = request.getfixturevalue("warehouse")
    return lambda **terms: SharedBudget(warehouse, "binance", **terms)
