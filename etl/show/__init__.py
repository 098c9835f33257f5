"""What commands show: as tables for people, as JSON for scripts."""

from etl.show.accounts import audit_json, audit_problems, audit_table, status_json, status_table
from etl.show.parts import by_name
from etl.show.venues import (
    check_json,
    check_needs,
    check_table,
    exchanges_json,
    exchanges_table,
    feeds_json,
    feeds_table,
)

__all__ = [
    "audit_json",
    "audit_problems",
    "audit_table",
    "by_name",
    "check_json",
    "check_needs",
    "check_table",
    "exchanges_json",
    "exchanges_table",
    "feeds_json",
    "feeds_table",
    "status_json",
    "status_table",
]
