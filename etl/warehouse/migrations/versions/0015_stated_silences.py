"""Silences that a file states, so that judging again knows of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TSTZRANGE

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the table; of earlier imports it is not known, so that their silences are judged as before."""
    op.create_table(
        "stated_silences",
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), primary_key=True, autoincrement=False),
        sa.Column("span", TSTZRANGE, primary_key=True, comment="open times that a file has without a price"),
        sa.Column("run", sa.Text, nullable=False, comment="the import that brought the file"),
    )
