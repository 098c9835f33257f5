"""The first tables: series, candles, revisions, absences, quarantine, checkpoints."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSTZRANGE, ExcludeConstraint

revision = "0001"
down_revision = None

_MOMENT = sa.DateTime(timezone=True)


def _candle_columns() -> list[sa.Column[Any]]:
    """Return the candle's columns as they were at this revision."""
    return [
        sa.Column("open_time", _MOMENT, primary_key=True, comment="start of the candle, UTC"),
        sa.Column("open", sa.Double, nullable=False, comment="first price, in quote currency"),
        sa.Column("high", sa.Double, nullable=False, comment="highest price, in quote currency"),
        sa.Column("low", sa.Double, nullable=False, comment="lowest price, in quote currency"),
        sa.Column("close", sa.Double, nullable=False, comment="last price, in quote currency"),
        sa.Column("volume", sa.Double, nullable=False, comment="traded amount, in base currency"),
        sa.Column("quote_volume", sa.Double, comment="traded amount, in quote currency"),
        sa.Column("trades", sa.BigInteger, comment="number of trades"),
        sa.Column("taker_buy_volume", sa.Double, comment="amount bought by takers, in base currency"),
        sa.Column("taker_buy_quote_volume", sa.Double, comment="amount bought by takers, in quote currency"),
        sa.Column(
            "flags", sa.SmallInteger, nullable=False, comment="what we say of the candle: bits of Flag (1 revised)"
        ),
        sa.Column(
            "source",
            sa.SmallInteger,
            nullable=False,
            comment="how the candle reached us: Origin (1 the exchange's API)",
        ),
    ]


def _series_id(*, is_key: bool, references: bool = True) -> sa.Column[Any]:
    target = [sa.ForeignKey("series.id")] if references else []
    return sa.Column("series_id", sa.Integer, *target, primary_key=is_key, nullable=False, autoincrement=False)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "series",
        sa.Column("id", sa.Integer, sa.Identity(always=True), primary_key=True),
        sa.Column("exchange", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.UniqueConstraint("exchange", "symbol", "timeframe"),
    )
    op.create_table(
        "candles",
        _series_id(is_key=True, references=False),
        *_candle_columns(),
        sa.CheckConstraint(
            "low > 0 AND high >= low AND high < 'Infinity' AND volume >= 0 AND volume < 'Infinity'",
            name="candles_sane",
        ),
    )
    op.create_table(
        "candle_revisions",
        _series_id(is_key=True),
        sa.Column("revision", sa.Integer, primary_key=True, autoincrement=False, comment="1 is the value first stored"),
        *_candle_columns(),
        sa.Column("replaced_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("run", sa.Text, nullable=False, comment="the run that brought the value after this one"),
    )
    op.create_table(
        "absences",
        _series_id(is_key=True),
        sa.Column("span", TSTZRANGE, primary_key=True, comment="the open times that are not held"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("first_seen", _MOMENT, nullable=False, server_default=sa.func.now()),
        ExcludeConstraint(
            (sa.text("int4range(series_id, series_id, '[]')"), "="), ("span", "&&"), name="absences_never_overlap"
        ),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _series_id(is_key=False),
        sa.Column("open_time", _MOMENT, comment="where the row belongs, if it says so"),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("row", sa.Text, nullable=False, comment="the row as received"),
        sa.Column("refused_at", _MOMENT, nullable=False, server_default=sa.func.now()),
        sa.Column("run", sa.Text, nullable=False),
    )
    op.create_index("quarantine_once", "quarantine", ["series_id", "rule", sa.text("md5(row)")], unique=True)
    op.create_table(
        "checkpoints",
        _series_id(is_key=True),
        sa.Column("range_start", _MOMENT, primary_key=True),
        sa.Column("range_end", _MOMENT, primary_key=True),
        sa.Column("rows", sa.BigInteger, nullable=False, comment="candles held in the range"),
        sa.Column("absent", sa.BigInteger, nullable=False, comment="candles expected in the range and not held"),
        sa.Column("quarantined", sa.BigInteger, nullable=False, comment="rows that this load refused"),
        sa.Column("content_hash", sa.Text, nullable=False, comment="SHA-256 of the candles in the range"),
        sa.Column("archive_files", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("loaded_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
    )
