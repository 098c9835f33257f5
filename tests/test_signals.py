"""Signals that end a command as Ctrl-C does, in a real process with a PostgreSQL of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from etl.replay import MadeUpMarket, ReplayServer
from tests.databases import folder_for_postgres
from tests.living import is_alive

_PATIENCE_S = 120
_COMMAND = (sys.executable, "-c", "from etl.cli import main; main()", "ingest", "binance:BTC/USDT:1m")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_stops_the_postgresql_that_it_used_last(number: signal.Signals) -> None:
    """It ends as by Ctrl-C, with the status that a shell expects, also where Ctrl-C is ignored as in a script."""
    with folder_for_postgres() as home, ReplayServer(MadeUpMarket(), latency_ms=200) as server:
        settings = {"CHANDLER_HOME": str(home), "CHANDLER_EXCHANGES__BINANCE__BASE_URL": server.url}
        period = ("--start", "2024-01-01", "--end", "2025-01-01")  # more than it can load meanwhile
        ignored = number is signal.SIGHUP
        with subprocess.Popen(
            [*_COMMAND, *period],
            env={**os.environ, **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_ignore_interrupts if ignored else _heed_signals,
        ) as command:
            try:
                deadline = time.monotonic() + _PATIENCE_S
                while not server.windows:
                    assert time.monotonic() < deadline, "it asks for no candles"
                    assert command.poll() is None, "it has ended"
                    time.sleep(0.1)
                postgres = _postgres_of(home)
                command.send_signal(number)
                assert command.wait(_PATIENCE_S) == 128 + number
            finally:
                command.kill()
        assert not (home / "postgres" / "postmaster.pid").exists()
        assert not is_alive(postgres)


def _heed_signals() -> None:
    """Undo what a caller of the tests ignores, as `nohup` does."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _ignore_interrupts() -> None:
    _heed_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _postgres_of(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]))
