"""What Chandler adds to Airflow itself. Every part of Airflow loads this file, so it imports little."""

from airflow.plugins_manager import AirflowPlugin
from chandler_airflow.timetables import MonthsByBackfill


class ChandlerPlugin(AirflowPlugin):
    """Makes our timetable known, so that the scheduler can read a DAG that has it."""

    name = "chandler"
    timetables = [MonthsByBackfill]
