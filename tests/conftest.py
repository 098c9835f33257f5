"""Fixtures of many tests: one real PostgreSQL for the session, a fresh database and fresh folders for each test."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadFileScheduling

from etl.feeds_file import load_settings
from etl.homes import homes_with_stores
from etl.series import Series
from etl.settings import Settings
from etl.stores import Stores, open_stores
from tests import guarding
from tests.databases import fresh_database, template_database
from tests.guarding import stand_guard
from tests.markets import write_recording

# The machine may be busy; how long an example takes says nothing about it.
hypothesis.settings.register_profile("chandler", deadline=None)
hypothesis.settings.load_profile("chandler")

REPOSITORY = Path(__file__).parent.parent
BTC = Series.parse("binance:BTC/USDT:1m")
STACKS = ("tests/stage/", "tests/stack/")
"""Tests that start a whole Airflow: one after the other, and first, since nothing else takes as long."""

_KEPT = {"CHANDLER_DATA", "CHANDLER_CLOCK_SKEW"}


class Scheduling(LoadFileScheduling):
    """Gives each file of tests to one process, all stacks to the same, and all models: TensorFlow is slow to import."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(STACKS):
            return "stacks"
        return "models" if nodeid.startswith("tests/models/") else super()._split_scope(nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let nothing that the tests start outlive them; a worker of pytest-xdist has its guard from its start."""
    if not hasattr(config, "workerinput"):
        stand_guard()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[Any]) -> None:
    """Start each worker under a guard of its own."""
    for spec in specs:
        spec.python = shlex.join([sys.executable, guarding.__file__])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    """Say which process has what to do."""
    return Scheduling(config, log)


def pytest_configure() -> None:
    """Let replays run at the time of what they replay, those of a whole module too."""
    os.environ["CHANDLER_CLOCK_SKEW"] = "36500d"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(STACKS))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's Chandler settings out of the tests."""
    for name in os.environ:
        if name.startswith("CHANDLER_") and name not in _KEPT:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _no_stores_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the stores of a demo that ran in this checkout out of the tests."""

    def others(home: Path) -> list[Path]:
        return [] if home.is_relative_to(REPOSITORY) else homes_with_stores(home)

    monkeypatch.setattr("etl.homes.homes_with_stores", others)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a migrated database to copy, by `fresh_database`; nobody can connect to it."""
    with template_database() as url:
        yield url


@pytest.fixture
def warehouse_url(postgres: str) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    with fresh_database(postgres) as url:
        yield url


@pytest.fixture
def settings(tmp_path: Path, warehouse_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that keep everything in the test's own folder and database; the exchange's address is to be set."""
    monkeypatch.setenv("CHANDLER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CHANDLER_WAREHOUSE_URL", warehouse_url)
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.fixture
def stores(settings: Settings) -> Iterator[Stores]:
    """The stores of `settings`, opened."""
    with open_stores(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two days of recorded candles that have what real ones have; see `write_recording`."""
    folder = tmp_path_factory.mktemp("recording")
    write_recording(folder)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; the test is skipped where there is none."""
    folder = Path(os.environ.get("CHANDLER_DATA", REPOSITORY.parent / "shared" / "data")) / "candles"
    if not folder.is_dir():
        pytest.skip("no real recordings: set CHANDLER_DATA to a folder that has candles/<exchange>/<SYMBOL>/1m.parquet")
    return folder
