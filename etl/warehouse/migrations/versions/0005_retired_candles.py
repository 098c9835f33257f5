"""Candles that the archive alone keeps: their checkpoints say so."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column; nothing was retired so far."""
    comment = "whether its candles are in the archive alone"
    op.add_column(
        "checkpoints",
        sa.Column("is_retired", sa.Boolean, nullable=False, server_default=sa.false(), comment=comment),
    )
