"""Policies of every DAG, whoever writes it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.dags.conftest import TOMORROW
from tests.dags.dag_facts import MOST_INTERVALS

REPOSITORY = Path(__file__).parents[2]
EXCHANGES = {"majors": "binance", "more": "kraken", "future": "kraken"}
PARTITIONED = [f"{kind}_{feed}" for kind in ("ingest", "history") for feed in EXCHANGES]


def test_every_feed_has_its_dags(facts: dict[str, Any]) -> None:
    """A feed in feeds.toml is two DAGs, one for each day and one for the past; nothing else needs to be written."""
    assert facts["errors"] == {}
    others = {"repair_gaps", "maintain_stores", "train_models", "score_anomalies", "deliver_alerts"}
    assert set(facts["dags"]) == {*others, *PARTITIONED}


def test_intervals_are_whole_utc_hours_days_or_months(facts: dict[str, Any]) -> None:
    """No DAG has the empty data interval that a plain @daily has, and a backfill's intervals leave nothing out.

    History asked for since the first of a month, by the clock of a browser in New York, begins with that month.
    """
    first = {
        "ingest": datetime(2025, 1, 2, tzinfo=UTC),
        "history": datetime(2025, 1, 1, tzinfo=UTC),
        "repair": datetime(2025, 1, 1, 5, 20, tzinfo=UTC),
        "maintain": datetime(2025, 1, 2, 3, 40, tzinfo=UTC),
        "train": datetime(2025, 1, 2, 4, 30, tzinfo=UTC),
        "deliver": datetime(2025, 1, 1, 5, tzinfo=UTC),
    }
    counts = {"ingest": 30 + 28 + 1, "history": 3, "repair": 24 * (31 + 28) - 5, "maintain": 30 + 28, "train": 30 + 28}
    counts["deliver"] = MOST_INTERVALS
    by_hand = {
        "ingest": ["2026-11-19 00:00", "2026-11-20 00:00"],
        "history": ["2026-10-01 00:00", "2026-11-01 00:00"],
        "repair": ["2026-11-20 11:20", "2026-11-20 12:20"],
        "maintain": ["2026-11-19 03:40", "2026-11-20 03:40"],
        "train": ["2026-11-19 04:30", "2026-11-20 04:30"],
        "deliver": ["2026-11-20 12:55", "2026-11-20 13:00"],
    }
    for dag_id, dag in facts["dags"].items():
        if dag_id == "score_anomalies":
            assert dag["backfill"] == [], "it goes by what was loaded, not by the clock"
            continue
        kind = dag_id.partition("_")[0]
        intervals = [tuple(map(datetime.fromisoformat, interval)) for interval in dag["backfill"]]
        assert intervals[0][0] == first[kind], dag_id
        assert len(intervals) == counts[kind], dag_id
        assert all(end == start for (_, end), (start, _) in pairwise(intervals)), dag_id
        assert dag["interval"] == [f"{bound}:00+00:00" for bound in by_hand[kind]], dag_id


def test_history_is_for_backfills_alone(facts: dict[str, Any]) -> None:
    """Open for a backfill of any month from the first, history is never due by itself, before one or after."""
    for feed in ("majors", "more"):
        history, ingest = facts["dags"][f"history_{feed}"], facts["dags"][f"ingest_{feed}"]
        assert history["is_backfillable"]
        assert history["is_paused_at_first"] is False
        assert datetime.fromisoformat(history["start"]).year == 2010
        assert history["nexts"] == [None, None]
        assert all(ingest["nexts"])


def test_the_day_goes_before_the_past(facts: dict[str, Any]) -> None:
    """A year of history does not hold up the daily load if both wait for a slot, whichever task is next."""
    weights = {
        kind: [task["priority"] for task in facts["dags"][f"{kind}_majors"]["tasks"].values()]
        for kind in ("ingest", "history")
    }
    # Airflow adds what follows to a task's own.
    assert min(weights["ingest"]) > sum(weights["history"])


def test_dags_say_who_owns_them_and_what_they_are(facts: dict[str, Any]) -> None:
    """Each DAG has an owner, tags, an aware start, no catch-up, and says what it does and what to do when it is red."""
    for dag_id, dag in facts["dags"].items():
        assert dag["owner"] == "chandler", dag_id
        sentence = dag["description"].removesuffix(".")
        assert sentence[0].isupper(), dag_id
        assert f": {sentence[0].lower()}{sentence[1:]}." in dag["doc_md"], dag_id
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


def test_loads_are_labelled_pooled_and_announced(facts: dict[str, Any]) -> None:
    """Tasks are named after their series, those that talk share the exchange's pool, a load tells who listens."""
    for dag_id in PARTITIONED:
        tasks = facts["dags"][dag_id]["tasks"]
        mapped = ["partition.fetch", "partition.clean", "partition.load"]
        assert list(tasks) == ["list_series", *mapped, "account", "warn"], dag_id
        assert {tasks[name]["label"] for name in mapped} == {"{{ series }}"}, dag_id
        assert tasks["partition.fetch"]["pool"] == EXCHANGES[dag_id.partition("_")[2]], dag_id
        assert tasks["partition.load"]["outlets"] == ["candles"], dag_id


