"""What every DAG must be, whoever writes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def test_every_feed_has_its_dag(facts: dict[str, Any]) -> None:
    """A feed in feeds.toml is a DAG; nothing else needs to be written."""
    assert facts["errors"] == {}
    assert set(facts["dags"]) == {"ingest_majors", "ingest_more"}


def test_intervals_are_whole_utc_days(facts: dict[str, Any]) -> None:
    """No DAG has the empty data interval that a plain @daily has."""
    for dag_id, dag in facts["dags"].items():
        start, end = map(datetime.fromisoformat, dag["interval"])
        assert dag["timetable"] == "CronDataIntervalTimetable", dag_id
        assert end - start == timedelta(days=1), dag_id
        assert start.utcoffset() == timedelta(0), dag_id
        assert (start.hour, start.minute) == (0, 0), dag_id


def test_dags_say_who_owns_them_and_what_they_are(facts: dict[str, Any]) -> None:
    """Each DAG has tags, an aware start, no catch-up, and documentation that says what to do when it is red."""
    for dag_id, dag in facts["dags"].items():
        assert dag["catchup"] is False, dag_id
        assert dag["tags"], dag_id
        assert datetime.fromisoformat(dag["start"]).tzinfo is not None, dag_id
        for heading in ("Schedule", "Inputs", "Outputs", "Safe to rerun?", "When it is red"):
            assert heading in dag["doc_md"], f"{dag_id} does not say: {heading}"


def test_tasks_are_retried_with_growing_pauses(facts: dict[str, Any]) -> None:
    """Each task has an owner and retries whose pauses grow up to a limit."""
    for dag_id, dag in facts["dags"].items():
        for task_id, task in dag["tasks"].items():
            assert task["owner"] not in {"", "airflow"}, f"{dag_id}.{task_id}"
            assert task["retries"] >= 3, f"{dag_id}.{task_id}"
            assert task["backoff"] == 2.0, f"{dag_id}.{task_id}"
            assert task["longest_pause_s"], f"{dag_id}.{task_id}"


def test_ingest_is_labelled_pooled_and_announced(facts: dict[str, Any]) -> None:
    """Tasks are named after their series, those that talk share the exchange's pool, a load tells who listens."""
    tasks = facts["dags"]["ingest_majors"]["tasks"]
    assert list(tasks) == ["partition.fetch", "partition.clean", "partition.load"]
    assert {task["label"] for task in tasks.values()} == {"{{ series }}"}
    assert tasks["partition.fetch"]["pool"] == "binance"
    assert tasks["partition.load"]["outlets"] == ["candles"]


def test_parsing_stays_light(facts: dict[str, Any]) -> None:
    """No DAG file imports what is slow: Airflow parses it again for every task."""
    assert facts["heavy"] == []


def test_our_packages_are_the_repository_s(facts: dict[str, Any]) -> None:
    """`etl` and `models` are what lies here, not something that happens to be called so."""
    for name, home in facts["homes"].items():
        assert Path(home).is_relative_to(REPOSITORY), name


def test_bad_feeds_are_an_import_error_that_says_what_is_meant(read_facts: Any) -> None:
    """A mistake in feeds.toml shows in the UI as our own lines, each with the nearest right name."""
    feeds = (
        '[feeds.a]\nexchange = "binanse"\nsymbols = ["BTC/USDT"]\ntimeframes = ["1m"]\nstart = 2024-01-01\nsetle = "1h"'
    )
    errors = "".join(read_facts(feeds)["errors"].values())
    assert "ConfigError" in errors
    assert "unknown key feeds.a.setle; nearest: settle" in errors
