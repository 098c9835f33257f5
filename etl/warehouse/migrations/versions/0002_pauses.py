"""Pauses: until when an exchange wants everyone away."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "pauses",
        sa.Column("exchange", sa.Text, primary_key=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="by the database's clock"),
    )
