"""The later of two times that a refused row may state, so that the slots of both are told by it."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

_LATER = "where it belongs if not at open_time, which it does not tell: a local time that the clock shows twice"


def upgrade() -> None:
    """Add the column; rows of an earlier version are of one time, or of none."""
    op.add_column("quarantine", sa.Column("later_open_time", sa.DateTime(timezone=True), comment=_LATER))
