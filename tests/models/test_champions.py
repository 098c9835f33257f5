"""The model in use, and its successor when the champion cannot judge: loading, rolling back, promoting, retention."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from etl.errors import ArtifactError, ConfigError
from etl.learning import Learning
from etl.series import Series
from etl.warehouse import Warehouse
from models.artifact import pack
from models.registry import (
    Model,
    State,
    champions,
    decide,
    find_model,
    import_blob,
    list_models,
    load_champion,
    promote,
    prune,
    read_changes,
    read_report,
    roll_back,
)
from models.scorers.scorer import Parts
from tests.models.artifacts import LIMIT, TWO, made_artifact
from tests.models.drafts import ALL_1M, crown, drafts_of, spoil, statements_of, states_of

BTC, ETH = TWO
LEARNING = Learning(max_artifact_mb=LIMIT / 1e6)


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be a new process, as far as what was loaded goes."""
    monkeypatch.setattr(champions, "_cache", champions._Cache(LIMIT))


def _roll_back(warehouse: Warehouse) -> Model:
    with warehouse.begin() as connection:
        return roll_back(connection, ALL_1M, reason="it cries wolf", run="me", max_bytes=LIMIT)


def test_a_champion_is_loaded_once_and_a_new_one_at_once(warehouse: Warehouse) -> None:
    """A model is read once in a process, and one that was promoted meanwhile judges the next time."""
    first = crown(warehouse, 1)
    loaded = load_champion(warehouse, BTC, LEARNING)
    assert loaded is not None
    assert loaded.model == first
    with statements_of(warehouse) as asked:
        again = load_champion(warehouse, ETH, LEARNING)
    assert again is not None
    assert again.artifact is loaded.artifact
    assert not any("substring" in one for one in asked)
    second = crown(warehouse, 2)
    now = load_champion(warehouse, BTC, LEARNING)
    assert now is not None
    assert (now.model, now.artifact.data_hash) == (second, f"{2:064x}")


def test_a_series_is_judged_by_its_own_champion_or_by_one_that_knows_it(warehouse: Warehouse) -> None:
    """Its own comes first; a model that has never seen it does not judge it."""
    assert load_champion(warehouse, BTC, LEARNING) is None
    crown(warehouse, 1)
    crown(warehouse, 2, series=[BTC], scope=str(BTC))
    hashes = []
    for series in (BTC, ETH):
        judging = load_champion(warehouse, series, LEARNING)
        assert judging is not None
        hashes.append(judging.artifact.data_hash)
    assert hashes == [f"{2:064x}", f"{1:064x}"]
    assert load_champion(warehouse, Series.parse("kraken:BTC/USD:1m"), LEARNING) is None
    assert load_champion(warehouse, Series.parse("binance:BTC/USDT:5m"), LEARNING) is None


