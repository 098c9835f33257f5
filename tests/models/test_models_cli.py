"""`chandler models` as its user types it, on a real registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from etl.warehouse import Warehouse
from models.registry import State, decide
from tests.commands import Run, runner
from tests.models.artifacts import LIMIT
from tests.models.drafts import crown, drafts_of

COMMANDS = ("list", "show", "compare", "promote", "rollback", "export", "import", "report")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs `chandler models` in this process."""
    return runner(monkeypatch, capsys, "models")


@pytest.fixture
def three(warehouse: Warehouse) -> None:
    """A retired model, a champion, and one that was rejected in its night."""
    first = crown(warehouse, 1)
    second, third = drafts_of(2, 3, states=(State.CHAMPION, State.REJECTED))
    summaries = [
        {"model": "lstm", "vus_pr": 0.625, "f1": 0.5, "by_kind": {"spike": 0.75}, "recall_by": {"spike": 0.25}},
        {"model": "sub_pca", "vus_pr": 0.375, "f1": 0.125, "by_kind": {"spike": 0.5}, "recall_by": {}},
    ]
    night = [
        replace(
            draft,
            artifact=replace(draft.artifact, data_hash=f"{2:064x}"),
            metrics={"model": name, "summaries": summaries},
        )
        for draft, name in ((second, "lstm"), (third, "sub_pca"))
    ]
    decide(warehouse, night, against=first, run="night", max_bytes=LIMIT, environment={"numpy": "2.4"})


@pytest.mark.usefixtures("three")
def test_models_are_listed_and_shown(run: Run) -> None:
    """Alone it lists; a model is shown with its night and what became of it; scripts get all of it."""
    alone, champions = run(), run("list", "1m", "--state", "champion")
    for part in ("1m/1", "retired", "1m/2", "champion", "0.625", "1m/3", "rejected"):
        assert part in alone.out
    assert ("1m/2" in champions.out, "1m/1" in champions.out) == (True, False)
    assert "2 more; see chandler models list --limit" in run("list", "--limit", "1").err
    assert "No model matches" in run("list", "5m").err
    shown = run("show", "1m/1").out
    for part in ("1m/1 seasonal_z, retired", "1m/2 took its place: 2 did champion.", "night 1", "python 3.11"):
        assert part in shown
    assert "in which it was sub_pca" in run("show", "1m/3").out
    listed = json.loads(run("list", "--json").out)
    assert [(one["model"], one["state"]) for one in listed] == [
        ("1m/3", "rejected"),
        ("1m/2", "champion"),
        ("1m/1", "retired"),
    ]
    one = json.loads(run("show", "1m/2", "--json").out)
    assert (one["environment"], [change["after"] for change in one["changes"]]) == ({"numpy": "2.4"}, ["champion"])


@pytest.mark.usefixtures("three")
def test_two_models_are_compared(run: Run, warehouse: Warehouse) -> None:
    """Side by side by what was measured; what was measured on different candles is said to be."""
    same = run("compare", "1m/2", "1m/3")
    assert "VUS-PR 0.625 0.375" in same.out
    assert "recall, spike 0.250" in same.out
    assert same.err == ""
    crown(warehouse, 4, metrics={"model": "lstm", "summaries": [{"model": "lstm", "vus_pr": 0.7}]})
    assert "on different candles: a small difference says little" in run("compare", "1m/2", "1m/4").err
    assert "never measured here" in run("compare", "1m/1", "1m/2").err
    assert [one["model"] for one in json.loads(run("compare", "1m/2", "1m/3", "--json").out)] == ["1m/2", "1m/3"]


@pytest.mark.usefixtures("three")
def test_a_person_promotes_and_rolls_back(run: Run) -> None:
    """With a note that is kept, brackets and all."""
    assert "1m/3 (seasonal_z) is champion" in run("promote", "1m/3", "--note", "[calm] at funding").out
    assert "[calm] at funding" in run("list").out
    assert "1m/2 (seasonal_z) is champion again" in run("rollback", "1m").out
    again = run("promote", "1m/2")
    assert (again.status, again.err) == (2, "1m/2 is champion already")


@pytest.mark.usefixtures("three")
def test_a_model_and_its_report_go_into_files(run: Run, tmp_path: Path) -> None:
    """A model that is exported is imported; a damaged one is refused with its reason and leaves nothing."""
    path, page = tmp_path / "model.zip", tmp_path / "night.html"
    assert f"1m/2 is in {path}" in run("export", "1m/2", str(path)).out
    assert "1m/2 (seasonal_z) is champion" in run("import", str(path)).out
    path.write_bytes(path.read_bytes()[:-1])
    refused = run("import", str(path))
    assert (refused.status, "no zip, or cut off" in refused.err) == (1, True)
    assert run("report", "1m/2", "--out", str(page)).status == 0
    assert page.read_text() == "<p>night 2</p>"
    assert "no model 1m/9; nearest: 1m/" in run("export", "1m/9", str(path)).err
    missing = run("import", str(tmp_path / "none.zip"))
    assert (missing.status, "cannot be read" in missing.err) == (2, True)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_teaches_with_an_example(command: str, run: Run) -> None:
    """Every command's help has an example of itself."""
    assert f"Example: chandler models {command}" in run(command, "--help").out.replace("│ ", "")
