"""Telling what came of candles: into the log of the task that loaded them, and by a link to the same in the UI."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from chandler_airflow.links import QUALITY_KEY, quality_address

if TYPE_CHECKING:
    from airflow.sdk import Context

    from etl.series import Series, TimeRange
    from etl.stores import Stores

log = logging.getLogger(__name__)

_BY_DAY = timedelta(days=7)  # what is longer has a line a month in a log; the page has the days


def tell_quality(context: Context, stores: Stores, series: Sequence[Series], time_range: TimeRange) -> None:
    """Log the quality of the days that `time_range` touches, and leave a link to the page that shows it by day.

    Args:
        context: Of a task of the `AccountingOperator`.
    """
    from etl.quality import Period, quality_lines, report_quality

    by = Period.DAY if time_range.end - time_range.start <= _BY_DAY else Period.MONTH
    log.info("quality of the UTC days of %s", time_range)
    for line in quality_lines(report_quality(stores.warehouse, series, time_range, by)):
        log.info("%s", line)
    context["ti"].xcom_push(key=QUALITY_KEY, value=quality_address(series, time_range))
