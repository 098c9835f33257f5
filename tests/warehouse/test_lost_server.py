"""A server that is killed, or whose disk is full: one error of ours that says so, and the embedded one comes back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from sqlalchemy import create_engine, text

from etl import pipeline
from etl.errors import StoreLostError
from etl.feeds_file import load_settings
from etl.homes import write_note
from etl.pipeline import Wanted, ingest_all
from etl.progress import Bars
from etl.replay import MadeUpMarket, ReplayServer
from etl.series import Series
from etl.settings import Settings
from etl.stores import Stores
from etl.warehouse import Warehouse, embedded, open_warehouse
from tests.databases import folder_for_postgres
from tests.markets import DAYS
from tests.patience import PATIENCE_S

_Usage = namedtuple("_Usage", "total used free")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that the embedded server may live in."""
    with folder_for_postgres() as made:
        yield made


@pytest.fixture
def exchange() -> Iterator[ReplayServer]:
    """A made-up market behind Binance's protocol."""
    with ReplayServer(MadeUpMarket()) as server:
        yield server


def _no_room(path: Any) -> _Usage:
    return _Usage(2**30, 2**30, 0)


def test_a_killed_embedded_server_is_started_again(folder: Path) -> None:
    """Whoever meets the loss is told once, by our error; the next transaction finds what was committed."""
    settings = Settings(home=folder)
    with open_warehouse(settings, creates=True) as warehouse:
        with warehouse.begin() as connection:
            connection.execute(text("INSERT INTO series (exchange, symbol, timeframe) VALUES ('x', 'A/B', '1m')"))
        first = _kill(folder / "postgres")
        with (
            pytest.raises(StoreLostError, match="was started again; run this again to go on"),
            warehouse.begin() as connection,
        ):
            connection.execute(text("SELECT 1"))
        with warehouse.begin() as connection:
            assert connection.execute(text("SELECT symbol FROM series")).scalars().all() == ["A/B"]
        assert _pid_of(folder / "postgres") != first
    assert not (folder / "postgres" / "postmaster.pid").exists(), "who leaves last stops the one that was started again"


def test_a_server_that_is_about_to_end_is_not_said_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connections are cut before its process is gone."""
    answers = embedded._answers

    def and_kill(data: Path) -> bool:
        answer = answers(data)
        _kill(data)
        return answer

    data = folder / "postgres"
    with embedded.embedded_postgres(data, "warehouse"):
        assert not embedded.start_again(data)
        os.kill(_pid_of(data), signal.SIGSTOP)
        monkeypatch.setattr(embedded, "_answers", and_kill)
        assert embedded.start_again(data)
        assert answers(data)


def test_a_server_that_another_process_keeps_is_started_again_and_one_that_nobody_keeps_is_not(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stack's PostgreSQL is reached by its address: while the stack runs it was not stopped on purpose."""
    home = folder / "stack"
    kept, settings = home / "postgres", Settings(home=home)
    with open_warehouse(settings, creates=True) as keeper:
        address = keeper.engine.url.render_as_string(hide_password=False)
        with open_warehouse(Settings(home=folder / "other", warehouse_url=address)) as visitor:
            first = _kill(kept)
            with (
                pytest.raises(StoreLostError, match="was started again; run this again"),
                visitor.begin() as connection,
            ):
                connection.execute(text("SELECT 1"))
            with visitor.begin() as connection:
                connection.execute(text("SELECT 1"))
            assert _pid_of(kept) != first
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        f"the embedded PostgreSQL in {kept} is gone; starting it again"
    ], "said once, and before it has started"
    write_note(home, "make run", folder / "feeds.toml", {})
    stopped = Settings(home=folder / "other", warehouse_url=address)
    with pytest.raises(StoreLostError, match="does not run; start its stack with `make run`"), open_warehouse(stopped):
        pass
    assert not (kept / "postmaster.pid").exists(), "who keeps it stops it, and nobody else has begun it"


def test_a_server_that_has_only_cut_a_connection_is_not_said_to_be_down(folder: Path) -> None:
    """Its user has started it without us, so that no lock says who keeps it."""
    home = folder / "own"
    with open_warehouse(Settings(home=home), creates=True) as keeper:
        lock = home / "postgres.lock"
        lock.rename(home / "aside")
        visitor = Warehouse(create_engine(keeper.engine.url))
        with pytest.raises(StoreLostError) as failed, visitor.begin() as connection:
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        visitor.engine.dispose()
        (home / "aside").rename(lock)
    told = f"the connection to the PostgreSQL in {home / 'postgres'} was lost, and it runs; run this again to go on"
    assert str(failed.value) == told


