"""Candles that no rule about outliers could judge, counted by day."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the count; it is 0 for days of earlier versions until their candles are flagged again."""
    comment = "candles that no rule about outliers could judge"
    op.add_column("quality", sa.Column("unjudged", sa.BigInteger, nullable=False, server_default="0", comment=comment))
    op.alter_column("quality", "unjudged", server_default=None)
