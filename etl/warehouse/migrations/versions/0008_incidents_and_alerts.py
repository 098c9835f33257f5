"""Scores, incidents and alerts: what is strange, what it was judged by, and who was told."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE

revision = "0008"
down_revision = "0007"

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables; what was loaded so far is history, and still to be scored."""
    for name, comment in (
        ("is_scored", "whether a model has judged what it brought"),
        ("is_history", "whether it was a backfill or a repair, of which nobody is told"),
    ):
        op.add_column("loads", sa.Column(name, sa.Boolean, comment=comment))
    op.execute("UPDATE loads SET is_scored = (new + revised = 0), is_history = true")
    for name in ("is_scored", "is_history"):
        op.alter_column("loads", name, nullable=False)
    op.create_index("loads_to_score", "loads", ["series_id"], postgresql_where=sa.text("NOT is_scored"))
    _scores()
    _outbox()


def _scores() -> None:
    op.create_table(
        "scorings",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), nullable=False),
        sa.Column("span", TSTZRANGE, nullable=False, comment="the open times that were judged"),
        sa.Column("model_id", sa.BigInteger, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("is_hindsight", sa.Boolean, nullable=False, comment="whether the model knew what came after"),
        sa.Column("anomalies", sa.BigInteger, nullable=False, comment="candles at or above the threshold"),
        sa.Column("changed", sa.BigInteger, nullable=False, comment="anomalies that are new, other, or gone by it"),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("scored_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("scorings_of_a_series", "scorings", ["series_id", "id"])
    op.create_table(
        "incidents",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), nullable=False),
        sa.Column("detector", sa.Text, nullable=False, comment="what found it: model or spread"),
        sa.Column("span", TSTZRANGE, nullable=False, comment="from its first candle's open to its last one's close"),
        sa.Column("peak", _MOMENT, nullable=False, comment="when its strangest candle opens"),
        sa.Column("kind", sa.Text, nullable=False, comment="what it looks like: one of Kind"),
        sa.Column("scope", sa.Text, nullable=False, comment="who saw it: market, venue or unconfirmed"),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, comment="why it is in its state"),
        sa.Column("score", sa.Double, comment="the peak's: log10 of once in so many candles"),
        sa.Column("once_in_days", sa.Double, comment="how seldom such a one is to be expected in this series"),
        sa.Column("model_id", sa.BigInteger, sa.ForeignKey("models.id"), comment="null: no model judged it"),
        sa.Column("evidence", JSONB, nullable=False, comment="what it is judged by: Evidence"),
        sa.Column("is_history", sa.Boolean, nullable=False, comment="whether nobody is told of it"),
        sa.Column("opened_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("updated_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("acknowledged_at", _MOMENT),
        sa.Column("is_false", sa.Boolean, comment="what a person said of it; null: nobody has"),
        sa.Column("note", sa.Text, nullable=False, server_default="", comment="what that person wrote"),
        sa.Column("opinion", JSONB, comment="what a language model said of it"),
        sa.CheckConstraint("state IN ('open', 'updated', 'closed', 'withdrawn')", name="incidents_state"),
        sa.CheckConstraint("scope IN ('market', 'venue', 'unconfirmed')", name="incidents_scope"),
        sa.CheckConstraint("severity IN ('low', 'high', 'critical')", name="incidents_severity"),
    )
    op.create_index("incidents_of_a_series", "incidents", ["series_id", "peak"])
    op.create_index("incidents_by_peak", "incidents", ["peak"])
    op.create_table(
        "incident_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("change", sa.Text, nullable=False, comment="opened, updated, closed, withdrawn, acknowledged, ..."),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
    )
    op.create_index("incident_changes_of_an_incident", "incident_changes", ["incident_id"])
    op.create_table(
        "anomalies",
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), primary_key=True, autoincrement=False),
        sa.Column("open_time", _MOMENT, primary_key=True),
        sa.Column("scoring_id", sa.BigInteger, sa.ForeignKey("scorings.id"), nullable=False),
        sa.Column("model_id", sa.BigInteger, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("score", sa.Double, nullable=False, comment="log10 of once in so many candles"),
        sa.Column("threshold", sa.Double, nullable=False, comment="the score from which on it is an anomaly"),
        sa.Column("shares", JSONB, nullable=False, comment="what each feature contributed; together 1"),
    )
    op.create_index("anomalies_of_a_scoring", "anomalies", ["scoring_id"])
    op.create_table(
        "replaced_anomalies",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), nullable=False),
        sa.Column("open_time", _MOMENT, nullable=False),
        sa.Column(
            "scoring_id",
            sa.BigInteger,
            sa.ForeignKey("scorings.id"),
            nullable=False,
            comment="the one that had found it",
        ),
        sa.Column("model_id", sa.BigInteger, sa.ForeignKey("models.id"), nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("shares", JSONB, nullable=False),
        sa.Column(
            "replaced_by",
            sa.BigInteger,
            sa.ForeignKey("scorings.id"),
            nullable=False,
            comment="the one that found otherwise",
        ),
    )
    op.create_index("replaced_anomalies_of_a_series", "replaced_anomalies", ["series_id", "open_time"])