def test_a_feed_of_more_series_than_airflow_maps_says_so(facts: dict[str, Any]) -> None:
    """The list that a run keeps is bounded by Airflow: here by 2, of which one feed has fewer and another more."""
    told = facts["dags"]["ingest_majors"]["lists"]["list_series"]
    assert told.startswith("too many to map tasks over: 3, and this Airflow takes 2; set AIRFLOW__CORE__MAX_MAP_LENGTH")
    assert facts["dags"]["ingest_more"]["lists"] == {"list_series": ["kraken:SOL/USDT:1h"]}
    assert facts["dags"]["train_models"]["lists"] == {"list_targets": ["1m", "1h"]}


def test_every_run_is_accounted_for_and_says_where(facts: dict[str, Any]) -> None:
    """The account follows the loads however they end, does not say whether the run failed, and leads to the quality."""
    for dag_id in PARTITIONED:
        tasks = facts["dags"][dag_id]["tasks"]
        after = {name: (tasks[name]["is_teardown"], tasks[name]["after"]) for name in ("account", "warn")}
        assert after == {
            "account": (True, ["list_series", "partition.load"]),
            "warn": (True, ["account", "list_series"]),
        }, dag_id
        assert {name for name, task in tasks.items() if task["links"] == ["Quality"]} == {"partition.load", "account"}


def test_repair_asks_each_exchange_by_itself_and_tells_of_all(facts: dict[str, Any]) -> None:
    """One run at a time, switched on; a red exchange keeps neither another nor the telling, but lets the run fail."""
    repair = facts["dags"]["repair_gaps"]
    tasks = repair["tasks"]
    assert (repair["runs_at_once"], repair["is_paused_at_first"]) == (1, False)
    assert {name: task["pool"] for name, task in tasks.items() if task["pool"] != "default_pool"} == {
        f"repair_{exchange}": exchange for exchange in EXCHANGES.values()
    }
    repairs = [f"repair_{exchange}" for exchange in sorted(set(EXCHANGES.values()))]
    assert [tasks[name]["after"] for name in repairs] == [["judge"], ["judge"]]
    assert (tasks["announce"]["after"], tasks["announce"]["trigger_rule"]) == (["judge", *repairs], "all_done")
    assert tasks["note_announced"]["after"] == ["announce"]
    assert tasks["finished"]["after"] == ["judge", "note_announced", *repairs]
    whatever_became = {name for name, task in tasks.items() if task["trigger_rule"] == "all_done"}
    assert whatever_became == {"announce", *repairs}, (
        "a series that cannot be judged keeps no exchange from being asked"
    )
    assert {task["trigger_rule"] for name, task in tasks.items() if name not in whatever_became} == {"all_success"}


def test_maintenance_takes_every_step_and_fails_with_any(facts: dict[str, Any]) -> None:
    """One run at a time, switched on; the steps follow each other however they end, and the run fails with any."""
    maintenance = facts["dags"]["maintain_stores"]
    assert (maintenance["runs_at_once"], maintenance["is_paused_at_first"]) == (1, False)
    tasks = maintenance["tasks"]
    names = [name for name in tasks if name not in {"summary", "finished"}]
    assert {tasks[name]["trigger_rule"] for name in [*names, "summary"]} == {"all_done"}
    assert [len(tasks[name]["after"]) for name in names] == [0, *([1] * (len(names) - 1))]
    assert len({tuple(tasks[name]["after"]) for name in names}) == len(names), "one after the other"
    assert tasks["finished"]["after"] == sorted([*names, "summary"])
    assert tasks["finished"]["trigger_rule"] == "all_success"


def test_training_has_a_square_for_each_model_and_leads_to_its_report(facts: dict[str, Any]) -> None:
    """One run at a time, switched on; a task labelled by what it trains, behind loads, with a link to the report."""
    training = facts["dags"]["train_models"]
    assert (training["runs_at_once"], training["is_paused_at_first"]) == (1, False)
    assert list(training["tasks"]) == ["list_targets", "train"]
    task = training["tasks"]["train"]
    assert (task["label"], task["links"]) == ("{{ target }}", ["Report"])
    loads = [one for dag_id in PARTITIONED for one in facts["dags"][dag_id]["tasks"].values()]
    assert task["priority"] <= min(load["priority"] for load in loads)


