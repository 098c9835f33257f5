"""A model as a blob: it comes back bit for bit, or is refused with the reason."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from etl.errors import ArtifactError
from etl.series import Series
from models.artifact import Artifact, pack, unpack
from models.container import MANIFEST, write_container
from models.features import Norm
from models.scorers.scorer import Parts
from tests.models.artifacts import LIMIT, TWO, made_artifact

BLOB = pack(made_artifact(parts=Parts({"weights": np.arange(6.0).reshape(2, 3)}, {"rounds": 3}, b"a graph")))
WEIGHTS = "numbers/weights.npy"
Members = dict[str, bytes]


def _members(blob: bytes = BLOB) -> Members:
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zipped(members: Members, method: int = zipfile.ZIP_STORED, **says: Any) -> bytes:
    """Return a zip of members; of the weights its list says what `says` says."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.compress_type = 3, (stat.S_IFREG | 0o644) << 16, method
            archive.writestr(info, members[name])
        for name, value in says.items():
            setattr(archive.getinfo(WEIGHTS), name, value)
    return stream.getvalue()


def _with(name: str, content: bytes) -> Callable[[], bytes]:
    return lambda: _zipped(_members() | {name: content})


def _stating(**facts: Any) -> Callable[[], bytes]:
    """Return what makes a blob whose manifest states something else, and which is sound but for that."""
    return lambda: _zipped(_members() | {MANIFEST: _manifest(_members(), **facts)})


def _manifest(members: Members, **facts: Any) -> bytes:
    return json.dumps(json.loads(members[MANIFEST]) | facts, sort_keys=True, indent=1).encode()


def _holding(name: str, content: bytes) -> Callable[[], bytes]:
    """Return what makes a blob in which a part is another, and the manifest agrees."""

    def make() -> bytes:
        members = _members() | {name: content}
        facts = json.loads(members.pop(MANIFEST))
        return write_container({key: facts[key] for key in facts.keys() - {"members", "format"}}, members)

    return make


