"""Candles and their accounts in PostgreSQL: tables, migrations, loading, checkpoints, status."""

from etl.warehouse.absences import (
    Absence,
    Asking,
    Finding,
    due_absences,
    read_absences,
    record_absences,
    record_unfetched,
    record_verdicts,
)
from etl.warehouse.budget import SharedBudget, local_budget
from etl.warehouse.checkpoints import Checkpoint, covered_ranges, read_checkpoints, vouch
from etl.warehouse.database import Warehouse, open_warehouse
from etl.warehouse.listings import Listing, read_listing
from etl.warehouse.load import Load, begin_load, ensure_series, lock_series
from etl.warehouse.loads import (
    LoadReport,
    LoggedLoad,
    find_load,
    mark_announced,
    mark_judged,
    unannounced_loads,
    unjudged_loads,
)
from etl.warehouse.merge import Merge, merge, with_flags, without_equals
from etl.warehouse.overlay import clip, overlay, subtract
from etl.warehouse.proving import (
    REBUILT,
    broken_revisions,
    rebuilt_spans,
    refused_rules,
    released_times,
    revised_times,
)
from etl.warehouse.quality import Quality, count_quality, read_quality, refresh_quality
from etl.warehouse.quarantine import (
    Quarantined,
    State,
    Wanted,
    count_quarantine,
    decide,
    find_quarantined,
    leave_confirmed_alone,
    read_quarantine,
)
from etl.warehouse.reading import (
    count_candles,
    known_series,
    read_candles,
    read_last_candle,
    read_open_times,
    read_overruled,
    span_of_candles,
)
from etl.warehouse.restoring import follow_revisions, log_mending, renew_checkpoint, restore_candles
from etl.warehouse.revisions import Change, Revision, read_revisions
from etl.warehouse.slots import read_absent_slots
from etl.warehouse.status import SeriesStatus, read_status

__all__ = [
    "Absence",
    "Asking",
    "Change",
    "Checkpoint",
    "Finding",
    "Listing",
    "Load",
    "LoadReport",
    "LoggedLoad",
    "Merge",
    "Quality",
    "Quarantined",
    "REBUILT",
    "Revision",
    "SeriesStatus",
    "SharedBudget",
    "State",
    "Wanted",
    "Warehouse",
    "begin_load",
    "broken_revisions",
    "clip",
    "count_candles",
    "count_quality",
    "count_quarantine",
    "covered_ranges",
    "decide",
    "due_absences",
    "ensure_series",
    "find_load",
    "find_quarantined",
    "follow_revisions",
    "known_series",
    "leave_confirmed_alone",
    "local_budget",
    "lock_series",
    "log_mending",
    "mark_announced",
    "mark_judged",
    "merge",
    "open_warehouse",
    "overlay",
    "read_absences",
    "read_absent_slots",
    "read_candles",
    "read_checkpoints",
    "read_last_candle",
    "read_listing",
    "read_open_times",
    "read_overruled",
    "read_quality",
    "read_quarantine",
    "read_revisions",
    "read_status",
    "rebuilt_spans",
    "record_absences",
    "record_unfetched",
    "record_verdicts",
    "refresh_quality",
    "refused_rules",
    "released_times",
    "renew_checkpoint",
    "restore_candles",
    "revised_times",
    "span_of_candles",
    "subtract",
    "unannounced_loads",
    "unjudged_loads",
    "vouch",
    "with_flags",
    "without_equals",
]
