"""Lines of text, as they stand in the file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from etl.errors import ConfigError
from etl.extract.files.limits import MAX_LINE_BYTES


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines without their ends; a byte that is no text stays to be seen.

    Raises:
        ConfigError: It is no text.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) > MAX_LINE_BYTES:
            raise ConfigError(f"line {number + 1} is over {MAX_LINE_BYTES} bytes long; this is no file of candles")
        if number == 0 and b"\0" in line:
            raise ConfigError("it is no text")
        # PostgreSQL takes no NUL.
        decoded = line.decode("utf-8-sig" if number == 0 else "utf-8", errors="backslashreplace")
        yield decoded.rstrip("\r\n").replace("\0", "\\x00")
        number += 1
