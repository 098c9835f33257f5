"""Accounts: absences with evidence and probes, decisions on quarantine, loads, quality by day, reading as of."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE

revision = "0004"
down_revision = "0003"

_MOMENT = sa.DateTime(timezone=True)
# What was current at a moment: values that stand since before it, and those that were replaced after it.
_AS_OF = """
CREATE FUNCTION candles_as_of(moment timestamptz) RETURNS SETOF candles LANGUAGE sql STABLE AS $$
SELECT series_id, open_time, open, high, low, close, volume, quote_volume, trades,
       taker_buy_volume, taker_buy_quote_volume, flags, source, stored_at
FROM candles WHERE stored_at <= moment
UNION ALL
SELECT series_id, open_time, open, high, low, close, volume, quote_volume, trades,
       taker_buy_volume, taker_buy_quote_volume, flags, source, stored_at
FROM candle_revisions WHERE stored_at <= moment AND replaced_at > moment
$$
"""

# Until now the ranges of daily loads overlapped. The latest keeps its range, of the others stays what it leaves.
_DISJOINT = """
WITH ordered AS (
    SELECT *, tstzrange(range_start, range_end) AS span,
           row_number() OVER (PARTITION BY series_id ORDER BY loaded_at, range_start, range_end) AS place
    FROM checkpoints
), rest AS (
    SELECT one.*, unnest(tstzmultirange(one.span) - coalesce((
        SELECT range_agg(other.span) FROM ordered other
        WHERE other.series_id = one.series_id AND other.place > one.place AND other.span && one.span
    ), '{}')) AS piece
    FROM ordered one
)
SELECT series_id, lower(piece) AS range_start, upper(piece) AS range_end, archive_files, run, loaded_at
FROM rest
"""


def _series_id(*, is_key: bool = False) -> sa.Column[Any]:
    return sa.Column(
        "series_id", sa.Integer, sa.ForeignKey("series.id"), primary_key=is_key, nullable=False, autoincrement=False
    )


def upgrade() -> None:
    """Make tables and columns, and turn what is there into their shape."""
    _candles()
    _absences()
    _quarantine()
    _checkpoints()
    _loads()
    _quality()


def _candles() -> None:
    comment = "when this value came to stand here; see candles_as_of()"
    for table in ("candles", "candle_revisions"):
        op.add_column(
            table, sa.Column("stored_at", _MOMENT, nullable=False, server_default=sa.func.now(), comment=comment)
        )
        op.alter_column(table, "flags", comment="what we say of the candle: bits of Flag")
    op.execute("UPDATE candle_revisions SET stored_at = '-infinity'")
    op.execute(_AS_OF)


def _absences() -> None:
    op.add_column("absences", sa.Column("evidence", sa.Text, nullable=False, server_default="", comment="what says so"))
    op.alter_column("absences", "evidence", server_default=None)
    op.alter_column("absences", "kind", comment="why: one of AbsenceKind")
    op.add_column("absences", sa.Column("asked_at", _MOMENT, comment="when the exchange was last asked, by its clock"))
    comment = "how often it was asked again since the kind is known"
    op.add_column("absences", sa.Column("probes", sa.Integer, nullable=False, server_default="0", comment=comment))
    op.alter_column("absences", "probes", server_default=None)
    op.add_column("absences", sa.Column("next_probe", _MOMENT, comment="when to ask again; null: it is left alone"))
    op.execute("UPDATE absences SET kind = 'pending', next_probe = now() WHERE kind = 'unexplained'")
    op.create_index("absences_due", "absences", ["next_probe"], postgresql_where=sa.text("next_probe IS NOT NULL"))
    op.create_table(
        "absence_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _series_id(),
        sa.Column("span", TSTZRANGE, nullable=False),
        sa.Column("kind_before", sa.Text, nullable=False),
        sa.Column("kind_after", sa.Text, comment="null: the candles are held now"),
        sa.Column("evidence", sa.Text, nullable=False, comment="what changed our mind"),
        sa.Column("changed_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("run", sa.Text, nullable=False),
    )
    op.create_index("absence_changes_of_a_series", "absence_changes", ["series_id", "changed_at"])


def _quarantine() -> None:
    comment = "its values as received, by the names of our columns, as JSON"
    op.add_column("quarantine", sa.Column("cells", sa.Text, comment=comment))
    comment = "how it reached us: Origin (1 API, 2 built from trades, 3 file)"
    op.add_column("quarantine", sa.Column("source", sa.SmallInteger, comment=comment))
    op.add_column(
        "quarantine",
        sa.Column("state", sa.Text, nullable=False, server_default="open", comment="open, or what a person decided"),
    )
    op.add_column("quarantine", sa.Column("decided_at", _MOMENT))
    op.add_column("quarantine", sa.Column("note", sa.Text, comment="why a person decided so"))
    op.create_check_constraint("quarantine_state", "quarantine", "state IN ('open', 'released', 'confirmed')")


def _checkpoints() -> None:
    op.execute(f"CREATE TEMP TABLE disjoint ON COMMIT DROP AS {_DISJOINT}")
    op.execute("DELETE FROM checkpoints")
    comment = "of the candles in the range; empty: not known any more"
    op.alter_column("checkpoints", "content_hash", new_column_name="value_hash", comment=comment)
    op.execute(
        """
        INSERT INTO checkpoints
            (series_id, range_start, range_end, rows, absent, quarantined, value_hash, archive_files, run, loaded_at)
        SELECT series_id, range_start, range_end,
            (SELECT count(*) FROM candles
             WHERE candles.series_id = disjoint.series_id AND open_time >= range_start AND open_time < range_end),
            (SELECT coalesce(sum(extract(epoch FROM upper(inside) - lower(inside)) / extract(epoch FROM width)), 0)
             FROM series, absences, LATERAL (
                 SELECT span * tstzrange(range_start, range_end) AS inside,
                        replace(timeframe, 'm', 'min')::interval AS width
             ) clipped
             WHERE series.id = disjoint.series_id AND absences.series_id = series.id AND NOT isempty(inside)),
            0, '', archive_files, run, loaded_at
        FROM disjoint
        """
    )
    op.execute(
        """
        ALTER TABLE checkpoints ADD CONSTRAINT checkpoints_never_overlap EXCLUDE USING gist
            (int4range(series_id, series_id, '[]') WITH =, tstzrange(range_start, range_end) WITH &&)
        """
    )


def _loads() -> None:
    op.create_table(
        "loads",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _series_id(),
        sa.Column("span", TSTZRANGE, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("rows", sa.BigInteger, nullable=False, comment="candles held in the range after it"),
        sa.Column("new", sa.BigInteger, nullable=False, comment="that were not held before"),
        sa.Column("revised", sa.BigInteger, nullable=False, comment="that the exchange had changed"),
        sa.Column("absent", sa.BigInteger, nullable=False, comment="expected and not held after it"),
        sa.Column("quarantined", sa.BigInteger, nullable=False, comment="rows that it refused"),
        sa.Column("loaded_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("is_judged", sa.Boolean, nullable=False, comment="whether absences around it were judged since"),
        sa.Column("is_announced", sa.Boolean, nullable=False, comment="whether those who work with candles were told"),
    )
    op.create_index("loads_of_a_series", "loads", ["series_id", "loaded_at"])
    op.create_index("loads_to_judge", "loads", ["series_id"], postgresql_where=sa.text("NOT is_judged"))
    op.create_index("loads_to_announce", "loads", ["id"], postgresql_where=sa.text("NOT is_announced"))
    op.execute(
        """
        INSERT INTO loads
            (series_id, span, run, rows, new, revised, absent, quarantined, loaded_at, is_judged, is_announced)
        SELECT series_id, tstzrange(range_start, range_end), run, rows, 0, 0, absent, quarantined, loaded_at,
            false, true
        FROM checkpoints
        """
    )


def _quality() -> None:
    op.create_table(
        "quality",
        _series_id(is_key=True),
        sa.Column("day", sa.Date, primary_key=True, comment="UTC"),
        sa.Column("expected", sa.BigInteger, nullable=False, comment="candles of the day that are accounted for"),
        sa.Column("stored", sa.BigInteger, nullable=False),
        sa.Column("absent", JSONB, nullable=False, comment="expected and not stored, by kind"),
        sa.Column("refused", JSONB, nullable=False, comment="rows in quarantine, by rule"),
        sa.Column("flagged", JSONB, nullable=False, comment="candles, by rule"),
        sa.Column("revisions", sa.BigInteger, nullable=False, comment="values that were replaced"),
    )
