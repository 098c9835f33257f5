"""The warehouse's tables. The candle's columns come from `etl.schema`; the migrations say how a database gets here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE, ExcludeConstraint, Range
from sqlalchemy.types import TypeEngine

from etl.schema import CANDLE_COLUMNS, ColumnKind
from etl.schema import Column as CandleColumn
from etl.series import TimeRange

metadata = MetaData()

_TYPES: dict[ColumnKind, TypeEngine[Any]] = {
    ColumnKind.TIME: DateTime(timezone=True),
    ColumnKind.FLOAT: Double(),
    ColumnKind.INT: BigInteger(),
    ColumnKind.SMALL: SmallInteger(),
}


def candle_column(column: CandleColumn) -> Column[object]:
    """Return the SQL column of one candle column."""
    is_key = column.kind is ColumnKind.TIME
    return Column(column.name, _TYPES[column.kind], primary_key=is_key, nullable=column.is_nullable, comment=column.doc)


def to_sql_range(time_range: TimeRange) -> Range[object]:
    """Return a range as PostgreSQL's tstzrange."""
    return Range(time_range.start, time_range.end, bounds="[)")


def series_id_column() -> Column[int]:
    """Return a column that names a series."""
    return Column("series_id", Integer, ForeignKey("series.id"), nullable=False)


def _stored_at() -> Column[datetime]:
    comment = "when this value came to stand here; see candles_as_of()"
    return Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment=comment)


# A range of one integer stands for the integer, since GiST compares ranges without an extension.
_SAME_SERIES = (text("int4range(series_id, series_id, '[]')"), "=")


