"""An imported file is a source of its own, apart from the files of an exchange."""

from alembic import op

revision = "0018"
down_revision = "0017"

_SOURCE = "how it reached us: Origin (1 API, 2 built from trades, 3 file of the exchange, 4 imported file)"


def upgrade() -> None:
    """Say so; what an earlier version has imported keeps the 3."""
    for table in ("candles", "candle_revisions", "quarantine"):
        op.alter_column(table, "source", comment=_SOURCE)
