"""The queries of Grafana's dashboards, and what Grafana would make of them: for tests, and to see how long they take.

What Grafana replaces in a query is replaced here likewise, as far as the dashboards use it; anything else is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from etl.errors import ConfigError
from etl.series import TimeRange

DASHBOARDS = Path(__file__).parent.parent / "deploy" / "grafana" / "dashboards"

# Grafana itself ends one at the first bracket, so there can be none inside.
_MACRO = re.compile(r"\$__(\w+)\(([^()]*)\)")
_VARIABLE = re.compile(r"\$\{(\w+):(\w+)\}")


@dataclass(frozen=True, slots=True)
class DashboardQuery:
    """A query of a dashboard.

    Attributes:
        dashboard: Its uid.
        place: `panel Candles`, `variable series`, `annotation Incidents`.
        format: `table`, `time_series`, `annotation` or `variable`.
        datasource: The uid of where it is asked.
        sql: As it stands there.
    """

    dashboard: str
    place: str
    format: str
    datasource: str
    sql: str


def dashboard_queries(folder: Path = DASHBOARDS) -> list[DashboardQuery]:
    """Return the SQL of all dashboards in a folder: of variables, annotations and panels."""
    return [query for path in sorted(folder.glob("*.json")) for query in _queries(json.loads(path.read_text()))]


def _queries(board: Mapping[str, Any]) -> Iterator[DashboardQuery]:
    uid = board["uid"]
    for one in board["templating"]["list"]:
        yield DashboardQuery(uid, f"variable {one['name']}", "variable", one["datasource"]["uid"], one["query"])
    for one in board["annotations"]["list"]:
        target = one["target"]
        yield DashboardQuery(uid, f"annotation {one['name']}", "annotation", one["datasource"]["uid"], target["rawSql"])
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            if "rawSql" in target:
                place = f"panel {panel['title']}"
                yield DashboardQuery(uid, place, target["format"], target["datasource"]["uid"], target["rawSql"])


def expanded(
    sql: str, time_range: TimeRange, interval: timedelta, variables: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return a query as Grafana sends it.

    Args:
        time_range: What the dashboard shows.
        interval: How wide a point is.
        variables: What is chosen.

    Raises:
        ConfigError: Something is to be replaced that is not known here.
    """
    seconds = interval // timedelta(seconds=1)
    sql = sql.replace("$__interval_ms", str(seconds * 1000)).replace("$__interval", f"{seconds}s")
    sql = _VARIABLE.sub(lambda match: _chosen(match, variables or {}), sql)
    sql = _MACRO.sub(lambda match: _macro(match[1], match[2], time_range), sql)
    if "$" in sql:
        raise ConfigError(f"not known what Grafana makes of {sql[sql.index('$') :][:40]!r}")
    return sql


def _chosen(match: re.Match[str], variables: Mapping[str, Sequence[str]]) -> str:
    name, form = match.groups()
    if name not in variables or form != "sqlstring":
        raise ConfigError(f"no variable {match[0]!r}")
    return ",".join(_quoted(value) for value in variables[name])


def _macro(name: str, inside: str, time_range: TimeRange) -> str:
    start, end = (_quoted(f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}") for at in (time_range.start, time_range.end))
    if (name, inside) == ("timeFrom", ""):
        return start
    if (name, inside) == ("timeTo", ""):
        return end
    if name == "timeFilter" and inside:
        return f"{inside} BETWEEN {start} AND {end}"
    column, _, width = (part.strip() for part in inside.partition(","))
    if name == "timeGroup" and column and re.fullmatch(r"\d+s", width):
        return f"floor(extract(epoch from {column})/{width[:-1]})*{width[:-1]}"
    raise ConfigError(f"no macro $__{name}({inside})")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