def _outbox() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column(
            "identity", sa.Text, nullable=False, unique=True, comment="of what it tells; there is one alert of it"
        ),
        sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), comment="null: it is of the pipeline"),
        sa.Column("kind", sa.Text, nullable=False, comment="of Kind or PipelineKind"),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("notice", JSONB, comment="what happened in the pipeline; null: it is of an incident"),
        sa.Column("happened_at", _MOMENT, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("planned_at", _MOMENT, comment="when it was decided whom to tell"),
        sa.Column("outcome", sa.Text, nullable=False, server_default="", comment="what was decided"),
    )
    op.create_index("alerts_to_plan", "alerts", ["id"], postgresql_where=sa.text("planned_at IS NULL"))
    op.create_index("alerts_of_an_incident", "alerts", ["incident_id"])
    op.create_table(
        "messages",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("alerts", sa.ARRAY(sa.BigInteger), nullable=False),
        sa.Column("series", sa.ARRAY(sa.Text), nullable=False, comment="whose order it keeps"),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False, comment="Markdown"),
        sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), comment="whose chart goes with it"),
        sa.Column("unless_acknowledged", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False, server_default="waiting"),
        sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("may_have_arrived", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", _MOMENT, nullable=False, server_default=sa.func.clock_timestamp()),
        sa.Column("next_try", _MOMENT, nullable=False),
        sa.Column("sent_at", _MOMENT),
        sa.Column("outcome", sa.Text, nullable=False, server_default="", comment="of the last try; holds no secret"),
        sa.UniqueConstraint("channel", "identity"),
        sa.CheckConstraint("state IN ('waiting', 'sending', 'sent', 'dead', 'dropped')", name="messages_state"),
    )
    op.create_index(
        "messages_to_send", "messages", ["channel", "id"], postgresql_where=sa.text("state IN ('waiting', 'sending')")
    )
    op.create_table(
        "message_tries",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("message_id", sa.BigInteger, sa.ForeignKey("messages.id"), nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("began_at", _MOMENT, nullable=False),
        sa.Column("ended_at", _MOMENT, comment="null: it was cut off, or is under way"),
        sa.Column("outcome", sa.Text, nullable=False, server_default="", comment="holds no secret"),
    )
    op.create_index("message_tries_of_a_message", "message_tries", ["message_id"])
    op.create_table(
        "channels",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("failing_since", _MOMENT, comment="null: its last try came through"),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0", comment="in a row"),
        sa.Column("next_try", _MOMENT, comment="nothing is sent to it before; null: at once"),
        sa.Column("last_sent_at", _MOMENT),
    )
    op.create_table(
        "opinions",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("incident_id", sa.BigInteger, sa.ForeignKey("incidents.id"), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("evidence", JSONB, nullable=False, comment="all that it was given"),
        sa.Column("asked_at", _MOMENT, nullable=False),
        sa.Column("answered_at", _MOMENT, comment="null: no answer, or it was cut off"),
        sa.Column(
            "tokens",
            sa.BigInteger,
            nullable=False,
            comment="as the server counts them; before it has, the most there may be",
        ),
        sa.Column("answer", JSONB, comment="null: there was none that could be used"),
        sa.Column("problem", sa.Text, nullable=False, server_default="", comment="why there is no answer"),
    )
    op.create_index("opinions_by_day", "opinions", ["asked_at"])
    op.create_index("opinions_of_an_incident", "opinions", ["incident_id"])
