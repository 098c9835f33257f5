"""Feedback on models' incidents, as the next night's report and `chandler models show` tell it."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from etl.cli import main
from etl.incidents import Kind
from etl.warehouse import Warehouse, acknowledge, judge_incident, withdraw_incident
from etl.warehouse import find_incident as find
from etl.warehouse.incident_tables import incidents
from models.feedback import NAMED, FalseAlarm, Feedback, feedback_of, feedback_since_last_night, read_feedback
from models.registry import Model
from models.report import render
from tests.made_incidents import BTC, MINUTE, PEAK, found, have
from tests.models.drafts import ALL_1M, crown
from tests.models.test_report import night

AGO = timedelta(days=2)


def _say(warehouse: Warehouse, *false_alarms: int, seen: tuple[int, ...] = (), note: str = "") -> None:
    with warehouse.begin() as connection:
        for number in seen:
            acknowledge(connection, number, note, "desk")
        for number in false_alarms:
            judge_incident(connection, number, note, "desk", is_false=True)


def _found_by(warehouse: Warehouse, model: Model, count: int, *, is_history: bool = False) -> list[int]:
    kinds = [Kind.CRASH, Kind.UNUSUAL]
    return [
        have(
            warehouse,
            found(at=PEAK + 10 * each * MINUTE, kind=kinds[each % 2], model_id=model.id),
            is_history=is_history,
        )
        for each in range(count)
    ]


def test_what_people_said_is_counted_by_model(warehouse: Warehouse) -> None:
    """Incidents, those seen and those false; what is history or withdrawn counts once somebody says something of it."""
    old, new = crown(warehouse, 1), crown(warehouse, 2)
    first, second, third, fourth = _found_by(warehouse, old, 4)
    past, forgotten = _found_by(warehouse, new, 2, is_history=True)
    _say(warehouse, second, past, seen=(first,), note="funding")
    with warehouse.begin() as connection:
        withdraw_incident(connection, find(connection, third), "the candles were revised", "round")
        latest, earlier = read_feedback(connection, ALL_1M, None)
        assert feedback_of(connection, old) == earlier
    assert (earlier.model, earlier.incidents, earlier.seen, earlier.false_share) == (old.name, 3, 2, 0.5)
    assert earlier.false_alarms == (FalseAlarm(second, BTC, PEAK + 10 * MINUTE, Kind.UNUSUAL, "funding"),)
    assert (latest.model, latest.incidents, latest.seen) == (new.name, 1, 1)
    assert {fourth, forgotten}.isdisjoint(one.incident_id for one in (*earlier.false_alarms, *latest.false_alarms))


def test_a_night_counts_what_came_since_the_last_one(warehouse: Warehouse) -> None:
    """An older incident counts if somebody has said something of it since; what was said before does not again."""
    model = crown(warehouse, 1)
    said_before, said_since, _ = _found_by(warehouse, model, 3)
    _say(warehouse, said_before)
    with warehouse.begin() as connection:
        connection.execute(update(incidents).values(opened_at=incidents.c.opened_at - AGO))
    crown(warehouse, 2)
    with warehouse.begin() as connection:
        assert feedback_since_last_night(connection, ALL_1M) == []
    _say(warehouse, said_since)
    _found_by(warehouse, model, 1)
    with warehouse.begin() as connection:
        (since,) = feedback_since_last_night(connection, ALL_1M)
    assert (since.incidents, since.seen) == (2, 1)
    assert [one.incident_id for one in since.false_alarms] == [said_since]


def test_the_report_names_false_alarms_by_kind() -> None:
    """So many of them, and how many more there are; what a person wrote is text."""
    alarms = [
        FalseAlarm(number, BTC, PEAK, [Kind.UNUSUAL, Kind.CRASH][number % 2], "<i>") for number in range(NAMED + 3)
    ]
    page = render(replace(night("lstm", "lstm"), feedback=[Feedback("1m/1", 40, 30, tuple(alarms))]))
    section = page[page.index("What people said") : page.index("The training")]
    text = re.sub(r"<[^>]+>", " ", section)
    assert "1m/1 40 30 23 77%" in " ".join(text.split())
    assert text.rindex("crash") < text.index("unusual")
    assert section.count("&lt;i&gt;") == NAMED
    assert "And 3 more" in text


def test_a_model_is_shown_with_what_people_said(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON; of a model without incidents nothing is said."""
    model, silent = crown(warehouse, 1), crown(warehouse, 2)
    crash, other = _found_by(warehouse, model, 2)
    _say(warehouse, crash, seen=(other,), note="a [test]")

    def show(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["chandler", "models", "show", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main()
        return " ".join(capsys.readouterr().out.split())

    assert f"2 2 1 50% crash: incident {crash}, a [test]" in show(model.name)
    assert "people said" not in show(silent.name)
    told = json.loads(show(model.name, "--json"))["feedback"]
    assert (told["seen"], told["false_share"], told["false_alarms"][0]["kind"]) == (2, 0.5, "crash")
