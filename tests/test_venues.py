"""The check of an exchange as its user types it, against servers that speak the exchanges' protocols."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from etl.cli import main
from etl.exchanges import EXCHANGES, Bound, Order
from etl.replay import MadeUpMarket, ReplayServer
from etl.timeframe import to_ms
from tests.conftest import REPOSITORY
from tests.extract.test_contracts import CONTRACTS, SYMBOLS, replay

# The made-up market has traded in every minute for days, and is in the middle of one.
QUIET_MS = to_ms(datetime(2024, 5, 24, 12, 0, 30, tzinfo=UTC))
# Listed for two years: of more, the coarse candles that Kraken's reach is looked for in take longer to make than a
# client waits for them on a busy machine.
MARKET = MadeUpMarket(7, SYMBOLS, {symbol: (QUIET_MS - 2 * 365 * 86_400_000, None) for symbol in SYMBOLS})


@dataclass(frozen=True, slots=True)
class Ended:
    """Result of a command."""

    status: int
    out: str
    err: str

    def lines(self, verdict: str) -> dict[str, str]:
        """Return what was looked at with that verdict, and what was seen; of a check's JSON."""
        return {line["what"]: line["seen"] for line in json.loads(self.out) if line["verdict"] == verdict}


Run = Callable[..., Ended]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `chandler exchanges` in this process."""
    monkeypatch.chdir(tmp_path)

    def exchanges(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["chandler", "exchanges", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        status = ended.value.code
        return Ended(status if isinstance(status, int) else 0, printed.out, " ".join(printed.err.split()))

    return exchanges


@pytest.fixture
def ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Return a function that checks exchange `name` where its contract is kept, at a quiet time."""

    @contextmanager
    def served(name: str, ahead_ms: int) -> Iterator[Any]:
        if CONTRACTS[name].server is not replay:
            with CONTRACTS[name].server() as server:
                yield server
            return
        # Both clocks stand: a server that starts slowly is no clock that is wrong, and no minute turns meanwhile.
        with ReplayServer(MARKET, limits=False, clock=lambda: QUIET_MS + ahead_ms) as server:
            for module in ("etl.venues", "etl.venues.asking", "etl.venues.probes"):
                monkeypatch.setattr(f"{module}.our_ms", lambda: QUIET_MS)
            yield server

    def check(name: str, *arguments: str, ahead_ms: int = 0) -> Ended:
        # No answer is late because the machine is busy.
        monkeypatch.setattr("etl.extract.ccxt_client._TIMEOUT_MS", 120_000)
        with served(name, ahead_ms) as server:
            monkeypatch.setenv(f"CHANDLER_EXCHANGES__{name.upper()}__BASE_URL", server.url)
            monkeypatch.setenv(f"CHANDLER_EXCHANGES__{name.upper()}__WEIGHT_LIMIT", "100000")
            ended = run(name, "--check", "--json", *arguments)
            assert 0 < sum(server.requests.values()) <= 20
            return ended

    return check


CLOCKLESS = {"clock", "newest candle"}
UNSEEN = {
    # The made-up market trades in every minute of the page.
    **dict.fromkeys(("binance", "coinbase", "kraken"), {"prints empty minutes"}),
    "binanceus": {"order of rows", "prints empty minutes"},
    **dict.fromkeys(("bybit", "okx", "gate"), {"order of rows"}),
    **dict.fromkeys(("bitstamp", "bitfinex"), {"order of rows", *CLOCKLESS}),
    "kucoin": {"order of rows", "a candle at the asked end"},
}


@pytest.mark.parametrize("name", sorted(EXCHANGES))
def test_an_exchange_that_keeps_its_contract_agrees_line_by_line(name: str, ask: Callable[..., Ended]) -> None:
    """Nothing differs, and what could not be seen is what cannot be seen there."""
    ended = ask(name)
    assert ended.lines("differs") == {}
    assert ended.status == 0
    assert set(ended.lines("could not be seen")) == UNSEEN[name]
    assert len(ended.lines("agrees")) >= 8