def test_a_killed_server_that_its_parent_does_not_reap_is_not_said_to_run_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container whose first process reaps nobody a zombie stays, which the package takes for a server."""
    data = folder / "zombie"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    with subprocess.Popen(["true"]) as child:  # noqa: S607  # whichever ends at once
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        (data / "postmaster.pid").write_text(f"{child.pid}\n{data}\n1\n5432\n{data}\n\n1 1\nready\n")
        monkeypatch.setattr(embedded, "_START_S", 0.3)
        with pytest.raises(StoreLostError) as failed:
            embedded.start_again(data)
    told = f"does not start: process {child.pid} was killed, and process {os.getpid()} has not reaped it; end that one"
    assert str(failed.value).endswith(told)


def test_a_full_disk_is_named_where_the_server_does_not_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cause that keeps it from starting is said, and what to do; without room, that there is none."""
    broken = folder / "broken"
    broken.mkdir()
    (broken / "PG_VERSION").write_text("18\n")
    monkeypatch.setattr(embedded, "_TRIES", 1)
    monkeypatch.setattr(embedded, "_foreign_part", lambda folder: None)
    with pytest.raises(StoreLostError, match="does not start.*see .*log"), embedded.embedded_postgres(broken, "any"):
        pass
    monkeypatch.setattr(shutil, "disk_usage", _no_room)
    with (
        pytest.raises(StoreLostError, match="disk of .* is full; make room"),
        embedded.embedded_postgres(broken, "any"),
    ):
        pass


def test_a_damaged_server_is_told_with_what_can_be_done(folder: Path) -> None:
    """A part of its files is gone, as after half a copy: to run it again helps nobody."""
    data = folder / "damaged"
    with embedded.embedded_postgres(data, "any"):
        pass
    shutil.rmtree(data / "base")
    (data / "base").mkdir()
    with (
        pytest.raises(StoreLostError, match="put a backup back, or .*rebuild"),
        embedded.embedded_postgres(data, "any"),
    ):
        pass


def test_files_of_another_user_are_named_where_the_server_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy that root has made, say: whose file it is, whose it has to be, and the command that makes it so."""
    with folder_for_postgres() as home:
        copied = home / "postgres"
        copied.mkdir()
        (copied / "PG_VERSION").write_text("18\n")
        if os.geteuid():  # as root the package gives the folder to another user, and the file stays ours
            monkeypatch.setattr(embedded, "_server_user", lambda folder: os.geteuid() + 1)
        with pytest.raises(StoreLostError) as failed, embedded.embedded_postgres(copied, "any"):
            pass
        uid = embedded._server_user(copied)
    assert re.search(
        r"does not start: it runs as user \S+, and \S+ belongs to user \S+, as after a copy", str(failed.value)
    )
    assert f"; run chown -R {embedded._name_of(uid)} {copied}" in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_server_that_went_with_its_disk_is_not_said_to_be_merely_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stopped since its disk is full is not to be started, but given room."""
    data = folder / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("18\n")
    warehouse = Warehouse(create_engine(f"postgresql+psycopg://postgres@/none?host={data}"))
    with pytest.raises(StoreLostError, match="does not run; start it, and run this again"), warehouse.begin():
        pass
    monkeypatch.setattr(shutil, "disk_usage", _no_room)
    with pytest.raises(StoreLostError, match="disk of .* is full; make room"), warehouse.begin():
        pass


def test_a_lost_warehouse_ends_an_ingest_at_once(
    stores: Stores, exchange: ReplayServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred series none but the first is tried, and the error is told once."""
    asked: list[Series] = []

    async def lose(stores: Stores, exchange: Any, series: Series, *rest: Any) -> None:
        asked.append(series)
        raise StoreLostError("gone")

    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", exchange.url)
    ready = replace(stores, settings=load_settings())
    series = [Series.parse(f"binance:A{number}/USDT:1m") for number in range(100)]
    monkeypatch.setattr(pipeline, "_planned", lose)
    with Bars(series, Console(quiet=True)) as bars, pytest.raises(StoreLostError, match="gone"):
        ingest_all(ready, Wanted(series, DAYS.start, DAYS.end, None, "lost"), bars)
    assert len(asked) == 1
    assert bars.outcome.failures == []


def _pid_of(data: Path) -> int:
    return int((data / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])


def _kill(data: Path) -> int:
    """Kill the server, and wait until the kernel has taken it and what it served."""
    pid = _pid_of(data)
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    os.kill(pid, signal.SIGKILL)
    psutil.wait_procs(family, timeout=PATIENCE_S)
    return pid
