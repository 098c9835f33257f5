"""A cleaned partition on its way from the clean step to the load step, as one file.

The two steps may run in different processes, hours apart; the file lies beside the raw pages that it came from.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from etl.errors import MissingPagesError
from etl.files import write_whole
from etl.validate import Cleaned, CleanReport, Refused

_NAME = "cleaned.arrow"
_FACTS = b"chandler.facts"


def write_handover(folder: Path, cleaned: Cleaned) -> None:
    """Write the file into the partition's folder; it is there wholly or not at all.

    Raises:
        StoreError: The file system refuses.
    """
    facts = {
        "report": asdict(cleaned.report),
        "refused": [asdict(row) for row in cleaned.refused],
        "stated_ms": cleaned.stated_ms,
    }
    table = cleaned.candles.replace_schema_metadata({_FACTS: json.dumps(facts)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_whole(folder / _NAME, sink.getvalue())


def read_handover(folder: Path) -> Cleaned:
    """Read what `write_handover` wrote.

    Raises:
        MissingPagesError: It is not there.
    """
    path = folder / _NAME
    try:
        table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    except FileNotFoundError as error:
        raise MissingPagesError(
            f"{path} is not there; clean this partition first (in Airflow: clear its clean task)"
        ) from error
    facts = json.loads(table.schema.metadata[_FACTS])
    return Cleaned(
        table.replace_schema_metadata(None),
        tuple(Refused(**row) for row in facts["refused"]),
        CleanReport(**facts["report"]),
        tuple(facts.get("stated_ms", ())),  # an earlier version did not write them
    )
