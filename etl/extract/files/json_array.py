"""A JSON array of rows, as freqtrade writes it: `[[open_time, open, high, low, close, volume], ...]`, or objects."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from etl.errors import ConfigError
from etl.extract.files.json_values import DECODER, Rows
from etl.extract.files.limits import MAX_LINE_BYTES

_CHUNK_BYTES = 1 << 17  # more than a row may have
_NAMED_ARRAY = re.compile(r'\{\s*"([A-Za-z_]\w*)"\s*:\s*\[', re.ASCII)


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield the rows of the array as lines, row by row: no more than a few rows are in memory.

    An element that is no row, such as null, stays as it is, for quarantine.

    Raises:
        ConfigError: It is no JSON array, or ends in the middle of a row.
    """
    rows = Rows()
    for row, text in _elements(file):
        yield from rows.lines(row, text)
    yield from rows.rest()


def _elements(file: BinaryIO) -> Iterator[tuple[Any, str]]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="backslashreplace")
    buffer = decoder.decode(file.read(_CHUNK_BYTES)).lstrip()
    if not buffer.startswith("["):
        raise _no_array(buffer)
    place, is_first = 1, True
    while True:
        if len(buffer) - place < MAX_LINE_BYTES and (more := file.read(_CHUNK_BYTES)):
            buffer, place = buffer[place:] + decoder.decode(more), 0
            continue
        place = _after_space(buffer, place)
        if buffer.startswith("]", place):
            if buffer[place + 1 :].strip() or file.read(1):
                raise ConfigError("something follows the JSON array in it")
            return
        if not is_first:
            if not buffer.startswith(",", place):
                raise _broken(buffer, place)
            place = _after_space(buffer, place + 1)
        try:
            element, end = DECODER.raw_decode(buffer, place)
        except (ValueError, RecursionError) as error:
            raise _broken(buffer, place) from error
        if end - place > MAX_LINE_BYTES:
            raise _broken(buffer, place)
        yield element, buffer[place:end]
        place, is_first = end, False


def _no_array(buffer: str) -> ConfigError:
    named = _NAMED_ARRAY.match(buffer)
    remedy = (
        f"write that array alone, for example with jq .{named[1]}"
        if named
        else "write [[open_time, open, high, low, close, volume], ...], or name it .jsonl if it has a row a line"
    )
    return ConfigError(f"its JSON is no array of rows: {buffer[:40]!r}; {remedy}")


def _after_space(buffer: str, place: int) -> int:
    while buffer[place : place + 1] in {" ", "\n", "\r", "\t"}:
        place += 1
    return place


def _broken(buffer: str, place: int) -> ConfigError:
    begins = buffer[place : place + 40]
    return ConfigError(
        f"its JSON breaks off, or a row is broken or over {MAX_LINE_BYTES} bytes long: {begins!r}; download it again"
    )
