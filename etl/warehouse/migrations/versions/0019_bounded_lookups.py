"""Look-ups that grew with all absences of a series, and with all changes of flags."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"

# As before, but the flags of each candle are looked up: what is read of it, by whichever condition, is all it costs.
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
) stood LEFT JOIN LATERAL (
    SELECT own.flags, own.replaced_at FROM flag_changes own
    WHERE own.series_id = stood.series_id AND own.open_time = stood.open_time AND own.replaced_at > moment
    ORDER BY own.replaced_at LIMIT 1
) earlier ON true
$$
"""


def upgrade() -> None:
    """Add the index, and look up the flags of each candle by itself."""
    where = sa.text("kind = 'refused'")
    op.create_index("absences_refused", "absences", ["series_id", "span"], postgresql_where=where)
    op.execute(_AS_OF)
