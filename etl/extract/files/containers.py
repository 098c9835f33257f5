"""Containers of a file: none, gzip or zip. They give the packed file's own name and bytes."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

from etl.errors import ConfigError
from etl.extract.files.limits import MAX_TEXT_BYTES, BoundedReader
from etl.extract.files.names import ALIASES
from etl.series import Series

_SHOWN = 5
_ENCRYPTED = 0x1
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
"""The beginning of the content, which no text has."""


@contextmanager
def unpacked(path: Path, series: Series) -> Iterator[tuple[str, BinaryIO, bool]]:
    """Open a file, and yield its name and content without what it is packed in, and whether it is packed.

    The content tells: browsers unpack what they download, or do not, and leave the name as it was.

    Args:
        series: Whose file is meant, where an archive has several.

    Raises:
        ConfigError: It cannot be read or unpacked, or nothing says which of an archive's files is meant.
    """
    name = path.name.lower()
    try:
        with path.open("rb") as file:
            begin = file.read(len(_ZIP))
            file.seek(0)
            if begin.startswith(_GZIP):
                yield name.removesuffix(".gz").removesuffix(".zip"), cast(BinaryIO, gzip.GzipFile(fileobj=file)), True
            elif begin == _ZIP or name.endswith(".zip"):
                with zipfile.ZipFile(cast(IO[bytes], BoundedReader(file))) as archive:
                    member = _member(archive, series)
                    with archive.open(member) as inner:
                        yield member.filename.lower(), cast(BinaryIO, inner), True
            else:
                yield name.removesuffix(".gz"), file, False
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError) as error:
        raise ConfigError(f"cannot be unpacked ({error}); download it again") from error
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror or error}") from error


def _member(archive: zipfile.ZipFile, series: Series) -> zipfile.ZipInfo:
    """Return the one data file of an archive; of several the one that Kraken's naming gives to the series.

    Source: https://support.kraken.com/articles/360047124832 (`XBTUSD_60.csv`: pair and minutes)
    """
    files = [one for one in archive.infolist() if not one.is_dir() and "__MACOSX/" not in one.filename]
    if not files:
        raise ConfigError("it holds no file")
    if len(files) > 1:
        wanted = _kraken_names(series)
        named = [one for one in files if one.filename.rpartition("/")[2].lower() in wanted]
        if len(named) != 1:
            shown = ", ".join(one.filename for one in files[:_SHOWN]) + (", ..." if len(files) > _SHOWN else "")
            raise ConfigError(
                f"it holds {len(files):,} files ({shown}), and not exactly one named {sorted(wanted)[0]}; "
                "unpack the one that you mean"
            )
        files = named
    [one] = files
    if one.flag_bits & _ENCRYPTED:
        raise ConfigError(f"{one.filename} in it is encrypted; unpack it first")
    if one.file_size > MAX_TEXT_BYTES:
        raise ConfigError(f"it unpacks to over {MAX_TEXT_BYTES >> 20:,} MB; cut it into several files")
    return one


def _kraken_names(series: Series) -> set[str]:
    pair = re.sub(r"[^a-z0-9]", "", series.symbol.partition(":")[0].lower())
    minutes = series.timeframe.ms // 60_000
    others = (pair.replace(ours.lower(), theirs.lower()) for theirs, ours in ALIASES.items())
    return {f"{name}_{minutes}.csv" for name in (pair, *others)}
