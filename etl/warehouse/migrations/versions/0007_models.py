"""Models: their blobs, what is known of them, and every change of their states."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE

revision = "0007"
down_revision = "0006"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "models",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("timeframe", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False, comment="all, or the one series that it is for"),
        sa.Column("version", sa.Integer, nullable=False, comment="1, 2, ... within timeframe and scope"),
        sa.Column("scorer", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("learned", TSTZRANGE, nullable=False, comment="what it learned from"),
        sa.Column("held_out", TSTZRANGE, nullable=False, comment="what its cuts are from"),
        sa.Column("as_of", _MOMENT, nullable=False, comment="the moment as of which candles were read"),
        sa.Column("data_hash", sa.Text, nullable=False, comment="of the candles that were read"),
        sa.Column("metrics", JSONB, nullable=False, comment="how it compared with others"),
        sa.Column("environment", JSONB, nullable=False, comment="versions of what trained it, and the machine"),
        sa.Column("reason", sa.Text, nullable=False, comment="why it is in its state"),
        sa.Column("run", sa.Text, nullable=False, comment="the run that registered it"),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("state_since", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("artifact", sa.LargeBinary, comment="the blob; null: retention has dropped it"),
        sa.Column("artifact_sha256", sa.Text, nullable=False),
        sa.Column("artifact_bytes", sa.BigInteger, nullable=False),
        sa.Column("report", sa.LargeBinary, comment="HTML under gzip"),
        sa.UniqueConstraint("timeframe", "scope", "version"),
        sa.CheckConstraint("state IN ('candidate', 'champion', 'retired', 'rejected')", name="models_state"),
        sa.CheckConstraint("artifact IS NOT NULL OR state IN ('retired', 'rejected')", name="models_blob_stays"),
    )
    # Of a value that is neither compressed nor in line PostgreSQL reads just the piece that is asked for.
    for column in ("artifact", "report"):
        op.execute(f"ALTER TABLE models ALTER COLUMN {column} SET STORAGE EXTERNAL")
    op.create_index(
        "models_one_champion",
        "models",
        ["timeframe", "scope"],
        unique=True,
        postgresql_where=sa.text("state = 'champion'"),
    )
    op.create_table(
        "model_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("model_id", sa.BigInteger, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("state_before", sa.Text, comment="null: it was registered"),
        sa.Column("state_after", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("model_changes_of_a_model", "model_changes", ["model_id"])