@pytest.mark.parametrize(
    ("name", "wrong", "line", "right"),
    [
        ("binance", {"page_limit": 1500}, "candles a page", {"page_limit": 1000}),
        ("binance", {"order": Order.DESCENDING}, "order of rows", {"order": "oldest first"}),
        ("binance", {"serves_forming": False}, "the candle that forms", {"serves_forming": True}),
        ("binance", {"since": Bound.EXCLUSIVE}, "a candle at the asked start", {"since": "inclusive"}),
        ("binance", {"until": Bound.EXCLUSIVE}, "a candle at the asked end", {"until": "inclusive"}),
        ("coinbase", {"page_limit": 400}, "candles a page", {}),
        ("coinbase", {"until": Bound.EXCLUSIVE}, "a candle at the asked end", {"until": "inclusive"}),
        ("kraken", {"since": Bound.INCLUSIVE}, "a candle at the asked start", {"since": "exclusive"}),
        ("kraken", {"until": Bound.INCLUSIVE}, "a candle at the asked end", {"until": "ignored"}),
        ("kraken", {"reach": None}, "how far back", {}),
        ("kraken", {"reach": 2000}, "how far back", {}),
        ("kraken", {"reach": 300}, "how far back", {}),
        ("bybit", {"page_limit": 500}, "candles a page", {"page_limit": 1000}),
        ("bybit", {"prints_empty": True}, "prints empty minutes", {"prints_empty": False}),
        ("okx", {"until": Bound.INCLUSIVE}, "a candle at the asked end", {"until": "exclusive"}),
        ("okx", {"prints_empty": False}, "prints empty minutes", {"prints_empty": True}),
        ("gate", {"reach": None}, "how far back", {}),
        ("kucoin", {"page_limit": 2000}, "candles a page", {"page_limit": 1500}),
    ],
)
def test_a_wrong_entry_is_found_where_it_is_wrong(
    name: str,
    wrong: dict[str, Any],
    line: str,
    right: dict[str, Any],
    ask: Callable[..., Ended],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exactly the wrong line differs, with the value that would be right, and the exit status says so."""
    table = {**EXCHANGES, name: replace(EXCHANGES[name], **wrong)}
    monkeypatch.setattr("etl.settings.EXCHANGES", MappingProxyType(table))
    ended = ask(name)
    assert set(ended.lines("differs")) == {line}, ended.out + ended.err
    assert next(found["needs"] for found in json.loads(ended.out) if found["what"] == line) == right
    assert ended.status == 1


def test_what_an_entry_would_need_is_said_of_an_exchange_that_has_none(
    ask: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that only ccxt knows is asked for more than its cautious defaults, and the entry is as good as written."""
    monkeypatch.setenv("CHANDLER_EXCHANGES__OKX__PROTOCOL", "ccxt")
    ended = ask("okx")
    assert ended.status == 1
    assert "would say page_limit=300, prints_empty=True, until=Bound.EXCLUSIVE" in ended.err


def test_a_clock_far_from_ours_is_found(ask: Callable[..., Ended]) -> None:
    """It is reported, however well it fits the exchange's own candles."""
    ended = ask("binance", ahead_ms=12_000)
    assert set(ended.lines("differs")) == {"clock"}
    assert "12.0 s ahead of ours" in ended.lines("differs")["clock"]
    assert ended.status == 1


def test_a_symbol_can_be_named_and_must_be_listed(ask: Callable[..., Ended]) -> None:
    """`--symbol` decides whose candles are asked for; one that is not listed is one line with the nearest."""
    assert ask("kraken", "--symbol", "ETH/USDT").lines("agrees")["symbol"] == "ETH/USDT"
    ended = ask("kraken", "--symbol", "ETH/USX")
    assert ended.status == 1
    assert "kraken lists no ETH/USX; nearest: ETH/USDT" in ended.err


def test_the_table_has_every_exchange_and_those_that_are_configured(run: Run, tmp_path: Path) -> None:
    """An exchange under another name is listed with what its protocol does, and a name shows that one alone."""
    (tmp_path / "feeds.toml").write_text('[exchanges.testnet]\nprotocol = "binance"\nweight_limit = 1000\n')
    rows = {row["exchange"]: row for row in json.loads(run("--json").out)}
    assert list(rows) == [*EXCHANGES, "testnet"]
    assert rows["testnet"] == {**rows["binance"], "exchange": "testnet", "weight_limit": 1000}
    assert rows["kraken"]["reach"] == 720
    shown = run("kraken").out
    assert "the last 720, older from" in shown
    assert "binance" not in shown
    assert len(run().out.splitlines()) > len(EXCHANGES)


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--check"], 2, "say which exchange to ask"),
        (["krakn"], 2, "nearest: kraken"),
        (["krakn", "--check"], 2, "nearest: kraken"),
        (["binance", "--check"], 1, "the exchange cannot be reached; check the network"),
    ],
)
def test_a_mistake_is_one_clear_line(
    arguments: list[str], status: int, complaint: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question that cannot be asked ends with a line that says why, never with a traceback."""
    monkeypatch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", "http://127.0.0.1:9")
    ended = run(*arguments)
    assert ended.status == status
    assert complaint in ended.err


def test_the_guide_has_the_table(run: Run) -> None:
    """docs/exchanges.md lists each exchange with its page limit, weight, bounds and order."""
    guide = (REPOSITORY / "docs" / "exchanges.md").read_text(encoding="utf-8")
    for row in json.loads(run("--json").out):
        weight = f"{row['page_weight']} of {row['weight_limit']:,} in {row['limit_interval_s']:g} s"
        cells = (
            f"`{row['exchange']}`",
            f"{row['page_limit']:,}",
            weight,
            f"{row['since']}, {row['until']}",
            row["order"],
        )
        assert f"| {' | '.join(cells)} |" in guide


def test_help_teaches_with_an_example(run: Run) -> None:
    """The command's help has an example of itself."""
    assert "Example: chandler exchanges kraken --check" in " ".join(run("--help").out.replace("│", " ").split())
