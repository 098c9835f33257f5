"""The tables of what is strange, and of who is told: scores, incidents, the outbox. See `etl.warehouse.tables`."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSTZRANGE

from etl.warehouse.tables import metadata, series_id_column

scorings = Table(
    "scorings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("span", TSTZRANGE, nullable=False, comment="the open times that were judged"),
    Column("model_id", BigInteger, ForeignKey("models.id"), nullable=False),
    Column("is_hindsight", Boolean, nullable=False, comment="whether the model knew what came after"),
    Column("anomalies", BigInteger, nullable=False, comment="candles at or above the threshold"),
    Column("changed", BigInteger, nullable=False, comment="anomalies that are new, other, or gone by it"),
    Column("run", Text, nullable=False),
    Column("scored_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)
Index("scorings_of_a_series", scorings.c.series_id, scorings.c.id)

incidents = Table(
    "incidents",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("detector", Text, nullable=False, comment="what found it: model or spread"),
    Column("span", TSTZRANGE, nullable=False, comment="from its first candle's open to its last one's close"),
    Column("peak", DateTime(timezone=True), nullable=False, comment="when its strangest candle opens"),
    Column("kind", Text, nullable=False, comment="what it looks like: one of Kind"),
    Column("scope", Text, nullable=False, comment="who saw it: market, venue or unconfirmed"),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, comment="why it is in its state"),
    Column("score", Double, comment="the peak's: log10 of once in so many candles"),
    Column("once_in_days", Double, comment="how seldom such a one is to be expected in this series"),
    Column("model_id", BigInteger, ForeignKey("models.id"), comment="null: no model judged it"),
    Column("evidence", JSONB, nullable=False, comment="what it is judged by: Evidence"),
    Column("is_history", Boolean, nullable=False, comment="whether nobody is told of it"),
    Column("opened_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("acknowledged_at", DateTime(timezone=True)),
    Column("is_false", Boolean, comment="what a person said of it; null: nobody has"),
    Column("note", Text, nullable=False, server_default="", comment="what that person wrote"),
    Column("opinion", JSONB, comment="what a language model said of it"),
    CheckConstraint("state IN ('open', 'updated', 'closed', 'withdrawn')", name="incidents_state"),
    CheckConstraint("scope IN ('market', 'venue', 'unconfirmed')", name="incidents_scope"),
    CheckConstraint("severity IN ('low', 'high', 'critical')", name="incidents_severity"),
)
Index("incidents_of_a_series", incidents.c.series_id, incidents.c.peak)
Index("incidents_by_peak", incidents.c.peak)

incident_changes = Table(
    "incident_changes",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    Column("change", Text, nullable=False, comment="opened, updated, closed, withdrawn, acknowledged, ..."),
    Column("detail", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)
Index("incident_changes_of_an_incident", incident_changes.c.incident_id)

anomalies = Table(
    "anomalies",
    metadata,
    Column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False),
    Column("open_time", DateTime(timezone=True), primary_key=True),
    Column("scoring_id", BigInteger, ForeignKey("scorings.id"), nullable=False),
    Column("model_id", BigInteger, ForeignKey("models.id"), nullable=False),
    Column("score", Double, nullable=False, comment="log10 of once in so many candles"),
    Column("threshold", Double, nullable=False, comment="the score from which on it is an anomaly"),
    Column("shares", JSONB, nullable=False, comment="what each feature contributed; together 1"),
)
Index("anomalies_of_a_scoring", anomalies.c.scoring_id)

replaced_anomalies = Table(
    "replaced_anomalies",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    series_id_column(),
    Column("open_time", DateTime(timezone=True), nullable=False),
    Column("scoring_id", BigInteger, ForeignKey("scorings.id"), nullable=False, comment="the one that had found it"),
    Column("model_id", BigInteger, ForeignKey("models.id"), nullable=False),
    Column("score", Double, nullable=False),
    Column("threshold", Double, nullable=False),
    Column("shares", JSONB, nullable=False),
    Column(
        "replaced_by", BigInteger, ForeignKey("scorings.id"), nullable=False, comment="the one that found otherwise"
    ),
)
Index("replaced_anomalies_of_a_series", replaced_anomalies.c.series_id, replaced_anomalies.c.open_time)

# The outbox. An alert says that there is something to tell; messages are made of alerts, one or several, by channel.
alerts = Table(
    "alerts",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("identity", Text, nullable=False, unique=True, comment="of what it tells; there is one alert of it"),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), comment="null: it is of the pipeline"),
    Column("kind", Text, nullable=False, comment="of Kind or PipelineKind"),
    Column("severity", Text, nullable=False),
    Column("notice", JSONB, comment="what happened in the pipeline; null: it is of an incident"),
    Column("happened_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("planned_at", DateTime(timezone=True), comment="when it was decided whom to tell"),
    Column("outcome", Text, nullable=False, server_default="", comment="what was decided"),
)
Index("alerts_to_plan", alerts.c.id, postgresql_where=alerts.c.planned_at.is_(None))
Index("alerts_of_an_incident", alerts.c.incident_id)

messages = Table(
    "messages",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("channel", Text, nullable=False),
    Column("identity", Text, nullable=False),
    Column("alerts", ARRAY(BigInteger), nullable=False),
    Column("series", ARRAY(Text), nullable=False, comment="whose order it keeps"),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False, comment="Markdown"),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), comment="whose chart goes with it"),
    Column("unless_acknowledged", Boolean, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("may_have_arrived", Boolean, nullable=False, server_default=false()),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("next_try", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("outcome", Text, nullable=False, server_default="", comment="of the last try; holds no secret"),
    UniqueConstraint("channel", "identity"),
    CheckConstraint("state IN ('waiting', 'sending', 'sent', 'dead', 'dropped')", name="messages_state"),
)
Index("messages_to_send", messages.c.channel, messages.c.id, postgresql_where=text("state IN ('waiting', 'sending')"))

message_tries = Table(
    "message_tries",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("messages.id"), nullable=False),
    Column("run", Text, nullable=False),
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True), comment="null: it was cut off, or is under way"),
    Column("outcome", Text, nullable=False, server_default="", comment="holds no secret"),
)
Index("message_tries_of_a_message", message_tries.c.message_id)

channels = Table(
    "channels",
    metadata,
    Column("name", Text, primary_key=True),
    Column("failing_since", DateTime(timezone=True), comment="null: its last try came through"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("next_try", DateTime(timezone=True), comment="nothing is sent to it before; null: at once"),
    Column("last_sent_at", DateTime(timezone=True)),
)

opinions = Table(
    "opinions",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("incident_id", BigInteger, ForeignKey("incidents.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("evidence", JSONB, nullable=False, comment="all that it was given"),
    Column("asked_at", DateTime(timezone=True), nullable=False),
    Column("answered_at", DateTime(timezone=True), comment="null: no answer, or it was cut off"),
    Column(
        "tokens", BigInteger, nullable=False, comment="as the server counts them; before it has, the most there may be"
    ),
    Column("answer", JSONB, comment="null: there was none that could be used"),
    Column("problem", Text, nullable=False, server_default="", comment="why there is no answer"),
)
Index("opinions_by_day", opinions.c.asked_at)
Index("opinions_of_an_incident", opinions.c.incident_id)
