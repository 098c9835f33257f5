"""Fixtures of tests of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from etl.settings import Settings
from etl.warehouse import Warehouse, open_warehouse
from tests.models.nights import with_learning


@pytest.fixture
def warehouse(settings: Settings) -> Iterator[Warehouse]:
    """A warehouse without any model."""
    with open_warehouse(settings) as opened:
        yield opened


@pytest.fixture
def learning(settings: Settings) -> Settings:
    """Settings for so short a history as that of `tests.models.nights.market`."""
    return with_learning(settings)
