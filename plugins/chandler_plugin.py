"""What Chandler adds to Airflow itself. Every part of Airflow loads this file, so it imports little."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin
from chandler_airflow.links import PREFIX, IncidentsLink, QualityLink, ReportLink, market_views
from chandler_airflow.timetables import MonthsByBackfill


class _Pages:
    """Our pages, imported by the first request: only the server of the UI ever has one."""

    async def __call__(self, *request: Any) -> None:
        from chandler_airflow.app import app

        await app(*request)


class ChandlerPlugin(AirflowPlugin):
    """Makes our timetable known, so that the scheduler can read a DAG that has it, and our links and pages."""

    name = "chandler"
    timetables: ClassVar = [MonthsByBackfill]
    operator_extra_links: ClassVar = [QualityLink(), ReportLink(), IncidentsLink()]
    external_views: ClassVar = market_views()
    fastapi_apps: ClassVar = [{"app": _Pages(), "url_prefix": PREFIX, "name": "chandler"}]
