"""Second opinions: of incidents that people are about to be told of, a language model is asked, within a budget a day.

The budget is spent before anybody is asked: what is killed in between counts as the most that it may have cost. What it
says stands beside the incident and in the message; no candle and no flag changes by it.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from etl.alerting import Alerting, Opinion
from etl.alerts.opinion import Answer, ask, most_tokens
from etl.errors import ConfigError
from etl.incidents import Incident, Numbers
from etl.schema import Flag, to_columns
from etl.series import TimeRange, clip
from etl.warehouse import (
    Warehouse,
    begin_opinion,
    end_opinion,
    incidents_to_judge,
    known_series,
    lock_opinions,
    read_absences,
    read_candles_at_once,
    spent_on_day,
)

_AT_ONCE = 10  # incidents in one go, side by side: a market event is of several series
_BEFORE, _AFTER = 40, 20  # candles before an incident begins, and from there on
_COLUMNS = ("open", "high", "low", "close", "volume")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """Outcome of asking for opinions.

    Attributes:
        answered: How often there was an answer that can be used.
        problems: Why not, and how often.
        over_budget: Incidents of which nobody is asked: the day's budget is spent.
    """

    answered: int
    problems: Mapping[str, int]
    over_budget: int

    def __str__(self) -> str:
        parts = [f"{self.answered} second opinions"]
        parts += [f"{count} without: {problem}" for problem, count in sorted(self.problems.items())]
        parts += [f"{self.over_budget} not asked for: the budget of the day is spent"] if self.over_budget else []
        return "; ".join(parts)


def ask_opinions(warehouse: Warehouse, alerting: Alerting, key: str | None, now: datetime, run: str) -> Asked:
    """Ask of each incident that has an alert of which nobody was told yet; once each, whatever comes of it.

    Takes no longer than `timeout_s` of [opinion], and what the warehouse needs.

    Args:
        key: Of the server, if it wants one.
        run: What to call this run where it is recorded.

    Raises:
        ConfigError: The address holds a password.
        StoreError: The warehouse refuses or went away.
    """
    opinion = alerting.opinion
    if opinion is None:
        return Asked(0, {}, 0)
    if opinion.url.username or opinion.url.password:
        raise ConfigError(
            "the url of [opinion] holds a name or password; write its key into the Connection chandler_opinion "
            "(password), or into CHANDLER_OPINION_KEY"
        )
    begun, over_budget = _begin(warehouse, opinion, now)
    problems: Counter[str] = Counter()
    with ThreadPoolExecutor(_AT_ONCE, "opinion") as threads:
        asked = {threads.submit(ask, evidence, opinion, key): number for number, evidence in begun.items()}
        for one in as_completed(asked):
            answer = one.result()
            _end(warehouse, asked[one], answer, run)
            problems[answer.problem] += 1
    return Asked(problems.pop("", 0), problems, over_budget)


def _begin(warehouse: Warehouse, opinion: Opinion, now: datetime) -> tuple[dict[int, dict[str, Any]], int]:
    """Spend what asking may cost; return the evidence by the number of the asking, and how many are over budget."""
    begun: dict[int, dict[str, Any]] = {}
    with warehouse.begin() as connection:
        lock_opinions(connection)
        incidents = incidents_to_judge(connection, opinion.severity, _AT_ONCE)
        calls, tokens = spent_on_day(connection, now)
        for incident in incidents:
            evidence = _evidence(connection, incident)
            most = most_tokens(evidence, opinion)
            if calls >= opinion.calls_per_day or tokens + most > opinion.tokens_per_day:
                continue
            number = begin_opinion(connection, incident.id, opinion.model, evidence, most, now)
            begun[number] = evidence
            calls, tokens = calls + 1, tokens + most
    return begun, len(incidents) - len(begun)


def _end(warehouse: Warehouse, number: int, answer: Answer, run: str) -> None:
    said = None if answer.judgement is None else answer.judgement.model_dump(mode="json")
    with warehouse.begin() as connection:
        end_opinion(connection, number, said, answer.problem, answer.tokens, run)


def _evidence(connection: Connection, incident: Incident) -> dict[str, Any]:
    """Return all that a language model is given of an incident: numbers, and names and words of ours."""
    found = incident.found
    series, evidence = found.series, found.evidence
    width = series.timeframe.delta
    around = TimeRange(found.time_range.start - _BEFORE * width, found.time_range.start + _AFTER * width)
    series_id = known_series(connection)[series]
    return {
        "exchange": series.exchange,
        "symbol": series.symbol,
        "timeframe": series.timeframe.value,
        "from": found.time_range.start.isoformat(),
        "until": found.time_range.end.isoformat() if found.is_over else None,
        "peak": found.peak.isoformat(),
        "kind_by_rules": found.kind.value,
        "seen_by": found.scope.value,
        "severity": found.severity.value,
        "once_in_days": _short(found.once_in_days),
        "last_close": _short(evidence.last_close),
        "usual_volume": _short(evidence.usual_volume),
        "move_pct": _short(evidence.move_pct),
        "shares_of_features": {name: _short(share) for name, share in evidence.shares.items()},
        "rules": [{"kind": fired.kind.value, "why": fired.why} for fired in evidence.fired],
        "other_exchanges": [
            {
                "exchange": witness.series.exchange,
                "symbol": witness.series.symbol,
                "peak_candle": _numbers(witness.numbers),
                "move_pct": _short(witness.move_pct),
                "sees_it": witness.sees,
            }
            for witness in evidence.witnesses
        ],
        "candle_columns": ["candles_after_start", *_COLUMNS, "flags"],
        "candles": _candles(connection, series_id, around, found.time_range.start),
        "absent": [
            {"from": inside.start.isoformat(), "until": inside.end.isoformat(), "kind": absence.kind.value}
            for absence in read_absences(connection, series_id, around)
            if (inside := clip(absence.span, around)) is not None
        ],
    }


def _candles(connection: Connection, series_id: int, around: TimeRange, start: datetime) -> list[list[Any]]:
    columns = to_columns(read_candles_at_once(connection, series_id, around))
    step_ms = (around.end_ms - around.start_ms) // (_BEFORE + _AFTER)
    times = columns["open_time"].tolist()
    start_ms = around.start_ms + _BEFORE * step_ms
    numbers = zip(*(columns[name].tolist() for name in _COLUMNS), strict=True)
    flags = columns["flags"].tolist()
    return [
        [(time - start_ms) // step_ms, *map(_short, row), _flag_names(flag)]
        for time, row, flag in zip(times, numbers, flags, strict=True)
    ]


def _flag_names(flags: int) -> str:
    return " ".join(flag.name.lower() for flag in Flag if flags & flag and flag.name)


def _numbers(numbers: Numbers | None) -> dict[str, Any] | None:
    return None if numbers is None else {name: _short(value) for name, value in asdict(numbers).items()}


def _short(value: float | None) -> float | None:
    """Return a number with as many digits as tell something; None for what JSON cannot hold."""
    return float(f"{value:.8g}") if value is not None and math.isfinite(value) else None
