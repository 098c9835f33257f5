"""Rows that years leave in a warehouse beside candles, put there by SQL for `bench.market`: as many as is plausible."""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from etl.warehouse import Warehouse, driver_of

_NUMBERS = '"numbers": {"open": 1, "high": 2, "low": 1, "close": 1, "volume": 9, "trades": null}'
_EVIDENCE = (
    "{" + _NUMBERS + ', "last_close": 1, "usual_volume": 1, "move_pct": -7, "shares": {}, "fired": [], "witnesses": []}'
)

_ROWS = {
    # Two of them a day and series.
    "revisions": """
        INSERT INTO candle_revisions
            (series_id, revision, open_time, open, high, low, close, volume, flags, source, run)
        SELECT series_id, 1, open_time, open, high, low, close, volume + 1, flags, source, 'ingest'
        FROM series, generate_series({start}, {end} - interval '1 s', interval '12 h') AS at, LATERAL (
            SELECT * FROM candles WHERE series_id = series.id AND open_time = at + interval '7 min'
        ) own
    """,
    "their count": "UPDATE quality SET revisions = 2",
    # Each day is loaded as it comes, and once more with the next one until it has settled.
    "loads": """
        INSERT INTO loads (series_id, span, run, rows, new, revised, absent, quarantined, is_judged, is_announced,
            is_scored, is_history, loaded_at)
        SELECT series.id, tstzrange(at - interval '24 h', at + interval '24 h'), 'scheduled__' || at, 2880, 1440, 2, 0,
            0, true, true, true, false, at + interval '25 h'
        FROM series, generate_series({start}, {end} - interval '1 s', interval '24 h') AS at
    """,
    "quarantine": """
        INSERT INTO quarantine (series_id, open_time, rule, evidence, row, run)
        SELECT series.id, at, 'high_below_low', 'high 1.0, low 2.0', '[' || extract(epoch FROM at) || ']', 'bench'
        FROM series, generate_series({start}, {end} - interval '1 s', interval '84 h') AS at
    """,
    "quiet minutes": """
        INSERT INTO absences (series_id, span, kind, evidence, probes)
        SELECT series.id, tstzrange(at, at + interval '1 min'), 'no_trades', 'others of the exchange traded', 3
        FROM series, generate_series({start} + interval '3 h', {end} - interval '1 s', interval '36 h') AS at
        WHERE NOT EXISTS (
            SELECT FROM absences WHERE series_id = series.id AND span && tstzrange(at, at + interval '1 min')
        )
    """,
    "a model": """
        INSERT INTO models (timeframe, scope, version, scorer, state, learned, held_out, as_of, data_hash, metrics,
            environment, reason, run, artifact_sha256, artifact_bytes)
        VALUES ('1m', 'all', 1, 'lstm', 'retired', tstzrange({start}, {start} + interval '90 d'),
            tstzrange({start} + interval '76 d', {start} + interval '90 d'), now(),
            '', '{{}}', '{{}}', '', 'bench', '', 0)
    """,
    "scorings": """
        INSERT INTO scorings (series_id, span, model_id, is_hindsight, anomalies, changed, run)
        SELECT series.id, tstzrange({start}, {end}), models.id, false, 0, 0, 'bench' FROM series, models
    """,
    # One incident a week and series, of five candles.
    "anomalies": """
        INSERT INTO anomalies (series_id, open_time, scoring_id, model_id, score, threshold, shares)
        SELECT scorings.series_id, at + minute * interval '1 min', scorings.id, model_id,
            3 + (extract(epoch FROM at)::bigint / 60 * scorings.series_id) % 997 / 300.0, 3, '{{"return": 1}}'
        FROM scorings, generate_series({start}, {end} - interval '1 h', interval '7 days') AS at,
            generate_series(0, 4) AS minute
    """,
    "incidents": """
        INSERT INTO incidents (series_id, detector, span, peak, kind, scope, severity, state, reason, score,
            once_in_days, model_id, evidence, is_history)
        SELECT series_id, 'model', tstzrange(at, at + interval '5 min'), at, 'crash', 'market',
            (ARRAY['low', 'high', 'critical'])[1 + (extract(epoch FROM at)::bigint / 604800) % 3], 'closed',
            'it is over', 4, 40, model_id, {evidence}, false
        FROM scorings, generate_series({start}, {end} - interval '1 h', interval '7 days') AS at
    """,
    "what was refused": """
        UPDATE quality SET refused = '{{"high_below_low": 1}}' WHERE extract(doy FROM day)::int % 4 = 0
    """,
}


def fill(warehouse: Warehouse, start: datetime, end: datetime) -> None:
    """Put all of it beside the candles of `[start, end)`, and let the server look at what it has."""
    values = {"start": sql.Literal(start), "end": sql.Literal(end), "evidence": sql.Literal(_EVIDENCE)}
    with warehouse.begin() as connection:
        for statement in _ROWS.values():
            driver_of(connection).execute(sql.SQL(statement).format(**values))
    with warehouse.translated(), warehouse.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM (ANALYZE)")
