"""Breakages of the warehouse of `test_audit`: a statement each, what the audit says of it, and where."""

from __future__ import annotations

BREAKAGES = [
    ("DELETE FROM candles WHERE open_time = '2024-02-29 12:05Z'", "1 candles are neither stored nor recorded", 5, 6),
    ("DELETE FROM candles WHERE open_time = '2024-02-29 12:07Z'", "not those that its checkpoint vouches for", 0, 30),
    ("DELETE FROM candles", "candles that the archive has are not in the warehouse", 0, 20),
    ("DELETE FROM absences", "10 candles are neither stored nor recorded as absent", 20, 30),
    (
        "UPDATE absences SET span = tstzrange('2024-02-29 12:19Z', upper(span))",
        "1 candles are stored and recorded as absent at once",
        19,
        20,
    ),
    (
        "UPDATE absences SET span = tstzrange(lower(span), upper(span) - interval '20 s')",
        "an absence is off the 1m grid",
        20,
        30,
    ),
    ("UPDATE absences SET kind = 'unfetched'", "10 candles of a loaded range are recorded as not loaded", 20, 30),
    ("UPDATE candles SET close = close + 1e-9 WHERE open_time = '2024-02-29 12:05Z'", "have other values", 5, 6),
    ("UPDATE candles SET trades = NULL WHERE open_time = '2024-02-29 12:05Z'", "have other values", 5, 6),
    (
        "UPDATE candles SET open_time = open_time + interval '7 s' WHERE open_time = '2024-02-29 12:05Z'",
        "1 candles are off the 1m grid",
        None,
        None,
    ),
    ("UPDATE candles SET source = 2 WHERE open_time = '2024-02-29 12:05Z'", "or another source in the archive", 5, 6),
    (
        "UPDATE candles SET flags = flags | 256 WHERE open_time = '2024-02-29 12:05Z'",
        "1 candles have other flags than the rules find",
        5,
        6,
    ),
    (
        "UPDATE candles SET flags = flags | 1 WHERE open_time = '2024-02-29 12:05Z'",
        "1 candles are flagged as revised and have no earlier value",
        5,
        6,
    ),
    ("UPDATE candles SET flags = flags & ~1", "2 candles have earlier values and are not flagged as revised", 6, 8),
    (
        "UPDATE candles SET flags = flags | 2 WHERE open_time = '2024-02-29 12:05Z'",
        "1 stored candles are flagged as made up",
        5,
        6,
    ),
    (
        "UPDATE candles SET flags = flags | 4 WHERE open_time = '2024-02-29 12:05Z'",
        "1 candles are flagged as released, and no row of theirs was",
        5,
        6,
    ),
    ("DELETE FROM candle_revisions", "2 candles are flagged as revised and have no earlier value", 6, 8),
    ("DELETE FROM candle_revisions WHERE revision = 1", "not numbered from 1 without gaps", 6, 7),
    (
        "UPDATE candle_revisions SET replaced_at = replaced_at - interval '1 h'",
        "do not stand each until the next",
        6,
        7,
    ),
    ("UPDATE candles SET stored_at = stored_at + interval '1 h'", "do not stand each until the next", 6, 7),
    ("UPDATE checkpoints SET value_hash = 'x'", "not those that its checkpoint vouches for", 0, 30),
    ("UPDATE checkpoints SET rows = rows + 1", "its checkpoint counts 21 candles and 10 absent ones", 0, 30),
    ("UPDATE checkpoints SET absent = 0 WHERE absent > 0", "its checkpoint counts 20 candles and 0 absent ones", 0, 30),
    (
        "DELETE FROM checkpoints WHERE range_start = '2024-02-29 12:30Z'",
        "30 stored candles lie outside every loaded range",
        30,
        60,
    ),
    ("DELETE FROM checkpoints", "20 stored candles lie outside every loaded range", 0, 20),
    ("UPDATE quality SET stored = stored + 1", "the quality of 1 day is not what a recount gives", None, None),
    ("UPDATE quality SET high = high + 1e-9", "the quality of 1 day is not what a recount gives", None, None),
    ("UPDATE quality SET volume = volume * (1 + 1e-15)", "quality of 1 day is not what a recount gives", None, None),
]
