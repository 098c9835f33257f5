"""The worked examples of docs/guides/adding.md, put where the guide says that they belong."""

from __future__ import annotations

import copy
from enum import IntFlag
from typing import Any

import numpy as np
import pytest

from etl.rules import Rules
from etl.schema import Flag, from_columns, to_columns
from etl.series import TimeRange
from etl.timeframe import Timeframe
from etl.validate import FLAGGING, Level, Rule, flag_candles, flags
from models import kinds
from models.blocks import BLOCK
from models.describing import describe
from tests.conftest import REPOSITORY
from tests.guides.blocks import read_blocks
from tests.markets import DAYS, candles_over
from tests.models.scenes import market, scene, shift
from tests.models.test_scorers import lessons, rows


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """Return the names that the guide's blocks of Python define; what they read from stores is left out."""
    guide = REPOSITORY / "docs" / "guides" / "adding.md"
    names: dict[str, Any] = {}
    for block in read_blocks(guide):
        if block.language == "python":
            exec(block.body.partition("\ncandles = ")[0], names)  # noqa: S102  # the guide is our own
    return names


def test_the_rule_flags_what_it_says(shown: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a line of FLAGGING, with a bit in Flag, it flags one candle of a day and leaves the others alone."""
    more = IntFlag("Flag", {**{flag.name or "": flag.value for flag in Flag}, "STUCK_CLOSE": 8192})
    monkeypatch.setattr(flags, "Flag", more)
    monkeypatch.setattr(flags, "FLAGGING", (*FLAGGING, Rule("stuck_close", Level.FLAG, shown["is_stuck_close"])))
    columns = to_columns(candles_over(TimeRange(DAYS.start, DAYS.end)))
    columns["close"][200] = columns["open"][200]
    found = flag_candles(from_columns(columns), Timeframe.M1, Rules())
    assert np.flatnonzero(found & 8192).tolist() == [200]


def test_the_scorer_keeps_the_contract(shown: dict[str, Any]) -> None:
    """It judges wide candles as strange, by nothing that comes later."""
    scorer = shown["SCORER"]
    judge = scorer.load(scorer.fit(lessons(), shown["Study"]()))
    batch = rows(4, 3)
    changed = copy.deepcopy(batch)
    changed[0, -1, shown["FEATURES"].index("range")] += 50
    before, after = judge(batch), judge(changed)
    assert before.shape == (len(batch), BLOCK, 1)
    assert after[0, -1, 0] > before[0, -1, 0] + 40
    np.testing.assert_array_equal(before[0, :-1], after[0, :-1])
    np.testing.assert_array_equal(before[1:], after[1:])


def test_the_kind_names_an_incident(shown: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """First of KINDS, it gives its name to a price that doubled, and says by how much; a calm one keeps its own."""
    monkeypatch.setattr(kinds, "KINDS", (shown["doubled"], *kinds.KINDS))
    told = describe(scene(shift(market(), 1.5)))
    assert told.kind is shown["Kind"].DATA_FAULT
    assert "2.5 times" in told.evidence.fired[0].why
    assert describe(scene(shift(market(), 0.05))).kind is not shown["Kind"].DATA_FAULT
