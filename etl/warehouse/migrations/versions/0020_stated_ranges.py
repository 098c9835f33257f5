"""Stated silences are looked up by range: a thin series has as many as candles, and each judging asks for a few."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the index, of the series and the span."""
    same_series = sa.text("int4range(series_id, series_id, '[]')")
    op.create_index("stated_silences_by_range", "stated_silences", [same_series, "span"], postgresql_using="gist")
