"""`chandler incidents` as its user types it, on incidents in a real warehouse."""

from __future__ import annotations

import json
import sys
from io import BytesIO, TextIOWrapper

import pytest
from sqlalchemy import select

from etl.cli import main
from etl.dossiers import AFTER, BEFORE
from etl.incidents import Incident, Kind, Scope, Severity
from etl.spelling import once_in
from etl.stores import Stores
from etl.warehouse import find_incident
from etl.warehouse.incident_tables import alerts
from tests.commands import Run, runner
from tests.made_incidents import ELSEWHERE, MINUTE, PEAK, found, have, hold, send


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `chandler incidents` in this process."""
    return runner(monkeypatch, capsys, "incidents")


@pytest.fixture
def crash(stores: Stores) -> int:
    """A crash that was told of, the candles around it; and a quiet one elsewhere, and one of history."""
    hold(stores.warehouse)
    number = have(stores.warehouse, found(), is_told=True)
    quiet = found(ELSEWHERE, PEAK + 90 * MINUTE, kind=Kind.UNUSUAL, scope=Scope.UNCONFIRMED, severity=Severity.LOW)
    have(stores.warehouse, quiet)
    have(stores.warehouse, found(at=PEAK - 100 * MINUTE, kind=Kind.FROZEN_PRICE), is_history=True)
    return number


def _ids(run: Run, *filters: str) -> set[int]:
    return {one["id"] for one in json.loads(run("list", *filters, "--json").out)}


@pytest.mark.usefixtures("crash")
def test_incidents_are_listed_without_history(run: Run) -> None:
    """Alone it lists the latest first, says how many are of history and how many more there are."""
    alone = run()
    assert alone.out.index("unusual") < alone.out.index("crash")
    for part in ("binance:BTC/USDT:1m", "market", "critical", "closed", "40 days"):
        assert part in alone.out
    assert "frozen price" not in alone.out
    assert "1 more of history, of which nobody was told; see chandler incidents list --history" in alone.err
    assert "frozen price" in run("list", "--history").out
    assert "1 more; see chandler incidents list --limit" in run("list", "--limit", "1").err
    only_history = run("list", "--kind", "frozen_price").err
    assert (
        "No news; 1 incident of history, of which nobody was told: see chandler incidents list --history"
        in only_history
    )
    assert "yet" not in only_history
    none = run("list", "--kind", "spread")
    assert "No incident matches" in none.err


def test_each_filter_keeps_others_out(run: Run, crash: int) -> None:
    """By series, range, severity, kind, scope, state, and what people said; a kind that is none is an error."""
    quiet = crash + 1
    assert _ids(run) == {crash, quiet}
    assert _ids(run, "binance:BTC/USDT:1m") == {crash}
    assert _ids(run, "--start", (PEAK + 60 * MINUTE).isoformat()) == {quiet}
    assert _ids(run, "--severity", "high") == _ids(run, "--severity", "critical") == {crash}
    assert _ids(run, "--kind", "unusual", "--kind", "spread") == {quiet}
    assert _ids(run, "--scope", "market", "--state", "closed") == {crash}
    run("acknowledge", str(quiet))
    assert _ids(run, "--unacknowledged") == {crash}
    run("false", str(crash))
    assert _ids(run, "--false") == {crash}
    wrong, strange = run("list", "--kind", "crush"), run("list", "okx:BTC/USDT:1m")
    assert (wrong.status, wrong.err) == (2, "'crush' is no kind of incident; nearest: crash")
    assert (strange.status, "never loaded: okx:BTC/USDT:1m" in strange.err) == (2, True)


def test_an_incident_is_shown_with_all_it_is_judged_by(run: Run, stores: Stores, crash: int) -> None:
    """Numbers, rules, shares, other venues, a chart, who was told, and what became of it."""
    with stores.warehouse.begin() as connection:
        alert = connection.execute(select(alerts.c.id)).scalar_one()
    send(stores.warehouse, alert, "desk", "dead", "no answer within 10 s")
    shown = run("show", str(crash)).out
    for part in (
        f"incident {crash} binance:BTC/USDT:1m crash, market, critical",
        "4 candles, strangest at 2023-11-14 02:00, such as once in 40 days",
        "81.25 82.5 900 321 -18.95 %",
        "volume burst 72 times as much [usual]",
        "taker share 12%",
        "kraken:BTC/USDT:1m sees it",
        "coinbase:BTC/USD:1m cannot tell",
        "desk dead 2 no answer within 10 s",
        "opened crash (market, critical)",
        f"chandler incidents false {crash} --note",
    ):
        assert part in shown
    assert "█" in shown
    assert "▲" in shown
    facts = json.loads(run("show", str(crash), "--json").out)
    assert len(facts["candles"]) == BEFORE + 4 + AFTER
    assert facts["alerts"][0]["deliveries"][0]["channel"] == "desk"
    assert [one["change"] for one in facts["changes"]] == ["opened", "closed"]
    assert facts["evidence"]["witnesses"][0]["series"] == str(ELSEWHERE)


def test_an_incident_whose_candles_are_gone_is_shown_all_the_same(run: Run, crash: int) -> None:
    """An incident of which the warehouse holds no candle has no chart; of history nobody was told."""
    assert "no candle of it is held in the warehouse" in run("show", str(crash + 1)).out
    assert "nobody was told: it is history" in run("show", str(crash + 2)).out


def test_people_acknowledge_and_judge(run: Run, stores: Stores, crash: int) -> None:
    """A verdict is kept with its note, and can be taken back once; one number that is none leaves all as it was."""
    missing = run("acknowledge", str(crash), "999")
    assert (missing.status, missing.err) == (2, "there is no incident 999; see chandler incidents")
    assert _known(stores, crash).acknowledged_at is None
    assert f"incident {crash} is acknowledged" in run("acknowledge", str(crash), "--note", "[seen]\x1b[2J").out
    assert "\x1b" not in run().out
    assert f"incident {crash} is a false alarm" in run("false", str(crash), "--note", "funding").out
    assert "false alarm" in run().out
    assert (_known(stores, crash).is_false, _known(stores, crash).note) == (True, "funding")
    assert "a false alarm, as somebody said at" in run("show", str(crash)).out
    run("true", str(crash))
    assert _known(stores, crash).is_false is False
    assert run("false", str(crash), "--undo").status == 0
    assert _known(stores, crash).is_false is None
    again = run("false", str(crash), "--undo")
    assert (again.status, "there is nothing to take back" in again.err) == (2, True)
    assert "judgement taken back" in run("show", str(crash)).out


def test_a_place_that_holds_no_blocks_gets_something(crash: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart is of question marks if the output knows ASCII alone, and all else is there."""
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="ascii", write_through=True))
    monkeypatch.setattr(sys, "argv", ["chandler", "incidents", "show", str(crash)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, None}
    assert b"strangest at 2023-11-14 02:00" in written.getvalue()


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (None, ""),
        (1 / 1440, "1 minute"),
        (0.01, "14 minutes"),
        (0.5, "12 hours"),
        (39.5, "40 days"),
        (200, "7 months"),
        (3000, "8 years"),
        (float("inf"), "over 100 years"),
    ],
)
def test_how_seldom_is_said_in_words(days: float | None, said: str) -> None:
    """In the unit that gives a number of two or more."""
    assert once_in(days) == said


@pytest.mark.parametrize("command", ["list", "show", "acknowledge", "false", "true"])
def test_the_help_teaches_with_an_example(command: str, run: Run) -> None:
    """Every command's help has an example of itself."""
    assert f"Example: chandler incidents {command}" in run(command, "--help").out.replace("│ ", "")


def _known(stores: Stores, number: int) -> Incident:
    with stores.warehouse.begin() as connection:
        return find_incident(connection, number)
