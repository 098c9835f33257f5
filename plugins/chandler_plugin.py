"""Additions of Chandler to Airflow itself. Every part of Airflow loads this file, so it imports little."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from chandler_airflow.deadlines import ScheduledRunDue
from chandler_airflow.links import PREFIX, IncidentsLink, QualityLink, ReportLink, market_views
from chandler_airflow.timetables import CronIntervals, MonthsByBackfill

_PAGES = "chandler_airflow.app"


class _Pages:
    """Our pages, imported where they are asked for: only the server of the UI ever is."""

    async def __call__(self, *request: Any) -> None:
        await import_module(_PAGES).app(*request)


class _Ahead:
    """Imports our pages beside the start of the UI's server, so that nobody's first look waits for it."""

    def __init__(self, app: Any) -> None:
        self._app = app
        threading.Thread(target=import_module, args=(_PAGES,), daemon=True).start()

    async def __call__(self, *request: Any) -> None:
        await self._app(*request)


class ChandlerPlugin(AirflowPlugin):
    """Registration of our timetables and deadlines, which the scheduler reads DAGs with, and of links and pages."""

    name = "chandler"
    timetables: ClassVar = [CronIntervals, MonthsByBackfill]
    deadline_references: ClassVar = [ScheduledRunDue]
    operator_extra_links: ClassVar = [QualityLink(), ReportLink(), IncidentsLink()]
    external_views: ClassVar = market_views()
    fastapi_apps: ClassVar = [{"app": _Pages(), "url_prefix": PREFIX, "name": "chandler"}]
    fastapi_root_middlewares: ClassVar = [{"middleware": _Ahead, "name": "chandler"}]
