"""Time when an exchange's list lacked a symbol first; and what is delisted and goes on is asked for again."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the column. Earlier versions took an unreadable list for one without symbols."""
    comment = "when the exchange's list lacked it first, if it does"
    op.add_column("series", sa.Column("unlisted_since", sa.DateTime(timezone=True), comment=comment))
    op.execute(
        "UPDATE absences SET next_probe = now() FROM series"
        " WHERE series.id = absences.series_id AND series.ended IS NULL AND absences.kind = 'delisted'"
    )
