"""What many tests stand on: one real PostgreSQL for the session, a fresh database and fresh folders for each test."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql

from etl.series import Series
from etl.settings import Settings, load_settings
from etl.stores import Stores, open_stores
from etl.warehouse import open_warehouse
from etl.warehouse.embedded import embedded_postgres
from tests.markets import write_recording

# The machine may be busy; how long an example takes says nothing about it.
hypothesis.settings.register_profile("chandler", deadline=None)
hypothesis.settings.load_profile("chandler")

REPOSITORY = Path(__file__).parent.parent
BTC = Series.parse("binance:BTC/USDT:1m")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the caller's Chandler settings out of the tests."""
    for name in os.environ:
        if name.startswith("CHANDLER_") and name != "CHANDLER_DATA":
            monkeypatch.delenv(name)


@contextmanager
def folder_for_postgres() -> Iterator[Path]:
    """Yield a folder that an embedded server may live in.

    Not one of pytest's: those are closed to the user that the server runs as when the tests run as root, and every
    other session of pytest that begins closes them again.
    """
    with tempfile.TemporaryDirectory(prefix="chandler-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL server with a migrated database to copy, `template`."""
    with folder_for_postgres() as folder, embedded_postgres(folder / "postgres", "template") as url:
        with open_warehouse(Settings(home=folder, warehouse_url=url)):
            pass
        yield url


@pytest.fixture
def warehouse_url(postgres: str) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = postgres.replace("/template?", "/postgres?")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template").format(sql.Identifier(name)))
        yield postgres.replace("/template?", f"/{name}?")
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


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
