"""`chandler score` and `chandler anomalies` as their user types them, on a small market in a real warehouse."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from etl.series import TimeRange
from etl.warehouse import Warehouse
from tests.commands import Run, runner
from tests.models.scored import DAY, HERE, START, THERE, TODAY, crashed, crown, load, market, slot

SPAN = ("--start", TODAY.start.isoformat(), "--end", TODAY.end.isoformat())


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `chandler` in this process."""
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def calm() -> pa.Table:
    """Three weeks in which nothing happens."""
    return market()


@pytest.fixture
def loaded(warehouse: Warehouse, calm: pa.Table) -> None:
    """The past of two exchanges, stored; and a day with a crash of one of them, loaded."""
    for series in (HERE, THERE):
        load(warehouse, series, calm, TimeRange(START, TODAY.start), is_history=True)
    load(warehouse, HERE, crashed(calm, slot(12)))


def _rounds(run: Run, *arguments: str) -> dict[str, dict[str, object]]:
    return {one["series"]: one for one in json.loads(run("score", *arguments, "--json").out)}


@pytest.mark.usefixtures("loaded")
def test_what_was_loaded_is_scored_once_there_is_a_model(run: Run, warehouse: Warehouse, calm: pa.Table) -> None:
    """Before it waits and says why; then all of it is scored, each series told of; and then there is nothing to do."""
    early = run("score")
    assert early.status == 0
    assert "no model judges 5m candles so far" in early.out
    assert "no anomaly" in run("anomalies").err
    crown(warehouse, dict.fromkeys((HERE, THERE), calm))
    rounds = _rounds(run)
    assert set(rounds) == {str(HERE), str(THERE)}
    assert rounds[str(HERE)]["waiting"] is None
    assert rounds[str(HERE)]["opened"] != 0
    assert run("score").err == "All that was loaded is scored already."
    assert "crash" in run("incidents", "list", str(HERE), "--history").out


@pytest.mark.usefixtures("loaded")
def test_a_range_is_scored_again_by_another_model(run: Run, warehouse: Warehouse, calm: pa.Table) -> None:
    """New results replace the earlier ones, which stay on record; the lineage names both."""
    first = crown(warehouse, dict.fromkeys((HERE, THERE), calm))
    run("score")
    other = crown(warehouse, dict.fromkeys((HERE, THERE), calm))
    again = run("score", str(HERE), *SPAN, "--model", other.name)
    assert (again.status, str(HERE) in again.out) == (0, True)
    stand = json.loads(run("anomalies", str(HERE), *SPAN, "--json").out)
    gone = json.loads(run("anomalies", str(HERE), *SPAN, "--replaced", "--json").out)
    assert {one["model"] for one in stand} == {other.name}
    assert {one["model"] for one in gone} == {first.name}
    lineage = json.loads(run("anomalies", str(HERE), *SPAN, "--scorings", "--json").out)
    assert [one["model"] for one in lineage][0] == other.name
    assert first.name in {one["model"] for one in lineage}
    assert {one["replaced_by"] for one in gone} == {lineage[0]["id"]}
    table = run("anomalies", "--limit", "1")
    assert (other.name in table.out, "more; see --limit" in table.err) == (True, True)
    assert "scoring" in run("anomalies", "--replaced").out
    assert other.name in run("anomalies", "--scorings", "--limit", "1").out


@pytest.mark.usefixtures("loaded")
def test_what_cannot_be_meant_is_an_error(run: Run, warehouse: Warehouse, calm: pa.Table) -> None:
    """With what to do about it, and exit status 2; a model that cannot judge a series fails that series alone."""
    model = crown(warehouse, {HERE: calm})
    for arguments, part in (
        (("score", "--model", "5m/1"), "say which, by --start and --end"),
        (("score", "okx:BTC/USDT:5m"), "never loaded: okx:BTC/USDT:5m"),
        (("score", *SPAN, "--model", "5m/9"), "no model 5m/9"),
        (("anomalies", "--replaced", "--scorings"), "leave one out"),
        (("anomalies", "okx:BTC/USDT:5m"), "never loaded"),
    ):
        ended = run(*arguments)
        assert (ended.status, part in ended.err) == (2, True), ended
    partly = run("score", "--start", (TODAY.start - DAY).isoformat(), "--model", model.name)
    assert partly.status == 1
    assert str(HERE) in partly.out
    assert str(THERE) in partly.err


@pytest.mark.parametrize("command", ["score", "anomalies"])
def test_the_help_teaches_with_an_example(command: str, run: Run) -> None:
    """Every command's help has an example of itself."""
    assert f"Example: chandler {command}" in run(command, "--help").out.replace("│ ", "")
