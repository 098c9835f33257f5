"""Features and size of the warehouse's database, and which of them are made use of."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from rich.table import Table
from rich.text import Text

from etl.show.parts import new_table
from etl.spelling import counted
from etl.warehouse import Features, Sizes

_ADOPT = "not made use of here; run: chandler warehouse adopt"
_LICENCE = "the Apache licence does not have it; SHOW timescaledb.license"


def warehouse_table(address: str, head: str, features: Features, sizes: Sizes) -> Table:
    """Return a row for each thing that is known of it."""
    table = new_table("what", "how it is")
    for name, value in (
        ("address", address),
        ("tables", f"as of migration {head}"),
        ("PostgreSQL", features.postgres),
        ("TimescaleDB", _timescale(features)),
        ("hypertable", _hypertable(features)),
        ("compression", _compression(features)),
        ("aggregates", _aggregates(features)),
        ("rows", _to_megabytes(sizes.table)),
        ("indexes", _to_megabytes(sizes.indexes)),
        *((("kept aggregates", _to_megabytes(sizes.aggregates)),) if features.is_continuous else ()),
        *((("chunks", _chunks(sizes)),) if features.is_hypertable else ()),
    ):
        table.add_row(name, Text(value))
    return table


def warehouse_json(address: str, head: str, features: Features, sizes: Sizes) -> dict[str, Any]:
    """Return the same for a script: sizes in bytes, ages in seconds."""
    facts = {
        name: int(value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in asdict(features).items()
    }
    facts["chunk_interval_s"], facts["compress_after_s"] = facts.pop("chunk_interval"), facts.pop("compress_after")
    facts |= {"is_hypertable": features.is_hypertable, "obstacle": features.obstacle}
    return {"address": address, "migration": head, **facts, "bytes": _bytes(sizes), **_counts(sizes)}


def _timescale(features: Features) -> str:
    if features.version is not None:
        return f"{features.version}, licence {features.licence}"
    return features.obstacle or f"{features.available} is there, and {_ADOPT}"


def _hypertable(features: Features) -> str:
    if features.chunk_interval is None:
        return "no: the candles lie in a plain table"
    return f"yes, in chunks of {counted(features.chunk_interval.days, 'day')}"


def _compression(features: Features) -> str:
    if features.compress_after is not None:
        return f"yes, once a chunk is {counted(features.compress_after.days, 'day')} old"
    return f"no: {_why_not(features)}"


def _aggregates(features: Features) -> str:
    if features.is_continuous:
        return "kept, and counted anew where candles have changed"
    return f"views, counted by each query: {_why_not(features)}"


def _why_not(features: Features) -> str:
    if features.version is None:
        return "TimescaleDB has it"
    return _ADOPT if features.has_all else _LICENCE


def _chunks(sizes: Sizes) -> str:
    text = f"{sizes.chunks}, of which {sizes.compressed} are compressed"
    if sizes.after:
        text += f": {_to_megabytes(sizes.before)} have become {_to_megabytes(sizes.after)}"
    return text


def _to_megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _bytes(sizes: Sizes) -> dict[str, int]:
    return {
        "table": sizes.table,
        "indexes": sizes.indexes,
        "aggregates": sizes.aggregates,
        "before_compression": sizes.before,
        "after_compression": sizes.after,
    }


def _counts(sizes: Sizes) -> dict[str, int]:
    return {"chunks": sizes.chunks, "compressed_chunks": sizes.compressed}
