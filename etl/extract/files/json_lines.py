"""JSON Lines: an array or an object a line. A line that is no row stays as it is, for quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from etl.extract.files import text
from etl.extract.files.json_values import DECODER, Rows


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield each line as separated values.

    Raises:
        ConfigError: It is no text.
    """
    rows = Rows()
    for line in text.read_lines(file):
        try:
            row = DECODER.decode(line) if line.strip() else None
        except (ValueError, RecursionError):
            row = None
        yield from rows.lines(row, line)
    yield from rows.rest()
