"""Local files that are there wholly or not at all: for raw pages, handovers and the archive alike."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from etl.errors import StoreError

_TRIES = 10


def write_whole(path: Path, content: bytes | pa.Buffer, *, is_synced: bool = True) -> None:
    """Put `content` at `path`, making folders on the way; once this returns it survives a crash of the process.

    A reader sees the old file or the new one, and one that has the old file open reads it to its end.

    Args:
        is_synced: Whether it shall survive a crash of the machine too. That takes milliseconds; what is written
            without is to carry a checksum.

    Raises:
        StoreError: The file system refuses. What was there before still is, and nothing else.
    """
    # Not by the process's number, which on another machine another process has.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with _opened(temporary) as file:
                file.write(content)
                if is_synced:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if not is_synced:
            return
        # The rename itself is on disk once the folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror}); make room or mend its rights") from error


def _opened(path: Path) -> BinaryIO:
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):
            return path.open("wb")
        # Another process may remove the folder as empty before there is something in it.
        with suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True)
    return path.open("wb")
