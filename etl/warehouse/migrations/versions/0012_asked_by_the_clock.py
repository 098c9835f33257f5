"""Time by the exchange's clock when a loaded range was requested: it alone tells whether its candles had closed."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; of what was loaded before, the time of the load stands for it."""
    comment = "when the exchange was asked for it last, by its clock; null: loaded by an earlier version"
    op.add_column("checkpoints", sa.Column("asked_at", sa.DateTime(timezone=True), comment=comment))
