"""Ranges between loaded ones that no run has requested: a kind of their own, no longer `unfetched`."""

from alembic import op
from sqlalchemy import Connection, text

revision = "0010"
down_revision = "0009"

# What the versions before wrote of these ranges, and of no others.
_BEFORE = "it lies between what was loaded, and nobody has asked for it"
_NOW = "it lies between loaded ranges, and no run has requested it"

_MOVE = """
UPDATE absences SET kind = 'not_requested', evidence = :now
WHERE kind = 'unfetched' AND evidence = :before AND next_probe IS NULL
"""
_COUNT = """
WITH moved AS (
    SELECT series_id, lower(span) AS first, upper(span) AS ended, left(timeframe, -1)::bigint
        * CASE right(timeframe, 1) WHEN 'm' THEN 60 WHEN 'h' THEN 3600 ELSE 86400 END AS width_s
    FROM absences JOIN series ON series.id = series_id WHERE kind = 'not_requested'
), by_day AS (
    SELECT series_id, midnight::date AS day, sum(
        ceil(extract(epoch FROM least(ended, (midnight + interval '1 day') AT TIME ZONE 'UTC')) / width_s)
        - ceil(extract(epoch FROM greatest(first, midnight AT TIME ZONE 'UTC')) / width_s)
    )::bigint AS slots
    FROM moved, generate_series(
        date_trunc('day', first AT TIME ZONE 'UTC'),
        (ended AT TIME ZONE 'UTC') - interval '1 microsecond',
        interval '1 day'
    ) AS midnight GROUP BY series_id, midnight
)
UPDATE quality SET absent = (absent - 'unfetched') || jsonb_build_object('not_requested', slots)
    || CASE WHEN coalesce((absent ->> 'unfetched')::bigint, 0) > slots
       THEN jsonb_build_object('unfetched', (absent ->> 'unfetched')::bigint - slots) ELSE '{}' END
FROM by_day WHERE quality.series_id = by_day.series_id AND quality.day = by_day.day AND slots > 0
"""


def upgrade() -> None:
    """Tell the two apart in absences and in what is counted by day. What has changed kind before stays on record."""
    separate(op.get_bind())


def separate(connection: Connection) -> None:
    """Give the ranges their kind, and count them by it."""
    connection.execute(text(_MOVE), {"before": _BEFORE, "now": _NOW})
    connection.execute(text(_COUNT))
