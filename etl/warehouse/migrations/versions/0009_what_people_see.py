"""Overview for the market page: the candle of each day, and the request outcomes of the exchanges, hour by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add columns and table; the candles of days that are there are made by the nightly maintenance."""
    for name in ("open", "high", "low", "close", "volume"):
        op.add_column("quality", sa.Column(name, sa.Double))
    op.create_table(
        "requests",
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("hour", sa.DateTime(timezone=True), primary_key=True, comment="that they were answered in"),
        sa.Column("outcome", sa.Text, primary_key=True, comment="ok, or what went wrong"),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False, comment="that they took together"),
        sa.Column("slowest_s", sa.Double, nullable=False),
        sa.Column("within", sa.ARRAY(sa.BigInteger), nullable=False, comment="how many took no longer than each bound"),
    )