def _npy(array: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def _bomb(says: int) -> bytes:
    """Return a few kB that unpack to 10 MB, of which the list says `says`."""
    return _zipped(_members() | {WEIGHTS: bytes(10_000_000)}, zipfile.ZIP_DEFLATED, file_size=says)


def _twice() -> bytes:
    stream = io.BytesIO(BLOB)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(zipfile.ZipInfo(WEIGHTS), b"")
    return stream.getvalue()


def _npy_that_lies() -> bytes:
    content = _members()[WEIGHTS]
    assert b"(2, 3)" in content
    return content.replace(b"(2, 3)", b"(2, 9)")


def _same(one: Any, other: Any) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


NAMES = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
NUMBERS = arrays.arrays(
    st.sampled_from(["f4", "f8", "f2", "i8", "i4", "u1", "i2", "?"]), arrays.array_shapes(min_dims=0, min_side=0)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(
    numbers=st.dictionaries(NAMES, NUMBERS, max_size=4),
    facts=st.dictionaries(st.text(), JSON, max_size=3),
    graph=st.none() | st.binary(),
    seed=st.integers(0, 99),
)
def test_what_was_packed_comes_back_bit_for_bit(
    numbers: dict[str, Any], facts: dict[str, Any], graph: bytes | None, seed: int
) -> None:
    """Numbers keep type, shape and every bit, NaN and infinity included; and packed again they give the same blob."""
    artifact = made_artifact(seed, parts=Parts(numbers, facts, graph))
    blob = pack(artifact)
    back = unpack(blob, hashlib.sha256(blob).hexdigest(), max_bytes=LIMIT)
    assert (back.parts.facts, back.parts.graph) == (facts, graph)
    assert back.parts.numbers.keys() == numbers.keys()
    assert all(_same(back.parts.numbers[name], numbers[name]) for name in numbers)
    for series in TWO:
        norm, calibration = artifact.norms[series], artifact.calibrations[series]
        for name in ("centre", "scale", "floor", "usual", "tick", "lately"):
            assert _same(getattr(back.norms[series], name), getattr(norm, name))
        for name in ("knots", "tails", "cut"):
            assert _same(getattr(back.calibrations[series], name), getattr(calibration, name))
    for name in ("scorer", "timeframe", "scope", "learned", "held_out", "as_of", "data_hash", "budget"):
        assert getattr(back, name) == getattr(artifact, name)
    assert pack(back) == blob


def test_equal_models_give_equal_bytes() -> None:
    """Neither the order of names nor the clock nor the machine is in a blob."""
    artifact = made_artifact()
    turned = replace(
        artifact,
        parts=Parts(dict(reversed(artifact.parts.numbers.items())), artifact.parts.facts),
        norms=dict(reversed(artifact.norms.items())),
    )
    assert pack(turned) == pack(artifact)
    written = hashlib.sha256(write_container({"a": 1.5}, {"graph.onnx": b"graph", WEIGHTS: b"numbers"}))
    assert written.hexdigest() == "fe307f20ec05c057528a54a5c315084526f71db5edb8de9497095f834dc2552a"


@settings(max_examples=300)
@given(place=st.integers(0, len(BLOB) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(place: int, bit: int) -> None:
    """Wherever it is, the blob is refused, also by who does not know its hash; it says why and what to do."""
    broken = bytearray(BLOB)
    broken[place] ^= 1 << bit
    with pytest.raises(ArtifactError, match="the model's blob is refused: .*; .*"):
        unpack(bytes(broken), max_bytes=LIMIT)
    with pytest.raises(ArtifactError, match="has changed since it was written"):
        unpack(bytes(broken), hashlib.sha256(BLOB).hexdigest(), max_bytes=LIMIT)


@settings(max_examples=50)
@given(length=st.integers(1, len(BLOB) - 1))
def test_a_blob_that_is_cut_off_is_found(length: int) -> None:
    """Wherever it ends."""
    with pytest.raises(ArtifactError, match="cut off|list does not lie"):
        unpack(BLOB[:length], max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: b"", "it is empty"),
        (lambda: b"a page of text\n" * 10, "no zip, or cut off"),
        (lambda: BLOB + b"more", "no zip, or cut off"),
        (lambda: b"more" + BLOB, "list does not lie where its end says"),
        (lambda: bytes(LIMIT + 1), "5.0 MB is neither written nor read, .* raise max_artifact_mb"),
        (lambda: _bomb(10_000_000), "it says that it unpacks to 10.0 MB, and 5.0 MB is the limit"),
        (lambda: _bomb(144), "graph.onnx is compressed, which Chandler never does"),
        (lambda: _zipped({f"numbers/n{number}.npy": b"" for number in range(300)}), "it lists 300 parts"),
        (_with("../evil.npy", b""), "'../evil.npy', a path that leads elsewhere"),
        (_with("/etc/passwd", b""), "'/etc/passwd', a path that leads elsewhere"),
        (_with("numbers/../../evil.npy", b""), "a path that leads elsewhere"),
        (_with("numbers\\evil.npy", b""), "a path that leads elsewhere"),
        (_with("C:/evil.npy", b""), "a path that leads elsewhere"),
        (_with("numbers/", b""), "a path that leads elsewhere"),
        (_with("numbers/evil.pkl", pickle.dumps({})), "'numbers/evil.pkl', which is no part of a model"),
        (_with("models.py", b"import os"), "'models.py', which is no part of a model"),
        (_with("numbers/more.npy", b""), "numbers/more.npy is in the list .* or in the blob, and not in both"),
        (lambda: _zipped({n: c for n, c in _members().items() if n != WEIGHTS}), "and not in both"),
        (lambda: _zipped({n: c for n, c in _members().items() if n != MANIFEST}), "it has no manifest.json"),
        (_twice, f"it holds {WEIGHTS} twice"),
        (lambda: _zipped(_members(), flag_bits=1), f"{WEIGHTS} is encrypted"),
        (lambda: _zipped(_members(), external_attr=(stat.S_IFLNK | 0o777) << 16), f"{WEIGHTS} is no plain file"),
        (lambda: _zipped(_members(), date_time=(2024, 1, 1, 0, 0, 0)), "put together by something else"),
        (_with(WEIGHTS, _npy(np.zeros(7))), f"{WEIGHTS} is not as long as"),
        (_with(WEIGHTS, _npy(np.zeros((2, 3)))), f"{WEIGHTS} is not what the manifest says"),
        (_with(MANIFEST, b"{"), "its manifest.json cannot be read"),
        (_with(MANIFEST, b"[" * 100_000), "its manifest.json cannot be read"),
        (_with(MANIFEST, b" " * 4_100_000), "manifest.json is longer"),
        (_stating(format=2), "of format 2, newer than this Chandler knows; update Chandler"),
        (_stating(format=0), "of format 0, older than this Chandler reads; train again"),
        (_stating(features=["return"]), "other features than this Chandler computes; train again"),
        (_stating(rows={"block": 128, "context": 256, "reach": 60}), "rows of another length; train again"),
        (_stating(scorer="oracle"), "no scorer is called 'oracle' here; update Chandler"),
        (_stating(channels=["return"]), "seasonal_z judges by other channels by now; train again"),
        (_stating(budget="much"), "its manifest makes no sense"),
        (_stating(extra=1), "its manifest makes no sense"),
        (_stating(learned=["2024-01-02T00:00:00Z", "2024-01-01T00:00:00Z"]), "makes no sense .*start < end"),
        (_stating(series=["binance:../etc:1m"]), "its manifest makes no sense .*no symbol"),
        (_stating(series=["binance:BTC/USDT:1m"]), "centre is float64 .*not float64"),
        (_stating(series=[str(one) for one in reversed(TWO)]), "no series, or not in their order"),
        (_stating(timeframe="5m"), "it is for candles of 5m, and has numbers for other series"),
        (_stating(scope="binance:XRP/USDT:1m"), "it is for binance:XRP/USDT:1m, and has numbers for other"),
        (_holding(WEIGHTS, _npy(np.array([{}]))), "holds pickled objects"),
        (_holding(WEIGHTS, _npy(np.array(["a"]))), "plain numbers only"),
        (_holding(WEIGHTS, _npy(np.zeros(2, [("a", "f4")]))), "plain numbers only"),
        (_holding(WEIGHTS, _npy(np.zeros((2, 3), order="F"))), "not in C order"),
        (_holding(WEIGHTS, pickle.dumps({})), "no array of numbers"),
        (_holding(WEIGHTS, b""), "no array of numbers"),
        (_holding(WEIGHTS, _npy_that_lies()), "not as long as its shape says"),
        (_holding("series/cut.npy", _npy(np.zeros(2, np.float32))), "cut is float32 .*, not float64"),
        (_holding("series/cut.npy", _npy(np.full(2, np.nan))), "cut holds what is no number"),
        (_holding("series/floor.npy", _npy(np.zeros((2, 3)))), "scale or floor is not above zero"),
        (_holding("series/centre.npy", _npy(np.full((2, 10), np.inf))), "centre holds what is no finite number"),
        (_holding("series/tick.npy", _npy(np.array([-0.01, 0.0]))), "tick is below zero, or zero everywhere"),
        (_holding("series/tick.npy", _npy(np.zeros(2))), "tick is below zero, or zero everywhere"),
        (_holding("series/lately.npy", _npy(np.full((2, 8), -1.0))), "lately is below zero, or zero everywhere"),
        (_holding("series/lately.npy", _npy(np.ones((2, 3)))), r"lately is float64 \(2, 3\), not float64 \(2, 8\)"),
        (_holding("series/more.npy", _npy(np.zeros(2))), "of each series it has .*more"),
    ],
)
def test_what_is_no_sound_model_is_refused_with_its_reason(make: Callable[[], bytes], reason: str) -> None:
    """Each with what is wrong, and what to do."""
    with pytest.raises(ArtifactError, match=reason):
        unpack(make(), max_bytes=LIMIT)


def test_a_blob_of_another_hash_is_refused() -> None:
    """Sound as it is, it is not the one that was asked for."""
    with pytest.raises(ArtifactError, match="its SHA-256 is not 000000000000"):
        unpack(BLOB, "0" * 64, max_bytes=LIMIT)


def test_nothing_in_a_blob_is_run_and_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A pickle that would write a file does not, wherever it stands; what would grow is not unpacked."""
    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    for content in (pickle.dumps(Evil()), _npy(np.array([Evil()], dtype=object), allow_pickle=True)):
        with pytest.raises(ArtifactError):
            unpack(_holding(WEIGHTS, content)(), max_bytes=LIMIT)
    assert not trace.exists()
    bombs = [_bomb(10_000_000), _bomb(144)]
    tracemalloc.start()
    for bomb in bombs:
        with pytest.raises(ArtifactError):
            unpack(bomb, max_bytes=LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def _swapped(**parts: Any) -> Artifact:
    return made_artifact(parts=Parts(**parts))


@pytest.mark.parametrize(
    ("artifact", "reason"),
    [
        (_swapped(numbers={"evil": np.array([{}])}), "of object, and a model holds plain numbers only"),
        (_swapped(numbers={"../evil": np.zeros(1)}), "no name for a part of a model"),
        (_swapped(facts={"loss": float("nan")}), "must be JSON, with finite numbers"),
        (_swapped(facts={"when": object()}), "must be JSON"),
        (replace(made_artifact(), scorer="oracle"), "no scorer is called 'oracle'"),
        (replace(made_artifact(), calibrations={}), "a norm and a calibration for each of its series"),
        (replace(made_artifact(), scope=str(TWO[0])), "has numbers for other series"),
        (replace(made_artifact(), norms={}, calibrations={}), "it lists no series"),
    ],
)
def test_what_could_not_be_read_is_not_written(artifact: Artifact, reason: str) -> None:
    """A mistake is found when a model is packed, not when it is to judge."""
    with pytest.raises(ArtifactError, match=reason):
        pack(artifact)


def test_norms_that_cannot_normalise_are_not_written() -> None:
    """A scale of zero would make every score infinite."""
    artifact = made_artifact(series=[Series.parse("binance:BTC/USDT:1m")])
    norms = {one: Norm(norm.centre, norm.scale * 0, norm.floor, norm.usual) for one, norm in artifact.norms.items()}
    with pytest.raises(ArtifactError, match="scale or floor is not above zero"):
        pack(replace(artifact, norms=norms))
