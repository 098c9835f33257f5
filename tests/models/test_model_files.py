"""Blobs in the warehouse and in files: read in pieces, never too large, and what was written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from etl.errors import ArtifactError, ConfigError
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.warehouse import Warehouse
from models.artifact import pack, unpack
from models.features import to_track
from models.fitting import fit
from models.registry import (
    State,
    export_blob,
    import_blob,
    read_artifact,
    read_blob,
    register,
)
from models.scorers.scorer import Parts, Study
from models.scoring import score_track
from models.targets import ALL
from tests.models.artifacts import LIMIT, TWO, made_artifact
from tests.models.drafts import crown, drafts_of, spoil, statements_of, states_of
from tests.models.made_up import START_MS, walk


def test_a_blob_is_read_in_pieces_and_only_if_it_is_small_enough(warehouse: Warehouse) -> None:
    """A megabyte at a time; of one that is too large nothing is read, and nothing is written."""
    weights = np.random.default_rng(1).random(320_000)
    draft = replace(drafts_of(1)[0], artifact=made_artifact(1, parts=Parts({"weights": weights})))
    with warehouse.begin() as connection:
        model = register(connection, draft, run="night", max_bytes=LIMIT)
        storage = (
            "SELECT attname, attstorage FROM pg_attribute WHERE attrelid = 'models'::regclass AND attstorage = 'e'"
        )
        assert {name for name, _ in connection.exec_driver_sql(storage)} == {"artifact", "report"}
    with statements_of(warehouse) as asked, warehouse.begin() as connection:
        blob = read_blob(connection, model, LIMIT)
    assert blob == pack(draft.artifact)
    assert sum("substring" in one for one in asked) == 3
    with (
        statements_of(warehouse) as asked,
        pytest.raises(ArtifactError, match="2.6 MB is neither written nor read, the limit is 2.0 MB"),
        warehouse.begin() as connection,
    ):
        read_artifact(connection, model, 2_000_000)
    assert not any("substring" in one for one in asked)
    with pytest.raises(ArtifactError, match="neither written nor read"), warehouse.begin() as connection:
        register(connection, draft, run="night", max_bytes=2_000_000)
    assert len(states_of(warehouse)) == 1


def test_what_json_cannot_say_of_a_night_is_null(warehouse: Warehouse) -> None:
    """A metric that is no number does not cost the night."""
    metrics = {"f1": math.nan, "curve": ((1, math.inf),), "name": "lstm", "count": 3}
    with warehouse.begin() as connection:
        model = register(connection, replace(drafts_of(1)[0], metrics=metrics), run="night", max_bytes=LIMIT)
    assert model.metrics == {"f1": None, "curve": [[1, None]], "name": "lstm", "count": 3}


def test_a_model_goes_through_a_file(warehouse: Warehouse, tmp_path: Path) -> None:
    """It comes back as a candidate that judges nothing, byte for byte; once more, it is the one that is there."""
    model, path = crown(warehouse, 1), tmp_path / "deep" / "model.zip"
    with warehouse.begin() as connection:
        export_blob(connection, model, path, LIMIT)
        assert import_blob(connection, path, run="me", max_bytes=LIMIT) == model
    path.write_bytes(pack(made_artifact(2)))
    with warehouse.begin() as connection:
        imported = import_blob(connection, path, run="me", max_bytes=LIMIT)
        assert (imported.name, imported.state, imported.reason) == ("1m/2", State.CANDIDATE, "imported from model.zip")
        assert read_blob(connection, imported, LIMIT) == path.read_bytes()
        assert import_blob(connection, path, run="me", max_bytes=LIMIT) == imported
    assert states_of(warehouse) == [State.CHAMPION, State.CANDIDATE]


@pytest.mark.parametrize(
    ("put", "error", "reason"),
    [
        (lambda path: None, ConfigError, "cannot be read .No such file"),
        (lambda path: path.write_bytes(b"x" * 100), ArtifactError, "no zip, or cut off"),
        (lambda path: path.write_bytes(bytes(LIMIT + 1)), ArtifactError, "neither written nor read"),
    ],
)
def test_a_file_that_is_no_model_is_not_imported(
    put: Callable[[Path], object], error: type[Exception], reason: str, warehouse: Warehouse, tmp_path: Path
) -> None:
    """Nothing of it is registered."""
    put(tmp_path / "model.zip")
    with pytest.raises(error, match=reason), warehouse.begin() as connection:
        import_blob(connection, tmp_path / "model.zip", run="me", max_bytes=LIMIT)
    assert not states_of(warehouse)


def test_what_is_damaged_is_not_exported(warehouse: Warehouse, tmp_path: Path) -> None:
    """No file is written."""
    model = crown(warehouse, 1)
    spoil(warehouse, model)
    with pytest.raises(ArtifactError, match="not what was written"), warehouse.begin() as connection:
        export_blob(connection, model, tmp_path / "model.zip", LIMIT)
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize("scorer", ["seasonal_z", "sub_pca"])
def test_a_model_that_went_through_a_blob_gives_the_same_scores(scorer: str) -> None:
    """Every score of every channel, bit for bit, and the same threshold."""
    track = to_track(walk(4000, missing=0.05), Timeframe.M1, TimeRange.from_ms(START_MS, START_MS + 4000 * 60_000))
    ranges = [TimeRange.from_ms(START_MS + a * 60_000, START_MS + b * 60_000) for a, b in ((0, 2500), (2500, 4000))]
    facts = {"scope": ALL, "as_of": ranges[1].end, "data_hash": "0" * 64, "budget": 1.0}
    model = fit(scorer, Timeframe.M1, {TWO[0]: track}, *ranges, Study(), **facts)
    one, other = (score_track(track, each, TWO[0], ranges[1]) for each in (model, unpack(pack(model), max_bytes=LIMIT)))
    assert one.by_channel.tobytes() == other.by_channel.tobytes()
    assert one.joined.tobytes() == other.joined.tobytes()
    assert one.threshold == other.threshold
