"""Bounds on what a file may make us hold or read; one reader enforces those that every format shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from etl.errors import ConfigError

MAX_LINE_BYTES = 1 << 16
MAX_LINES = 20_000_000
"""Every minute since 2009 is nine million."""
MAX_TEXT_BYTES = 4 << 30
MAX_CELL_BYTES = 256
"""Of a text cell in a columnar file; a dictionary could repeat a longer one a million times."""
MAX_BATCH_BYTES = 256 << 20
"""Of a columnar file's batch or row group, unpacked."""
MAX_READ_BYTES = 16 << 20
"""Of one read: a directory or a footer that claims to be larger belongs to no file of candles."""


class BoundedReader:
    """A binary file that refuses single reads of more than `MAX_READ_BYTES`.

    Libraries read a directory or a footer in one piece, as long as the file says that it is.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or what is left.

        Raises:
            ConfigError: That is more than is ever needed at once.
        """
        if size is None or size < 0:
            size = MAX_READ_BYTES + 1
            data = self._file.read(size)
        else:
            data = b"" if size > MAX_READ_BYTES else self._file.read(size)
        if size > MAX_READ_BYTES and (not data or len(data) > MAX_READ_BYTES):
            raise ConfigError(f"its directory is over {MAX_READ_BYTES >> 20} MB; this is no file of candles")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, as files do."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def bounded(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines until there are too many, or too much of them.

    Raises:
        ConfigError: The file unpacks to more lines or bytes than any file of candles.
    """
    total = 0
    for number, line in enumerate(lines):
        total += len(line) + 1
        if number >= MAX_LINES or total > MAX_TEXT_BYTES:
            raise ConfigError(
                f"it unpacks to over {MAX_LINES:,} lines or {MAX_TEXT_BYTES >> 20:,} MB; cut it into several files"
            )
        yield line
