"""Feather and Arrow IPC files. What a batch unpacks to is read from its header before it is unpacked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from etl.errors import ConfigError
from etl.extract.files.columnar import BATCH_ROWS, batch_lines, header_line, readable_names
from etl.extract.files.limits import MAX_BATCH_BYTES, MAX_READ_BYTES

_MAGIC = b"ARROW1"
_MAGIC_OF_V1 = b"FEA1"
_TAIL = len(_MAGIC) + 4


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Yield a line of names, then the rows.

    Raises:
        ConfigError: It is no Feather of version 2, or too large.
    """
    try:
        _check_messages(file)
        file.seek(0)
        with pa.ipc.open_file(file) as reader:
            names = readable_names(reader.schema)
            yield header_line(names)
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number).select(names)
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield from batch_lines(batch.slice(start, BATCH_ROWS))
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        raise ConfigError(f"cannot be read as Feather: {error}") from error


def _check_messages(file: BinaryIO) -> None:
    """Walk over the messages as a stream would, and add up what the buffers of each say that they unpack to.

    Source: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format
    """
    _check_tail(file)
    place = 8
    while True:
        file.seek(place)
        prefix = file.read(8)
        if len(prefix) < 8:
            return
        marker, length = struct.unpack("<Ii", prefix)
        if marker != 0xFFFFFFFF or length <= 0:
            return
        if length > MAX_READ_BYTES:
            raise ConfigError("a header in it is over 16 MB; this is no file of candles")
        header = file.read(length)
        body = place + 8 + length
        body_length, buffers = _buffers(header)
        unpacked = 0
        for offset, stored in buffers:
            if stored >= 8:
                file.seek(body + offset)
                (claimed,) = struct.unpack("<q", file.read(8))
                unpacked += max(claimed, stored)
            else:
                unpacked += stored
        if unpacked > MAX_BATCH_BYTES:
            raise ConfigError(
                f"a batch of it unpacks to {unpacked >> 20:,} MB; write smaller ones, for example of 65,536 rows"
            )
        place = body + body_length


def _check_tail(file: BinaryIO) -> None:
    size = file.seek(0, 2)
    file.seek(size - _TAIL if size > _TAIL else 0)
    tail = file.read(_TAIL)
    if tail.endswith(_MAGIC_OF_V1):
        raise ConfigError("it is Feather of version 1; write it as version 2, which pandas.DataFrame.to_feather does")
    if not tail.endswith(_MAGIC):
        raise ConfigError("cannot be read as Feather of version 2: its end is missing; download it again")
    if int.from_bytes(tail[:4], "little") > MAX_READ_BYTES:
        raise ConfigError(f"its footer is over {MAX_READ_BYTES >> 20} MB; this is no file of candles")


def _buffers(message: bytes) -> tuple[int, list[tuple[int, int]]]:
    """Return the length of a message's body, and where in it compressed buffers lie: (offset, length) each.

    Source: https://github.com/apache/arrow/blob/main/format/Message.fbs
    """
    table = int.from_bytes(message[:4], "little")
    body_at = _field(message, table, 3)
    body_length = 0 if body_at is None else int.from_bytes(message[body_at : body_at + 8], "little", signed=True)
    kind_at, header_at = _field(message, table, 1), _field(message, table, 2)
    if kind_at is None or header_at is None:
        return max(body_length, 0), []
    kind = message[kind_at]
    batch = header_at + int.from_bytes(message[header_at : header_at + 4], "little")
    if kind == 2:  # a dictionary batch holds a record batch
        data_at = _field(message, batch, 1)
        if data_at is None:
            return max(body_length, 0), []
        batch = data_at + int.from_bytes(message[data_at : data_at + 4], "little")
    elif kind != 3:
        return max(body_length, 0), []
    buffers_at, compression_at = _field(message, batch, 2), _field(message, batch, 3)
    if buffers_at is None or compression_at is None:
        return max(body_length, 0), []
    vector = buffers_at + int.from_bytes(message[buffers_at : buffers_at + 4], "little")
    count = int.from_bytes(message[vector : vector + 4], "little")
    return max(body_length, 0), [
        struct.unpack_from("<qq", message, vector + 4 + 16 * number) for number in range(count)
    ]


def _field(message: bytes, table: int, number: int) -> int | None:
    """Return where a field of a flatbuffers table lies; None if it is not given."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, vtable)[0]
    entry = 4 + 2 * number
    if entry >= size:
        return None
    offset = struct.unpack_from("<H", message, vtable + entry)[0]
    return table + offset if offset else None
