"""Candles that lost a value, or of which a bulk file said otherwise, counted by day beside those of rules."""

from alembic import op

revision = "0017"
down_revision = "0016"

_COUNT = """
UPDATE quality SET flagged = quality.flagged || counted.flags FROM (
    SELECT series_id, (open_time AT TIME ZONE 'UTC')::date AS day, jsonb_strip_nulls(jsonb_build_object(
        'value_dropped', nullif(count(*) FILTER (WHERE flags & 512 <> 0), 0),
        'bulk_differed', nullif(count(*) FILTER (WHERE flags & 2048 <> 0), 0)
    )) AS flags FROM candles WHERE flags & 2560 <> 0 GROUP BY 1, 2
) AS counted WHERE quality.series_id = counted.series_id AND quality.day = counted.day
"""


def upgrade() -> None:
    """Count them in the candles of the warehouse; of days that the archive alone keeps, `chandler audit --fix` does."""
    op.execute(_COUNT)