def test_where_a_champion_is_damaged_the_last_good_one_judges(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with its reason, and so is the one before if it is damaged too; with none left, nobody judges."""
    models = [crown(warehouse, seed) for seed in (1, 2, 3)]
    for damaged, judge in ((2, 1), (1, 0), (0, None)):
        spoil(warehouse, models[damaged])
        caplog.clear()
        champions._cache = champions._Cache(LIMIT)
        judging = load_champion(warehouse, BTC, LEARNING)
        assert (None if judging is None else judging.model.version) == (
            None if judge is None else models[judge].version
        )
        assert (
            f"1m/{damaged + 1} cannot judge: the model's blob is refused: that of 1m/{damaged + 1} is not"
            in caplog.text
        )
        assert (judge is None) or f"1m/{judge + 1} judges, which was champion before 1m/3" in caplog.text


def test_a_champion_whose_parts_do_not_fit_its_scorer_does_not_judge(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Though its blob is sound: the one before judges, and neither a person nor a file brings such a model in."""
    crown(warehouse, 1)
    broken = crown(warehouse, 2, parts=Parts({"few": np.zeros(3)}))
    judging = load_champion(warehouse, BTC, LEARNING)
    assert judging is not None
    assert judging.model.name == "1m/1"
    assert "1m/2 cannot judge" in caplog.text
    crown(warehouse, 3)
    (tmp_path / "model.zip").write_bytes(pack(made_artifact(4, parts=Parts({"few": np.zeros(3)}))))
    with pytest.raises(ArtifactError), warehouse.begin() as connection:
        promote(connection, broken, reason="", run="me", max_bytes=LIMIT)
    with pytest.raises(ArtifactError), warehouse.begin() as connection:
        import_blob(connection, tmp_path / "model.zip", run="me", max_bytes=LIMIT)
    assert states_of(warehouse) == [State.RETIRED, State.RETIRED, State.CHAMPION]


def test_little_used_models_leave_the_cache_first() -> None:
    """It holds no more than its share of memory, and always the one that was loaded last."""
    cache = champions._Cache(100)
    one, two, three = (made_artifact(seed) for seed in (1, 2, 3))
    cache.put("one", one, 50)
    cache.put("two", two, 50)
    assert cache.get("one") is one
    cache.put("three", three, 40)
    assert (cache.get("one"), cache.get("two"), cache.get("three")) == (one, None, three)
    cache.put("two", two, 500)
    assert (cache.get("one"), cache.get("two")) == (None, two)


def test_rolling_back_goes_from_champion_to_champion(warehouse: Warehouse) -> None:
    """Each time to the one before, never to what was rolled back, and past what is damaged; until there is none."""
    for seed in (1, 2, 3, 4):
        crown(warehouse, seed)
    with warehouse.begin() as connection:
        second = find_model(connection, "1m/2")
    spoil(warehouse, second)
    assert _roll_back(warehouse).name == "1m/3"
    assert states_of(warehouse)[2:] == [State.CHAMPION, State.REJECTED]
    again = _roll_back(warehouse)
    assert (again.name, again.reason) == ("1m/1", "rolled back from 1m/3: it cries wolf")
    with pytest.raises(ConfigError, match="no champion before 1m/1 has a blob that can be used"):
        _roll_back(warehouse)
    assert states_of(warehouse) == [State.CHAMPION, State.RETIRED, State.REJECTED, State.REJECTED]
    assert crown(warehouse, 5).name == "1m/5"
    assert _roll_back(warehouse).name == "1m/1", "which was champion before it, though others were registered since"


def test_who_was_champion_last_counts_and_not_who_was_trained_last(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that a person brought back was champion after newer ones: it is gone back to, kept, and judges."""
    first = crown(warehouse, 1)
    crown(warehouse, 2)
    with warehouse.begin() as connection:
        promote(connection, first, reason="calmer", run="me", max_bytes=LIMIT)
    spoil(warehouse, crown(warehouse, 3))
    judging = load_champion(warehouse, BTC, LEARNING)
    assert judging is not None
    assert judging.model.name == "1m/1"
    with warehouse.begin() as connection:
        prune(connection, timedelta(0), datetime.now(UTC) + timedelta(days=1))
        assert [model.has_blob for model in list_models(connection)] == [True, False, True]
    assert _roll_back(warehouse).name == "1m/1"


def test_there_must_be_a_champion_to_roll_back_from(warehouse: Warehouse) -> None:
    """Else it is said."""
    with pytest.raises(ConfigError, match="1m has no champion"):
        _roll_back(warehouse)


def test_a_person_may_promote_any_sound_model(warehouse: Warehouse) -> None:
    """The one before is retired; what is damaged, dropped, or champion already is not promoted, and all stays."""
    first = crown(warehouse, 1)
    rejected, damaged = decide(
        warehouse,
        drafts_of(2, 3, states=(State.REJECTED, State.REJECTED)),
        against=first,
        run="night",
        max_bytes=LIMIT,
        environment={},
    )
    spoil(warehouse, damaged)
    with warehouse.begin() as connection:
        now = promote(connection, rejected, reason="calmer", run="me", max_bytes=LIMIT)
    assert (now.state, now.reason) == (State.CHAMPION, "calmer")
    for model, error, reason in (
        (now, ConfigError, "1m/2 is champion already"),
        (damaged, ArtifactError, "not what was written"),
    ):
        with pytest.raises(error, match=reason), warehouse.begin() as connection:
            promote(connection, model, reason="", run="me", max_bytes=LIMIT)
    assert states_of(warehouse) == [State.RETIRED, State.CHAMPION, State.REJECTED]


def test_retention_drops_blobs_but_never_what_may_have_to_judge(warehouse: Warehouse) -> None:
    """Champion, candidate and the last good champion keep theirs, whatever their age; what is said of all stays."""
    for seed in (1, 2, 3, 4):
        crown(warehouse, seed)
    decide(
        warehouse,
        drafts_of(5, 6, states=(State.REJECTED, State.CANDIDATE)),
        against=None,
        run="night",
        max_bytes=LIMIT,
        environment={},
    )
    with warehouse.begin() as connection:
        damaged = find_model(connection, "1m/3")
    spoil(warehouse, damaged)
    keep, now = timedelta(days=90), datetime.now(UTC)
    with warehouse.begin() as connection:
        assert prune(connection, keep, now) == 0
        assert prune(connection, keep, now + timedelta(days=91)) == 3
        assert prune(connection, keep, now + timedelta(days=91)) == 0
        has_blob = [model.has_blob for model in reversed(list_models(connection))]
        old = find_model(connection, "1m/1")
        assert (old.metrics, old.has_report, len(read_changes(connection, old))) == ({"vus_pr": 0.5}, False, 2)
        assert read_report(connection, old.id) is None
    assert has_blob == [False, True, False, True, False, True]
    with pytest.raises(ArtifactError, match="1m/1 is not kept any more"), warehouse.begin() as connection:
        promote(connection, old, reason="", run="me", max_bytes=LIMIT)
    assert _roll_back(warehouse).name == "1m/2"
