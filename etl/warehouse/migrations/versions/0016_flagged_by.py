"""By which rules and parameters the candles of a series were flagged: only those can tell whether a flag is wrong."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column; what was flagged before is of earlier rules, until maintenance or a mending flags it again."""
    comment = "rules and parameters that flagged all of its candles; empty: not known; null: nothing is loaded yet"
    op.add_column("series", sa.Column("flagged_by", sa.Text, comment=comment))
    op.execute("UPDATE series SET flagged_by = ''")
