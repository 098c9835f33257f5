"""A cleaned partition on its way from the clean step to the load step, as one file.

The two steps may run in different processes, hours apart; the file lies beside the raw pages that it came from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from etl.errors import StoreError
from etl.files import write_whole
from etl.schema import TimeRange
from etl.validate import Cleaned, CleanReport, Refused

_NAME = "cleaned.arrow"
_FACTS = b"chandler.facts"


@dataclass(frozen=True, slots=True)
class Handover:
    """What load needs to know.

    Attributes:
        windows: Those of the raw pages, which are folded once the load is committed.
    """

    cleaned: Cleaned
    windows: tuple[TimeRange, ...]


def write_handover(folder: Path, handover: Handover) -> None:
    """Write the file into the partition's folder; it is there wholly or not at all.

    Raises:
        StoreError: The file system refuses.
    """
    facts = {
        "report": asdict(handover.cleaned.report),
        "refused": [asdict(row) for row in handover.cleaned.refused],
        "windows": [[window.start_ms, window.end_ms] for window in handover.windows],
    }
    table = handover.cleaned.candles.replace_schema_metadata({_FACTS: json.dumps(facts)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    write_whole(folder / _NAME, sink.getvalue())


def read_handover(folder: Path) -> Handover:
    """Read what `write_handover` wrote.

    Raises:
        StoreError: It is not there.
    """
    path = folder / _NAME
    try:
        table = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    except FileNotFoundError as error:
        raise StoreError(
            f"{path} is not there; clean this partition first (in Airflow: clear its clean task)"
        ) from error
    facts = json.loads(table.schema.metadata[_FACTS])
    return Handover(
        Cleaned(
            table.replace_schema_metadata(None),
            tuple(Refused(**row) for row in facts["refused"]),
            CleanReport(**facts["report"]),
        ),
        tuple(TimeRange.from_ms(start_ms, end_ms) for start_ms, end_ms in facts["windows"]),
    )
