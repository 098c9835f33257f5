"""Fixtures of tests of the budget."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    """A fresh warehouse."""
    with open_warehouse(Settings(warehouse_url=warehouse_url)) as opened:
        yield opened
