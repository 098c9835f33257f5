"""The formats that are read. A new one is a module with a function from bytes to lines, and a line below."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from etl.errors import ConfigError
from etl.extract.files import feather, json_array, json_lines, parquet, text
from etl.extract.files.containers import unpacked
from etl.extract.files.limits import bounded
from etl.series import Series


@dataclass(frozen=True, slots=True)
class Format:
    """A format of candles in a file.

    Attributes:
        suffixes: The ends of its files' names, lower case.
        lines: Reads bytes as lines of separated values, without their ends; those that name columns among them.
            It raises a ConfigError where the bytes are not of the format.
        is_packable: Whether it is read out of gzip and zip as well. Columnar files need to be searched.
        has_lines: Whether its lines are those that an editor shows; those of other formats are made of rows.
    """

    name: str
    suffixes: tuple[str, ...]
    lines: Callable[[BinaryIO], Iterator[str]]
    is_packable: bool = True
    has_lines: bool = False


FORMATS: tuple[Format, ...] = (
    Format("CSV", (".csv", ".tsv", ".txt"), text.read_lines, has_lines=True),
    Format("JSON", (".json",), json_array.read_lines),
    Format("JSON Lines", (".jsonl", ".ndjson"), json_lines.read_lines),
    Format("Parquet", (".parquet",), parquet.read_lines, is_packable=False),
    Format("Feather", (".feather", ".arrow"), feather.read_lines, is_packable=False),
)


def read_lines(path: Path, series: Series) -> Iterator[str]:
    """Yield the lines of a file, whatever it is packed in and whatever its format.

    Raises:
        ConfigError: It is of no format that is read, or is broken, or too large.
    """
    with unpacked(path, series) as (name, file, is_packed):
        yield from bounded(_format_of(name, is_packed).lines(file))


def format_of(path: Path, series: Series) -> tuple[str, bool]:
    """Return what a file is, for a reader (`CSV`, `CSV (packed: XBTUSD_60.csv)`), and whether it has lines.

    Raises:
        ConfigError: It is of no format that is read.
    """
    with unpacked(path, series) as (name, _, is_packed):
        found = _format_of(name, is_packed)
        return found.name + (f" (packed: {name})" if is_packed else ""), found.has_lines


def _format_of(name: str, is_packed: bool) -> Format:
    for one in FORMATS:
        if name.endswith(one.suffixes):
            if is_packed and not one.is_packable:
                raise ConfigError(f"{one.name} is not read out of an archive: {name}; unpack it first")
            return one
    known = ", ".join(suffix for one in FORMATS for suffix in one.suffixes)
    raise ConfigError(
        f"its format is not known: {name}; what is read is {known}, the text formats also as .gz and .zip"
    )
