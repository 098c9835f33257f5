"""A model's blob from outside: a zip of members, one of which vouches for the others.

What is read is what `write_container` would write, byte for byte, or it is refused: members stored as they are, under
names from a closed set, each with the hash that the manifest states. So nothing is unpacked that could grow, lie
elsewhere, or be run.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from etl.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"

_SAFE_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_]+)?(\.[a-z0-9]+)?")
_NAME = re.compile(r"graph\.onnx|(numbers|series)/[a-z0-9_]{1,64}\.npy")
_MOST_MEMBERS = 256
_MOST_MANIFEST_BYTES = 4_000_000
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold, since a blob says nothing but what the model is
_END = struct.Struct("<4s4H2LH")  # what a zip without a comment ends with
# What zipfile raises over lists that make no sense.
_BROKEN = (zipfile.BadZipFile, struct.error, NotImplementedError, RuntimeError, ValueError, OSError, EOFError)

AGAIN = "train again, or import it from where it came"


def refused(reason: str, advice: str = AGAIN) -> ArtifactError:
    """Return the error that says why a blob is not used, and what to do."""
    return ArtifactError(f"the model's blob is refused: {reason}; {advice}")


def write_container(facts: Mapping[str, Any], members: Mapping[str, bytes]) -> bytes:
    """Return a blob of members and a manifest of facts and of what the members are; equal ones give equal bytes.

    Args:
        facts: What JSON can hold.
        members: By names as `graph.onnx`, `numbers/*.npy` and `series/*.npy`.

    Raises:
        ArtifactError: A name is none of these, there are too many, or facts hold what JSON cannot, such as NaN.
    """
    if strange := sorted(name for name in members if not _NAME.fullmatch(name)):
        raise ArtifactError(f"{strange[0]!r} is no name for a part of a model; write [a-z0-9_]+, at most 64 characters")
    if len(members) >= _MOST_MEMBERS:
        raise ArtifactError(f"a model of {len(members)} parts is not kept; stack arrays to fewer than {_MOST_MEMBERS}")
    listed = {name: {"bytes": len(content), "sha256": _hash(content)} for name, content in members.items()}
    try:
        manifest = json.dumps(
            {**facts, "format": FORMAT, "members": listed}, sort_keys=True, indent=1, allow_nan=False
        ).encode()
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"what a model states must be JSON, with finite numbers: {error}") from error
    return _to_zip({**members, MANIFEST: manifest})


def read_container(blob: bytes, sha256: str | None, max_bytes: int) -> tuple[bytes, dict[str, bytes]]:
    """Return a blob's manifest, as JSON, and its other members by name, once all is verified.

    Args:
        sha256: What the blob is known by, 64 hexadecimal digits, if it is.
        max_bytes: What the blob, and what is in it, may take.

    Raises:
        ArtifactError: Any of it is not as it should be; the message says what.
    """
    if not blob:
        raise refused("it is empty")
    if len(blob) > max_bytes:
        raise too_large(len(blob), max_bytes)
    if sha256 is not None and _hash(blob) != sha256:
        raise refused(f"its SHA-256 is not {sha256[:12]}..., so it has changed since it was written")
    with _opened(blob) as archive:
        infos = archive.infolist()
        _check_list(infos, max_bytes)
        manifest = _read_manifest(archive, infos)
        listed = _members_of(manifest)
        _check_members(infos, listed)
        members = {info.filename: archive.read(info) for info in infos}
    if broken := sorted(name for name, said in listed.items() if _hash(members[name]) != said["sha256"]):
        raise refused(f"{broken[0]} is not what the manifest says that it is")
    if _to_zip(members) != blob:
        raise refused("it was put together by something else than Chandler, or has changed since")
    del members[MANIFEST]
    return manifest, members


def too_large(size: int, max_bytes: int) -> ArtifactError:
    """Return the error for a model that takes more than the settings allow."""
    return ArtifactError(
        f"a model of {size / 1e6:,.1f} MB is neither written nor read, the limit is {max_bytes / 1e6:,.1f} MB; "
        "raise max_artifact_mb in [models]"
    )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _to_zip(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, members[name])
    return stream.getvalue()


@contextmanager
def _opened(blob: bytes) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose end says that it is whole and that its list is short."""
    if len(blob) < _END.size:
        raise refused("it is no zip, or cut off")
    magic, disk, first_disk, here, count, size, start, comment = _END.unpack(blob[-_END.size :])
    if magic != b"PK\5\6" or disk or first_disk or comment:
        raise refused("it is no zip, or cut off")
    if here != count or count > _MOST_MEMBERS:
        raise refused(f"it lists {count:,} parts, and a model has no more than {_MOST_MEMBERS}")
    if start + size + _END.size != len(blob):
        raise refused("its list does not lie where its end says")
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            yield archive
    except _BROKEN as error:
        raise refused(f"it cannot be unpacked ({error})") from error


def _check_list(infos: Sequence[zipfile.ZipInfo], max_bytes: int) -> None:
    """Refuse what could do harm when it is read, whatever version wrote it."""
    names = [info.orig_filename for info in infos]
    if strange := [name for name in names if not _SAFE_NAME.fullmatch(name)]:
        raise refused(f"it holds {strange[0]!r}, a path that leads elsewhere or none that Chandler writes")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise refused(f"it holds {twice[0]} twice")
    for info in infos:
        if info.flag_bits & 1:
            raise refused(f"{info.filename} is encrypted")
        if not stat.S_ISREG(info.external_attr >> 16):
            raise refused(f"{info.filename} is no plain file")
    if (total := sum(info.file_size for info in infos)) > max_bytes:
        raise refused(f"it says that it unpacks to {total / 1e6:,.1f} MB, and {max_bytes / 1e6:,.1f} MB is the limit")


def _read_manifest(archive: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo]) -> bytes:
    if MANIFEST not in {info.filename for info in infos}:
        raise refused(f"it has no {MANIFEST}")
    with archive.open(MANIFEST) as file:
        manifest = file.read(_MOST_MANIFEST_BYTES + 1)
    if len(manifest) > _MOST_MANIFEST_BYTES:
        raise refused(f"its {MANIFEST} is longer than any that Chandler writes")
    return manifest


def _members_of(manifest: bytes) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of the other members, if it is of this version."""
    try:
        facts = json.loads(manifest)
        version, listed = facts["format"], facts["members"]
        if not all(isinstance(said["bytes"], int) and isinstance(said["sha256"], str) for said in listed.values()):
            raise refused(f"its {MANIFEST} does not say what its parts are")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise refused(f"its {MANIFEST} cannot be read") from error
    if not isinstance(version, int) or version < FORMAT:
        raise refused(f"it is of format {version}, older than this Chandler reads", "train again")
    if version > FORMAT:
        raise refused(f"it is of format {version}, newer than this Chandler knows", "update Chandler, or train again")
    return dict(listed)


def _check_members(infos: Sequence[zipfile.ZipInfo], listed: Mapping[str, Mapping[str, Any]]) -> None:
    names = {info.filename for info in infos} - {MANIFEST}
    if strange := sorted(name for name in names if not _NAME.fullmatch(name)):
        raise refused(f"it holds {strange[0]!r}, which is no part of a model: these are numbers, JSON and a graph")
    if differing := sorted(names ^ set(listed)):
        raise refused(f"{differing[0]} is in the list of its {MANIFEST} or in the blob, and not in both")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise refused(f"{info.filename} is compressed, which Chandler never does")
        if info.filename in listed and info.file_size != listed[info.filename]["bytes"]:
            raise refused(f"{info.filename} is not as long as its {MANIFEST} says")
