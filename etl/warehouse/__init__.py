"""Candles and their accounts in PostgreSQL: tables, migrations, loading, checkpoints, status."""

from etl.warehouse.absences import Absence, read_absences
from etl.warehouse.budget import SharedBudget, local_budget
from etl.warehouse.checkpoints import Checkpoint, covered_ranges, read_checkpoints
from etl.warehouse.database import Warehouse, open_warehouse
from etl.warehouse.listings import Listing, read_listing
from etl.warehouse.load import Load, LoadReport, begin_load, lock_series
from etl.warehouse.merge import Merge, merge
from etl.warehouse.reading import count_candles, known_series, read_candles, span_of_candles
from etl.warehouse.status import SeriesStatus, read_status

__all__ = [
    "Absence",
    "Checkpoint",
    "Listing",
    "Load",
    "LoadReport",
    "Merge",
    "SeriesStatus",
    "SharedBudget",
    "Warehouse",
    "begin_load",
    "count_candles",
    "covered_ranges",
    "known_series",
    "local_budget",
    "lock_series",
    "merge",
    "open_warehouse",
    "read_absences",
    "read_candles",
    "read_checkpoints",
    "read_listing",
    "read_status",
    "span_of_candles",
]
