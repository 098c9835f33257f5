"""Files of settings in TOML, read table by table where one cannot be read whole: a bad table leaves the others."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etl.problems import Fault, Place

_KEY = r"""[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*'"""
# With its brackets, however many of them are there.
_HEADER = re.compile(rf"\[{{1,2}}[ \t]*((?:{_KEY})(?:[ \t]*\.[ \t]*(?:{_KEY}))*)[ \t]*\]{{0,2}}[ \t]*(?:#.*)?")
_WHERE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(slots=True)
class TomlFile:
    """The content of a file of settings, and its unreadable parts.

    Attributes:
        content: Of the tables that can be read.
        faults: A fault's place is the table that cannot; empty if it is what stands before the first table, or all.
    """

    content: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_toml(path: Path, variable: str) -> TomlFile:
    """Read a file of settings; nothing if it is not there. A byte order mark before it is none of it.

    Args:
        variable: The environment may name the file by it; then it must be there.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        if variable not in os.environ:
            return TomlFile()
        return TomlFile(faults=[Fault((), f"{variable} names {path}, which is not there", "")])
    except UnicodeDecodeError as error:
        problem = f"cannot be read: byte {error.start} is not UTF-8; save the file as UTF-8"
        return TomlFile(faults=[Fault((), problem, str(path))])
    except OSError as error:
        return TomlFile(faults=[Fault((), f"cannot be read: {error.strerror}", str(path))])
    try:
        return TomlFile(tomllib.loads(text))
    except tomllib.TOMLDecodeError:
        return _by_table(text, str(path))


def _by_table(text: str, origin: str) -> TomlFile:
    """Read each table by itself, and leave out those that cannot be read or are there twice."""
    read, seen = TomlFile(), set[Place]()
    for first, header, lines in _tables(text):
        place, is_one_of_several = _place(header), header.startswith("[[")
        try:
            # Empty lines before it keep the numbers of the lines.
            table = tomllib.loads("\n" * first + lines)
        except tomllib.TOMLDecodeError as error:
            read.faults.append(Fault(place, _problem(error), origin))
            table = {}
        if place in seen and not is_one_of_several:
            read.faults.append(Fault(place, f"the table stands there twice; the second is in line {first + 1}", origin))
        elif not _merge(read.content, table):
            problem = f"line {first + 1} and what follows says again what stands before it; leave one out"
            read.faults.append(Fault(place, problem, origin))
        seen.add(place)
    return read


def _tables(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield of each table the number of lines before it, its header (empty before the first), and its text."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _HEADER.fullmatch(line.rstrip())]
    for start, end in zip([0, *starts], [*starts, len(lines)], strict=True):
        if start < end:
            header = lines[start].rstrip() if start in starts else ""
            yield start, header, "\n".join(lines[start:end])


def _place(header: str) -> Place:
    matched = _HEADER.fullmatch(header)
    return tuple(key.strip("\"'") for key in re.findall(_KEY, matched[1])) if matched else ()


def _merge(content: dict[str, Any], table: dict[str, Any]) -> bool:
    """Add a table to what was read; return whether nothing in it was there already."""
    is_new = True
    for key, value in table.items():
        known = content.get(key)
        if key not in content:
            content[key] = value
        elif isinstance(known, dict) and isinstance(value, dict):
            is_new &= _merge(known, value)
        elif isinstance(known, list) and isinstance(value, list) and all(isinstance(one, dict) for one in value):
            known.extend(value)
        else:
            is_new = False
    return is_new


def _problem(error: tomllib.TOMLDecodeError) -> str:
    """Return what `tomllib` says, with the line first."""
    said = str(error)
    matched = _WHERE.search(said)
    words = _WHERE.sub("", said)
    where = f"line {matched[1]}" if matched and matched[1] else "its end"
    return f"cannot be read as TOML, at {where}: {words[:1].lower()}{words[1:]}"
