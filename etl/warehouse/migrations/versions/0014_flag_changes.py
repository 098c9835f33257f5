"""Earlier flags of candles, so that candles_as_of() returns those of its moment."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

# What was current at a moment: values that stand since before it, and those that were replaced after it. Flags that
# have changed since are those that the first change after the moment has replaced.
_AS_OF = """
CREATE OR REPLACE FUNCTION candles_as_of(moment timestamptz) RETURNS SETOF candles LANGUAGE sql STABLE AS $$
SELECT series_id, open_time, open, high, low, close, volume, quote_volume, trades,
       taker_buy_volume, taker_buy_quote_volume,
       CASE WHEN earlier.replaced_at < stood.replaced_at THEN earlier.flags ELSE stood.flags END, source, stored_at
FROM (
    SELECT series_id, open_time, open, high, low, close, volume, quote_volume, trades,
           taker_buy_volume, taker_buy_quote_volume, flags, source, stored_at, 'infinity'::timestamptz AS replaced_at
    FROM candles WHERE stored_at <= moment
    UNION ALL
    SELECT series_id, open_time, open, high, low, close, volume, quote_volume, trades,
           taker_buy_volume, taker_buy_quote_volume, flags, source, stored_at, replaced_at
    FROM candle_revisions WHERE stored_at <= moment AND replaced_at > moment
) stood LEFT JOIN (
    SELECT DISTINCT ON (series_id, open_time) series_id, open_time, flags, replaced_at
    FROM flag_changes WHERE replaced_at > moment ORDER BY series_id, open_time, flag_changes.replaced_at
) earlier USING (series_id, open_time)
$$
"""


def upgrade() -> None:
    """Add the table; changes of before are not known, so that until now each flag counts as it is."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "flag_changes",
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), primary_key=True, autoincrement=False),
        sa.Column("open_time", moment, primary_key=True),
        sa.Column("replaced_at", moment, primary_key=True, server_default=sa.func.now()),
        sa.Column("flags", sa.SmallInteger, nullable=False, comment="what they were until then"),
    )
    op.execute(_AS_OF)
