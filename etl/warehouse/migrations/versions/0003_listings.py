"""Listings: where each series begins and ends, and the ways in which a candle may reach us."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_MOMENT = sa.DateTime(timezone=True)
_SOURCE = "how it reached us: Origin (1 API, 2 built from trades, 3 file)"


def upgrade() -> None:
    """Add the columns, and say what new origins mean."""
    op.add_column(
        "series", sa.Column("first_open", _MOMENT, comment="when its first candle opens, if the exchange was asked")
    )
    op.add_column("series", sa.Column("ended", _MOMENT, comment="when its last candle closed, if it is traded no more"))
    for table in ("candles", "candle_revisions"):
        op.alter_column(table, "source", comment=_SOURCE)
