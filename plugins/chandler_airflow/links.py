"""From a task in Airflow's UI to what came of it: links to our pages, and the operators whose tasks have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink, conf

from etl.series import Series, TimeRange

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/chandler"
QUALITY_PATH = "/quality"
QUALITY_KEY = "quality"
REPORT_PATH = "/models/report"
REPORT_KEY = "report"
INCIDENT_PATH = "/incident"
INCIDENTS_PATH = "/incidents"
INCIDENTS_KEY = "incidents"
MARKET_PATH = "/market"


def quality_address(series: Iterable[Series], time_range: TimeRange) -> str:
    """Return where the UI's server shows the quality of the days that `time_range` touches."""
    return _address(QUALITY_PATH, [*(("series", str(one)) for one in series), *time_range.to_dict().items()])


def report_address(model_id: int) -> str:
    """Return where the UI's server shows what was found when a model was trained."""
    return _address(REPORT_PATH, [("model", str(model_id))])


def incidents_address(series: Series) -> str:
    """Return where the UI's server lists the incidents of a series."""
    return _address(INCIDENTS_PATH, [("series", str(series))])


def market_views() -> list[dict[str, Any]]:
    """Return where Airflow's UI shows the market page: an entry of its own, and tabs on DAGs and task instances."""
    page = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + PREFIX + MARKET_PATH
    places: dict[str, dict[str, Any]] = {
        "nav": {"href": page, "url_route": "market", "nav_top_level": True},
        "dag": {"href": page + "?dag={DAG_ID}", "url_route": "market-dag"},
        "task_instance": {
            "href": page + "?dag={DAG_ID}&run={RUN_ID}&task={TASK_ID}&index={MAP_INDEX}",
            "url_route": "market-task",
        },
    }
    drawn = page.removesuffix(MARKET_PATH) + "/static/market"
    icons = {"icon": f"{drawn}.svg", "icon_dark_mode": f"{drawn}-dark.svg"}
    return [{"name": "Market", "destination": place, **facts, **icons} for place, facts in places.items()]


class QualityLink(BaseOperatorLink):
    """A button on a task instance: what is held of its candles, what is absent and why, what was refused or flagged."""

    name = "Quality"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left as XCom `QUALITY_KEY`; nothing if it did not come so far."""
        return _left(QUALITY_KEY, ti_key)


class ReportLink(BaseOperatorLink):
    """A button on a task instance: how the night's models compare, and which of them judges now."""

    name = "Report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left as XCom `REPORT_KEY`; nothing if it did not come so far."""
        return _left(REPORT_KEY, ti_key)


class IncidentsLink(BaseOperatorLink):
    """A button on a task instance: what was strange in the series that it has scored, lately."""

    name = "Incidents"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left as XCom `INCIDENTS_KEY`; nothing if it did not come so far."""
        return _left(INCIDENTS_KEY, ti_key)


class AccountingOperator(_PythonDecoratedOperator):
    """Operator of `@task`, with the link to quality: links belong to a class of operators, and that one is private."""

    operator_extra_links = (QualityLink(),)


class TrainingOperator(_PythonDecoratedOperator):
    """Operator of `@task`, with the link to the report of a training."""

    operator_extra_links = (ReportLink(),)


class ScoringOperator(_PythonDecoratedOperator):
    """Operator of `@task`, with the link to incidents."""

    operator_extra_links = (IncidentsLink(),)


def _address(path: str, query: Sequence[tuple[str, str]]) -> str:
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PREFIX}{path}?{urlencode(query)}"


def _left(key: str, ti_key: TaskInstanceKey) -> str:
    from airflow.sdk.execution_time.xcom import XCom

    return str(XCom.get_value(key=key, ti_key=ti_key) or "")