series = Table(
    "series",
    metadata,
    Column("id", Integer, Identity(always=True), primary_key=True),
    Column("exchange", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("first_open", DateTime(timezone=True), comment="when its first candle opens, if the exchange was asked"),
    Column("ended", DateTime(timezone=True), comment="when its last candle closed, if it is traded no more"),
    Column("unlisted_since", DateTime(timezone=True), comment="when the exchange's list lacked it first, if it does"),
    Column(
        "flagged_by",
        Text,
        comment="rules and parameters that flagged all of its candles; empty: not known; null: nothing is loaded yet",
    ),
    UniqueConstraint("exchange", "symbol", "timeframe"),
)

# No foreign key on candles: it would be checked for each of millions of rows that only `load` writes.
candles = Table(
    "candles",
    metadata,
    Column("series_id", Integer, primary_key=True, autoincrement=False),
    *(candle_column(c) for c in CANDLE_COLUMNS),
    _stored_at(),
    CheckConstraint(
        "low > 0 AND high >= low AND high < 'Infinity' AND volume >= 0 AND volume < 'Infinity'", name="candles_sane"
    ),
)

candle_revisions = Table(
    "candle_revisions",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False, comment="1 is the value first stored"),
    *(candle_column(c) for c in CANDLE_COLUMNS),
    _stored_at(),
    Column("replaced_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("run", Text, nullable=False, comment="the run that brought the value after this one"),
)

flag_changes = Table(
    "flag_changes",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("open_time", DateTime(timezone=True), primary_key=True),
    Column("replaced_at", DateTime(timezone=True), primary_key=True, server_default=func.now()),
    Column("flags", SmallInteger, nullable=False, comment="what they were until then"),
)

absences = Table(
    "absences",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("span", TSTZRANGE, primary_key=True, comment="the open times that are not held"),
    Column("kind", Text, nullable=False, comment="why: one of AbsenceKind"),
    Column("evidence", Text, nullable=False, comment="what says so"),
    Column("first_seen", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("asked_at", DateTime(timezone=True), comment="when the exchange was last asked, by its clock"),
    Column("probes", Integer, nullable=False, comment="how often it was asked again since the kind is known"),
    Column("next_probe", DateTime(timezone=True), comment="when to ask again; null: it is left alone"),
    ExcludeConstraint(_SAME_SERIES, ("span", "&&"), name="absences_never_overlap"),
)
Index("absences_refused", absences.c.series_id, absences.c.span, postgresql_where=absences.c.kind == text("'refused'"))
Index("absences_due", absences.c.next_probe, postgresql_where=absences.c.next_probe.is_not(None))

absence_changes = Table(
    "absence_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("span", TSTZRANGE, nullable=False),
    Column("kind_before", Text, nullable=False),
    Column("kind_after", Text, comment="null: the candles are held now"),
    Column("evidence", Text, nullable=False, comment="what changed our mind"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("run", Text, nullable=False),
)
Index("absence_changes_of_a_series", absence_changes.c.series_id, absence_changes.c.changed_at)

stated_silences = Table(
    "stated_silences",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("span", TSTZRANGE, primary_key=True, comment="open times that a file has without a price"),
    Column("run", Text, nullable=False, comment="the import that brought the file"),
)
Index("stated_silences_by_range", _SAME_SERIES[0], stated_silences.c.span, postgresql_using="gist")

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("open_time", DateTime(timezone=True), comment="where the row belongs, if it says so"),
    Column("rule", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("row", Text, nullable=False, comment="the row as received"),
    Column("cells", Text, comment="its values as received, by the names of our columns, as JSON"),
    Column(
        "source",
        SmallInteger,
        comment="how it reached us: Origin (1 API, 2 built from trades, 3 file of the exchange, 4 imported file)",
    ),
    Column("refused_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("run", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="open", comment="open, or what a person decided"),
    Column("decided_at", DateTime(timezone=True)),
    Column("note", Text, comment="why a person decided so"),
    Column(
        "later_open_time",
        DateTime(timezone=True),
        comment="where it belongs if not at open_time, which it does not tell: a local time that the clock shows twice",
    ),
    CheckConstraint("state IN ('open', 'released', 'confirmed')", name="quarantine_state"),
)
Index("quarantine_once", quarantine.c.series_id, quarantine.c.rule, func.md5(quarantine.c.row), unique=True)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("range_start", DateTime(timezone=True), primary_key=True),
    Column("range_end", DateTime(timezone=True), primary_key=True),
    Column("rows", BigInteger, nullable=False, comment="candles held in the range"),
    Column("absent", BigInteger, nullable=False, comment="candles expected in the range and not held"),
    Column("quarantined", BigInteger, nullable=False, comment="rows that this load refused"),
    Column("value_hash", Text, nullable=False, comment="of the candles in the range; empty: not known any more"),
    Column("archive_files", ARRAY(Text), nullable=False),
    Column("run", Text, nullable=False),
    Column("loaded_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column(
        "is_retired",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="whether its candles are in the archive alone",
    ),
    Column(
        "asked_at",
        DateTime(timezone=True),
        comment="when the exchange was asked for it last, by its clock; null: loaded by an earlier version",
    ),
    ExcludeConstraint(
        _SAME_SERIES, (text("tstzrange(range_start, range_end)"), "&&"), name="checkpoints_never_overlap"
    ),
)

loads = Table(
    "loads",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("span", TSTZRANGE, nullable=False),
    Column("run", Text, nullable=False),
    Column("rows", BigInteger, nullable=False, comment="candles held in the range after it"),
    Column("new", BigInteger, nullable=False, comment="that were not held before"),
    Column("revised", BigInteger, nullable=False, comment="that the exchange had changed"),
    Column("absent", BigInteger, nullable=False, comment="expected and not held after it"),
    Column("quarantined", BigInteger, nullable=False, comment="rows that it refused"),
    Column("loaded_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("is_judged", Boolean, nullable=False, comment="whether absences around it were judged since"),
    Column("is_announced", Boolean, nullable=False, comment="whether those who work with candles were told"),
    Column("is_scored", Boolean, nullable=False, comment="whether a model has judged what it brought"),
    Column(
        "is_history", Boolean, nullable=False, comment="whether it was a backfill or a repair, of which nobody is told"
    ),
)
Index("loads_of_a_series", loads.c.series_id, loads.c.loaded_at)
Index("loads_to_judge", loads.c.series_id, postgresql_where=~loads.c.is_judged)
Index("loads_to_announce", loads.c.id, postgresql_where=~loads.c.is_announced)
Index("loads_to_score", loads.c.series_id, postgresql_where=~loads.c.is_scored)

quality = Table(
    "quality",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("expected", BigInteger, nullable=False, comment="candles of the day that are accounted for"),
    Column("stored", BigInteger, nullable=False),
    Column("absent", JSONB, nullable=False, comment="expected and not stored, by kind"),
    Column("refused", JSONB, nullable=False, comment="rows in quarantine, by rule"),
    Column("flagged", JSONB, nullable=False, comment="candles, by rule"),
    Column("unjudged", BigInteger, nullable=False, comment="candles that no rule about outliers could judge"),
    Column("revisions", BigInteger, nullable=False, comment="values that were replaced"),
    # Null where nothing is stored, and where an earlier version has counted the day.
    *(Column(name, Double) for name in ("open", "high", "low", "close", "volume")),
)

# How long requests took is counted within the bounds of etl.answers.
requests = Table(
    "requests",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("hour", DateTime(timezone=True), primary_key=True, comment="that they were answered in"),
    Column("outcome", Text, primary_key=True, comment="ok, or what went wrong"),
    Column("requests", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, comment="that they took together"),
    Column("slowest_s", Double, nullable=False),
    Column("within", ARRAY(BigInteger), nullable=False, comment="how many took no longer than each bound"),
)

# What was spent lies in tables that pyrate-limiter makes, one for each exchange: see etl/warehouse/budget/.
pauses = Table(
    "pauses",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("until", DateTime(timezone=True), nullable=False, comment="by the database's clock"),
)

# Blobs are read in pieces, so they are stored neither compressed nor in line; see migration 0007.
models = Table(
    "models",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("timeframe", Text, nullable=False),
    Column("scope", Text, nullable=False, comment="all, or the one series that it is for"),
    Column("version", Integer, nullable=False, comment="1, 2, ... within timeframe and scope"),
    Column("scorer", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("learned", TSTZRANGE, nullable=False, comment="what it learned from"),
    Column("held_out", TSTZRANGE, nullable=False, comment="what its cuts are from"),
    Column("as_of", DateTime(timezone=True), nullable=False, comment="the moment as of which candles were read"),
    Column("data_hash", Text, nullable=False, comment="of the candles that were read"),
    Column("metrics", JSONB, nullable=False, comment="how it compared with others"),
    Column("environment", JSONB, nullable=False, comment="versions of what trained it, and the machine"),
    Column("reason", Text, nullable=False, comment="why it is in its state"),
    Column("run", Text, nullable=False, comment="the run that registered it"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("state_since", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("artifact", LargeBinary, comment="the blob; null: retention has dropped it"),
    Column("artifact_sha256", Text, nullable=False),
    Column("artifact_bytes", BigInteger, nullable=False),
    Column("report", LargeBinary, comment="HTML under gzip"),
    UniqueConstraint("timeframe", "scope", "version"),
    CheckConstraint("state IN ('candidate', 'champion', 'retired', 'rejected')", name="models_state"),
    CheckConstraint("artifact IS NOT NULL OR state IN ('retired', 'rejected')", name="models_blob_stays"),
)
Index(
    "models_one_champion", models.c.timeframe, models.c.scope, unique=True, postgresql_where=text("state = 'champion'")
)

model_changes = Table(
    "model_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("model_id", BigInteger, ForeignKey("models.id"), nullable=False),
    Column("state_before", Text, comment="null: it was registered"),
    Column("state_after", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)
Index("model_changes_of_a_model", model_changes.c.model_id)
