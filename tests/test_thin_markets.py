"""Thin markets: flags look back as far as the last candles are, and yet do not depend on how they were loaded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from etl.audit import audit, is_sound
from etl.ingest import clean_pages, load
from etl.keeping import Keep
from etl.read import read_candles as read
from etl.retention import retire_candles
from etl.rules import Rules
from etl.schema import RULE_FLAGS, Flag, to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe
from etl.warehouse import known_series, read_candles, read_quality
from tests.markets import kline, put_pages

SERIES = Series("binance", "THIN/USDT", Timeframe.M30)
SLOT_MS = SERIES.timeframe.ms
WHOLE = TimeRange(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC))
# Half of all that trades is strange, so that a candle too few in what is looked back at shows.
STRICT = Rules(
    lookback=20,
    lookback_slots=600,
    price_limit=1,
    price_floor_pct=0.001,
    volume_limit=1,
    volume_floor=1,
    zero_volume_after=5,
    frozen_after=4,
)
CUTS = (0, 11, 12, 40, 41, 43, 90, 121)  # days


def _rows() -> list[list[Any]]:
    """Return candles in every twelfth slot or so, some of which did not trade, and a month of none at all."""
    random = np.random.default_rng(7)
    rows = []
    for slot in np.flatnonzero(random.random(WHOLE.count(SERIES.timeframe)) < 1 / 12):
        if 43 * 48 <= slot < 75 * 48:
            continue
        price, wick = 100 * np.exp(random.normal() * 0.01), 1 + abs(random.normal()) * 0.05
        volume = 0 if random.random() < 0.2 else random.lognormal()
        rows.append(
            kline(WHOLE.start_ms + int(slot) * SLOT_MS, price, high=f"{price * wick * 1.01}", volume=f"{volume}")
        )
    return rows


ROWS = _rows()


def _load(stores: Stores, span: TimeRange) -> None:
    put_pages(stores.raw, SERIES, span, [row for row in ROWS if span.start_ms <= row[0] < span.end_ms])
    clean_pages(stores, Partition(SERIES, span))
    load(stores, Partition(SERIES, span), "test")


def _flags(stores: Stores) -> dict[int, int]:
    with stores.warehouse.begin() as connection:
        columns = to_columns(read_candles(connection, known_series(connection)[SERIES], WHOLE))
    return dict(zip(columns["open_time"].tolist(), columns["flags"].tolist(), strict=True))


def _forget(stores: Stores) -> None:
    with stores.warehouse.begin() as connection:
        connection.execute(text("TRUNCATE candles, candle_revisions, checkpoints, absences, loads, quality"))
    for file in stores.archive.files(SERIES):
        stores.archive.set_aside(file)


@pytest.fixture
def strict(stores: Stores) -> Stores:
    """Return stores whose rules look back at few candles, and find half of all that trades strange."""
    return replace(stores, settings=stores.settings.model_copy(update={"rules": STRICT}))


def test_flags_do_not_depend_on_the_order_of_loads(strict: Stores) -> None:
    """Pieces in any order give what one load does, in both stores, in the account and when read as of now."""
    _load(strict, WHOLE)
    whole = _flags(strict)
    assert is_sound(audit(strict, [SERIES]))
    judged = sum(bits & Flag.UNJUDGED == 0 for bits in whole.values())
    assert judged > 0.7 * len(whole)
    assert sum(bits & RULE_FLAGS != 0 for bits in whole.values()) > 0.3 * judged
    pieces = [
        TimeRange(WHOLE.start + timedelta(days=first), WHOLE.start + timedelta(days=end))
        for first, end in zip(CUTS, CUTS[1:], strict=False)
    ]
    for seed in range(2):
        _forget(strict)
        for number in np.random.default_rng(seed).permutation(len(pieces)):
            _load(strict, pieces[number])
        assert _flags(strict) == whole
        assert is_sound(audit(strict, [SERIES])), "the archive has the same, and what is counted by day is true"
    with strict.warehouse.begin() as connection:
        days = read_quality(connection, known_series(connection)[SERIES]).values()
    assert sum(day.unjudged for day in days) == sum(bits & Flag.UNJUDGED != 0 for bits in whole.values()) == 20
    later = TimeRange(WHOLE.start + timedelta(days=100), WHOLE.end)
    now = to_columns(read(SERIES, later, as_of=datetime.now(UTC) + timedelta(days=1), settings=strict.settings))
    assert now["flags"].tolist() == [bits for at, bits in whole.items() if at >= later.start_ms]


def test_what_is_looked_back_at_may_have_left_the_warehouse(strict: Stores) -> None:
    """Candles that the archive alone keeps still count for those after them, and come back to be flagged otherwise."""
    _load(strict, WHOLE)
    whole = _flags(strict)
    _forget(strict)
    days = [TimeRange(WHOLE.start + timedelta(days=n), WHOLE.start + timedelta(days=n + 1)) for n in range(121)]
    early, middle, late = days[:18], days[18:20], days[20:43]
    for span in (*early, *late):
        _load(strict, span)
    keeping = replace(strict, settings=strict.settings.model_copy(update={"keep": Keep(warehouse=timedelta(days=30))}))
    retire_candles(keeping, late[15].start + timedelta(days=30))
    assert is_sound(audit(strict, [SERIES]))
    for span in (middle[1], middle[0], days[43]):
        _load(strict, span)
    found = _flags(strict)
    assert found == {at: bits for at, bits in whole.items() if at in found}
    assert min(found) >= middle[0].start_ms, "what lies before is looked at where it is"
    assert is_sound(audit(strict, [SERIES]))
