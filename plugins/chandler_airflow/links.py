"""From a task in Airflow's UI to what came of its candles: a link, and the operator whose tasks have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator
from airflow.sdk import BaseOperatorLink, conf

from etl.series import Series, TimeRange

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

PREFIX = "/chandler"
QUALITY_PATH = "/quality"
QUALITY_KEY = "quality"


def quality_address(series: Iterable[Series], time_range: TimeRange) -> str:
    """Return where the UI's server shows the quality of the days that `time_range` touches."""
    query = [*(("series", str(one)) for one in series), *time_range.to_dict().items()]
    return f"{conf.get('api', 'base_url', fallback='').rstrip('/')}{PREFIX}{QUALITY_PATH}?{urlencode(query)}"


class QualityLink(BaseOperatorLink):
    """A button on a task instance: what is held of its candles, what is absent and why, what was refused or flagged."""

    name = "Quality"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address that the task left as XCom `QUALITY_KEY`; nothing if it did not come so far."""
        from airflow.sdk.execution_time.xcom import XCom

        return str(XCom.get_value(key=QUALITY_KEY, ti_key=ti_key) or "")


class AccountingOperator(_PythonDecoratedOperator):
    """What `@task` makes, with the link to quality: links belong to a class of operators, and that one is private."""

    operator_extra_links = (QualityLink(),)
