"""A folder of files, on a disk or in an object store: read, written whole, listed; its errors are ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from etl.errors import ConfigError, StoreError, StoreUnavailableError
from etl.files import write_whole

_NOTHING = fs.FileType.NotFound
_CONNECT_S, _ANSWER_S, _TRIES = 3, 15, 2
# What pyarrow says when an object store was not reached, or asks us to come again.
_UNAVAILABLE = re.compile(
    r"NETWORK_CONNECTION|REQUEST_TIMEOUT|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|INTERNAL_FAILURE|curlCode"
)


class VanishedError(Exception):
    """A file that was listed is gone: somebody has replaced it by another one meanwhile."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as it is listed.

    Attributes:
        path: Below the root.
        written_at: As the store says.
    """

    path: str
    size_bytes: int
    written_at: datetime

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


class Root:
    """The files below one address.

    Args:
        url: A folder, or a URI that pyarrow has a filesystem for (`s3://bucket/prefix`).

    Raises:
        ConfigError: `url` names no filesystem that pyarrow knows.
        StoreUnavailableError: Nobody answers who could say where a bucket is.
    """

    def __init__(self, url: str) -> None:
        try:
            # A plain path need not be absolute, nor free of characters that a URI would have to escape.
            located = fs.FileSystem.from_uri(url) if "://" in url else (fs.LocalFileSystem(), str(Path(url).absolute()))
        except (pa.ArrowInvalid, OSError) as error:
            if _UNAVAILABLE.search(str(error)):
                raise StoreUnavailableError(f"{url!r} does not answer just now ({error}); run this again") from error
            raise ConfigError(f"{url!r} names no place to keep files: {error}") from error
        self._system: fs.FileSystem = _impatient(located[0])
        self.address: str = f"{located[1].rstrip('/')}/candles"
        self.is_local = isinstance(self._system, fs.LocalFileSystem)

    def place_of(self, path: str) -> str:
        """Return where a path below the root is, as a person would look for it."""
        return self._full(path) if self.is_local else f"{self._system.type_name}://{self._full(path)}"

    def files(self, folder: str = "", *, is_deep: bool = False) -> list[Entry]:
        """Return the files in a folder below the root, or anywhere below it.

        Raises:
            StoreError: It cannot be listed.
        """
        return [
            Entry(self._below(info.path), info.size, info.mtime or datetime.fromtimestamp(0, UTC))
            for info in self._select(folder, is_deep=is_deep)
            if info.type is not fs.FileType.Directory
        ]

    def folders(self, folder: str = "") -> list[str]:
        """Return the folders in a folder below the root, as paths below the root."""
        infos = self._select(folder, is_deep=False)
        return [self._below(info.path) for info in infos if info.type is fs.FileType.Directory]

    def read(self, entry: Entry) -> pa.Buffer:
        """Return the bytes of a file.

        Raises:
            VanishedError: It is not there any more.
            StoreError: It cannot be read.
        """
        with self.open(entry) as source:
            try:
                return source.read_buffer()
            except OSError as error:
                raise self._error(entry.path, "read", error) from error

    def open(self, entry: Entry) -> Any:
        """Open a file to read parts of it; may raise what `read` does."""
        try:
            return self._system.open_input_file(self._full(entry.path))
        except FileNotFoundError as error:
            raise VanishedError(entry.path) from error
        except OSError as error:
            raise self._error(entry.path, "read", error) from error

    def write(self, path: str, content: bytes | pa.Buffer) -> None:
        """Put `content` at `path` wholly, or leave what is there.

        Raises:
            StoreError: It cannot be written.
        """
        full = self._full(path)
        if self.is_local:
            write_whole(Path(full), content)
            return
        try:
            # An object store shows an object once it is there wholly.
            with self._system.open_output_stream(full) as sink:
                sink.write(content)
        except OSError as error:
            raise self._error(path, "written", error) from error

    def remove(self, path: str) -> None:
        """Remove a file, if it is there.

        Raises:
            StoreError: It cannot be removed.
        """
        try:
            self._system.delete_file(self._full(path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._error(path, "removed", error) from error

    def set_aside(self, path: str) -> str:
        """Move a file to a hidden name beside its own: who reads a whole folder leaves it out.

        Returns:
            Where it is now, below the root.

        Raises:
            StoreError: It cannot be moved.
        """
        folder, _, name = path.rpartition("/")
        try:
            number = 1
            while self._system.get_file_info(self._full(f"{folder}/.{name}.aside{number}")).type is not _NOTHING:
                number += 1
            aside = f"{folder}/.{name}.aside{number}"
            self._system.move(self._full(path), self._full(aside))
        except OSError as error:
            raise self._error(path, "moved aside", error) from error
        return aside

    def _select(self, folder: str, *, is_deep: bool) -> Iterator[fs.FileInfo]:
        selector = fs.FileSelector(self._full(folder), allow_not_found=True, recursive=is_deep)
        try:
            yield from self._system.get_file_info(selector)
        except OSError as error:
            raise self._error(folder, "listed", error) from error

    def _full(self, path: str) -> str:
        return f"{self.address}/{path}" if path else self.address

    def _below(self, path: str) -> str:
        return path[len(self.address) + 1 :].rstrip("/")

    def _error(self, path: str, done: str, error: OSError) -> StoreError:
        reason = str(error.strerror or error).splitlines()[0]
        if not self.is_local and _UNAVAILABLE.search(str(error)):
            return StoreUnavailableError(f"{self.place_of(path)} cannot be {done} just now ({reason}); run this again")
        return StoreError(f"{self.place_of(path)} cannot be {done} ({reason}); make room or mend its rights")


def _impatient(files: fs.FileSystem) -> fs.FileSystem:
    """Return an object store's client that gives up within a minute, where pyarrow lets us say so."""
    if not isinstance(files, fs.S3FileSystem):
        return files
    remake, (options,) = files.__reduce__()
    patience = {"connect_timeout": _CONNECT_S, "request_timeout": _ANSWER_S}
    return remake({**options, **patience, "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)})