def test_alerts_are_delivered_at_once_and_by_the_clock(facts: dict[str, Any]) -> None:
    """One run at a time, switched on, when there are alerts and anyway; it sends whatever came before, once it may."""
    delivery = facts["dags"]["deliver_alerts"]
    assert (delivery["runs_at_once"], delivery["is_paused_at_first"]) == (1, False)
    assert delivery["assets"] == ["alerts"]
    tasks = delivery["tasks"]
    assert tasks["deliver"]["after"] == ["ask", "watch"]
    assert (tasks["deliver"]["trigger_rule"], tasks["finished"]["trigger_rule"]) == ("all_done", "none_failed")
    assert tasks["finished"]["after"] == ["ask", "deliver", "watch"]
    longest = sum(task["longest_pause_s"] * task["retries"] for name, task in tasks.items() if name == "deliver")
    assert longest <= 300, "the next run waits for this one"


def test_who_fails_says_so(facts: dict[str, Any]) -> None:
    """Each task tells people when it has failed for good, but for those that tell: and those whose failure is told."""
    silent = {
        f"{dag_id}.{name}"
        for dag_id, dag in facts["dags"].items()
        for name, task in dag["tasks"].items()
        if not task["tells"]
    }
    warns = {f"{dag_id}.warn" for dag_id in PARTITIONED}
    assert silent == {f"deliver_alerts.{name}" for name in facts["dags"]["deliver_alerts"]["tasks"]} | warns


def test_scheduled_loads_alone_have_a_deadline(facts: dict[str, Any]) -> None:
    """A run is late by when it was due. One that was triggered, backfilled or created too late misses no deadline."""
    late = {"scheduled": 3.0, "scheduled long ago": None, "backfilled": None, "triggered": None}
    for dag_id, dag in facts["dags"].items():
        assert dag["deadlines"] == ([late] if dag_id.startswith("ingest_") else []), dag_id


def test_no_run_can_be_triggered_in_the_future(facts: dict[str, Any]) -> None:
    """Airflow could neither start nor end it; whoever triggers one is told at once what to choose."""
    for dag_id, dag in facts["dags"].items():
        if dag_id != "score_anomalies":  # it has no schedule that Airflow would ask
            assert [text.partition(":")[0] for text in dag["refusals"]] == [
                "the logical date is in the future",
                "the end of the data interval is in the future",
            ], dag_id


def test_a_feed_is_scheduled_since_its_start_and_loaded_before_it_on_demand(facts: dict[str, Any]) -> None:
    """Airflow ends runs before the start of their DAG as successes that have done nothing, so that start is early."""
    for feed in EXCHANGES:
        assert datetime.fromisoformat(facts["dags"][f"ingest_{feed}"]["start"]).year == 2010
    future = facts["dags"]["ingest_future"]
    assert future["nexts"] == [str(TOMORROW + timedelta(days=1))] * 2, "the end of the first data interval"
    assert future["backfill"], "what a user asks for is loaded"


def test_parsing_stays_light(facts: dict[str, Any]) -> None:
    """No DAG file imports what is slow: Airflow parses it again for every task."""
    assert facts["heavy"] == []


def test_our_packages_are_the_repository_s(facts: dict[str, Any]) -> None:
    """`etl` and `models` are what lies here, not something that happens to be called so."""
    for name, home in facts["homes"].items():
        assert Path(home).is_relative_to(REPOSITORY), name


def test_bad_feeds_are_one_import_error_and_the_others_go_on(read_facts: Any) -> None:
    """A line for each mistake, in the import error of one file; sound feeds, repair, training and alerts have DAGs."""
    sound = (REPOSITORY / "feeds.toml").read_text(encoding="utf-8")
    bad = """
[feeds.typo]
exchange = "binanse"
symbols = ["BTC/USDT"]
timeframes = ["1m"]
start = 2024-01-01
setle = "1h"

[feeds.open]
exchange = "kraken"
symbols = ["BTC/USD"
"""
    found = read_facts(sound + bad)
    [(file, error)] = found["errors"].items()
    assert file.endswith("feeds.py")
    for line in (
        "feeds.typo.setle: unknown key; nearest: settle",
        "'binanse'; nearest: binance",
        "feeds.open: cannot be",
    ):
        assert line in error
    others = {"repair_gaps", "maintain_stores", "train_models", "score_anomalies", "deliver_alerts"}
    assert set(found["dags"]) == {*others, "ingest_majors", "history_majors"}


def test_without_a_feeds_file_the_import_error_names_it(read_facts: Any) -> None:
    """Whoever forgets CHANDLER_FEEDS reads where Airflow looked."""
    [error] = read_facts(None)["errors"].values()
    assert "feeds.toml, which is not there" in error
