"""What tests of models stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    """A warehouse without any model."""
    with open_warehouse(settings) as opened:
        yield opened
