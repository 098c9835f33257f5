"""Output of the registry's commands: as tables for people, as JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from etl.show.parts import new_table, to_iso, to_minute
from models.registry import Change, Model, State

if TYPE_CHECKING:
    from models.feedback import Feedback
    from models.judging import Round

_COLOURS = {State.CHAMPION: "green", State.CANDIDATE: "yellow", State.RETIRED: "", State.REJECTED: "dim"}
_NUMBERS = {
    "VUS-PR": "vus_pr",
    "average precision": "average_precision",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "incidents a week": "incidents_per_week",
}


def rounds_table(rounds: Sequence[Round]) -> Table:
    """Return a line for each series that was scored, or why it waits."""
    heads = ("series", "candles", "anomalies", "new incidents", "changed ones", "withdrawn ones", "alerts", "waits")
    table = new_table(*heads)
    for one in rounds:
        counts = (one.candles, one.anomalies, one.opened, one.changed, one.withdrawn, one.alerts)
        table.add_row(str(one.series), *(f"{count:,}" for count in counts), Text(one.waiting or "", style="yellow"))
    return table


def models_table(models: Sequence[Model]) -> Table:
    """Return a line a model."""
    table = new_table("model", "scorer", "state", "since", "learned", "VUS-PR", "F1", "MB", "why")
    for model in models:
        summary = summary_of(model)
        table.add_row(
            model.name,
            model.scorer,
            Text(model.state, style=_COLOURS[model.state]),
            to_minute(model.state_since),
            f"{model.learned.start:%Y-%m-%d} to {model.learned.end:%Y-%m-%d}",
            _number(summary.get("vus_pr")),
            _number(summary.get("f1")),
            f"{model.size_bytes / 1e6:,.2f}" if model.has_blob else "dropped",
            Text(model.reason),
        )
    return table


def model_json(model: Model) -> dict[str, Any]:
    """Return all that is known of a model for a script."""
    return {
        "model": model.name,
        "id": model.id,
        "timeframe": model.target.timeframe.value,
        "scope": model.target.scope,
        "version": model.version,
        "scorer": model.scorer,
        "state": model.state.value,
        "state_since": to_iso(model.state_since),
        "reason": model.reason,
        "learned": model.learned.to_dict(),
        "held_out": model.held_out.to_dict(),
        "as_of": to_iso(model.as_of),
        "data_hash": model.data_hash,
        "run": model.run,
        "created_at": to_iso(model.created_at),
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "has_blob": model.has_blob,
        "has_report": model.has_report,
        "environment": dict(model.environment),
        "metrics": dict(model.metrics),
    }


def changes_json(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """Return what has become of a model for a script."""
    return [
        {
            "before": None if one.before is None else one.before.value,
            "after": one.after.value,
            "reason": one.reason,
            "run": one.run,
            "changed_at": to_iso(one.changed_at),
        }
        for one in changes
    ]


def model_parts(model: Model, changes: Sequence[Change], feedback: Feedback) -> Iterator[RenderableType]:
    """Yield what there is to know of a model, part by part."""
    yield Text.assemble((f"{model.name} ", "bold"), f"{model.scorer}, ", (model.state, _COLOURS[model.state]))
    yield Text(f"{model.reason}\n")
    facts = new_table("what", "how it is")
    for name, value in (
        ("learned", str(model.learned)),
        ("held out", str(model.held_out)),
        ("candles as of", to_minute(model.as_of)),
        ("their SHA-256", model.data_hash),
        ("blob", f"{model.size_bytes / 1e6:,.2f} MB" if model.has_blob else "dropped, by keep in [models]"),
        ("its SHA-256", model.sha256),
        ("report", f"chandler models report {model.name} --out night.html" if model.has_report else "none"),
        ("trained with", ", ".join(f"{name} {value}" for name, value in sorted(model.environment.items()))),
    ):
        facts.add_row(name, Text(value or ""))
    yield facts
    if model.metrics.get("summaries"):
        yield Text(f"\nits night, in which it was {model.metrics.get('model')}")
        yield _night(model)
    if feedback.incidents:
        yield Text("\nwhat people said of its incidents")
        yield _feedback(feedback)
    yield Text("\nwhat became of it")
    history = new_table("when", "state", "why", "by run")
    for one in changes:
        history.add_row(to_minute(one.changed_at), one.after.value, Text(one.reason), Text(one.run))
    yield history


def feedback_json(feedback: Feedback) -> dict[str, Any]:
    """Return what people said of a model for a script."""
    return {
        "incidents": feedback.incidents,
        "seen": feedback.seen,
        "false_share": feedback.false_share,
        "false_alarms": [
            {**asdict(one), "series": str(one.series), "peak": to_iso(one.peak)} for one in feedback.false_alarms
        ],
    }


def comparison_table(one: Model, other: Model) -> Table:
    """Return a line for each thing that was measured of both."""
    table = new_table("what", one.name, other.name)
    for name, of in (
        ("scorer", lambda model: model.scorer),
        ("state", lambda model: model.state.value),
        ("learned", lambda model: str(model.learned)),
        ("measured on", lambda model: _measured_on(model) or "nothing"),
    ):
        table.add_row(name, Text(of(one)), Text(of(other)))
    mine, its = summary_of(one), summary_of(other)
    for name, key in _NUMBERS.items():
        table.add_row(name, _number(mine.get(key)), _number(its.get(key)))
    for name, key in (("VUS-PR", "by_kind"), ("recall", "recall_by")):
        kinds = dict.fromkeys([*mine.get(key, {}), *its.get(key, {})])
        for kind in kinds:
            table.add_row(f"{name}, {kind}", _number(mine.get(key, {}).get(kind)), _number(its.get(key, {}).get(kind)))
    return table


def comparison_remark(one: Model, other: Model) -> str | None:
    """Return what to keep in mind, if the two were not measured on the same candles."""
    if not (summary_of(one) and summary_of(other)):
        return "one of them was imported, and was never measured here; promote it, and the next night measures it"
    if (_measured_on(one), one.data_hash) != (_measured_on(other), other.data_hash):
        return "they were measured in different nights, on different candles: a small difference says little"
    return None


def _night(model: Model) -> Table:
    table = new_table("in the night", *_NUMBERS)
    for summary in model.metrics["summaries"]:
        is_own = summary.get("model") == model.metrics.get("model")
        cells = (_number(summary.get(key)) for key in _NUMBERS.values())
        table.add_row(Text(str(summary.get("model"))), *cells, style="bold" if is_own else "")
    return table


def _feedback(feedback: Feedback) -> Table:
    table = new_table("incidents", "seen", "false alarms", "of those seen", "the latest of each kind")
    share = "" if feedback.false_share is None else f"{feedback.false_share:.0%}"
    by_kind = {one.kind: one for one in reversed(feedback.false_alarms)}
    named = "; ".join(
        f"{kind.replace('_', ' ')}: incident {one.incident_id}, {one.note}" for kind, one in by_kind.items()
    )
    counts = (feedback.incidents, feedback.seen, len(feedback.false_alarms))
    table.add_row(*(f"{count:,}" for count in counts), share, Text(named))
    return table


def summary_of(model: Model) -> Mapping[str, Any]:
    """Return how the model itself did in its night; nothing if it was not measured here."""
    own = model.metrics.get("model")
    found: list[Mapping[str, Any]] = [one for one in model.metrics.get("summaries", []) if one.get("model") == own]
    return found[0] if found else {}


def _measured_on(model: Model) -> str:
    test = model.metrics.get("evaluation", {}).get("test", {})
    return " to ".join(str(test[bound])[:16].replace("T", " ") for bound in ("start", "end") if bound in test)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
