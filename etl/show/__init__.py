"""Output of commands: as tables for people, as JSON for scripts."""

from etl.show.accounts import (
    audit_json,
    audit_mended,
    audit_problems,
    audit_remarks,
    audit_table,
    status_json,
    status_table,
)
from etl.show.alerts import (
    ChannelReport,
    alert_parts,
    alerts_table,
    channel_json,
    channels_table,
    decision_json,
    delivered_lines,
    message_json,
    messages_table,
)
from etl.show.archive import health_json, health_lines, health_table, maintenance_json, maintenance_table
from etl.show.history import quality_json, quality_table, revisions_json, revisions_table
from etl.show.incidents import dossier_json, dossier_parts, incident_json, incidents_table
from etl.show.quarantine import inspection, inspection_json, quarantine_counts, quarantine_json, quarantine_table
from etl.show.venues import (
    check_json,
    check_needs,
    check_table,
    exchanges_json,
    exchanges_table,
    feeds_json,
    feeds_table,
)
from etl.show.warehouse import warehouse_json, warehouse_table

__all__ = [
    "ChannelReport",
    "alert_parts",
    "alerts_table",
    "audit_json",
    "audit_mended",
    "audit_problems",
    "audit_remarks",
    "audit_table",
    "channel_json",
    "channels_table",
    "check_json",
    "check_needs",
    "check_table",
    "decision_json",
    "delivered_lines",
    "dossier_json",
    "dossier_parts",
    "exchanges_json",
    "exchanges_table",
    "feeds_json",
    "feeds_table",
    "health_json",
    "health_lines",
    "health_table",
    "incident_json",
    "incidents_table",
    "inspection",
    "inspection_json",
    "maintenance_json",
    "maintenance_table",
    "message_json",
    "messages_table",
    "quality_json",
    "quality_table",
    "quarantine_counts",
    "quarantine_json",
    "quarantine_table",
    "revisions_json",
    "revisions_table",
    "status_json",
    "status_table",
    "warehouse_json",
    "warehouse_table",
]
