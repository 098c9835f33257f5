"""Law 7: what was backfilled, repaired, released or imported is scored and shown, and alerts nobody.

The same crash comes into the stores in every way there is. Each makes an incident of it; the live load alone a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.alerting import Alerting, ChannelSettings, Route
from etl.alerts.addresses import Address
from etl.delivery import deliver
from etl.feeds_file import load_settings
from etl.importing import plan_import, run_import
from etl.ingest import clean_pages, ingest, load
from etl.quarantine import release
from etl.repair import repair
from etl.replay import RecordedMarket, ReplayServer
from etl.schema import to_columns
from etl.series import TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.warehouse import Wanted, Wish, known_series, list_incidents, read_candles, read_quarantine
from models.features import to_track
from models.fitting import fit
from models.registry import Draft, State, decide
from models.rounds import score_loads
from models.scorers.scorer import Study
from models.targets import ALL
from tests.alerts.receivers import WebReceiver, web_receiver
from tests.conftest import BTC
from tests.markets import kline, put_pages
from tests.models.made_up import START_MS, walk

DAY = timedelta(days=1)
START = from_ms(START_MS)
PAST = TimeRange(START, START + 2 * DAY)
TODAY = TimeRange(PAST.end, PAST.end + DAY)
NOW = TODAY.end + timedelta(minutes=5)
AT = 3 * 1440 - 720  # at noon
CRASH = TimeRange.from_ms(START_MS + AT * 60_000, START_MS + (AT + 1) * 60_000)
HOLE = TimeRange(CRASH.start - timedelta(minutes=30), CRASH.end + timedelta(minutes=30))
NAMES = ("open", "high", "low", "close", "volume")


def candles(share: float) -> dict[str, Any]:
    """Return three days, with a crash by that share, on much volume, for a minute at noon of the last."""
    columns = {name: values.copy() for name, values in to_columns(walk(3 * 1440, seed=9)).items()}
    for name in ("low", "close"):
        columns[name][AT] *= 1 - share
    columns["volume"][AT] *= 100
    return columns


def rows(span: TimeRange, share: float = 0.1, **changes: str) -> list[list[Any]]:
    """Return what Binance sends of them; `changes` are the crash's."""
    columns, found = candles(share), []
    for slot in range(3 * 1440):
        at = START_MS + slot * 60_000
        if span.start_ms <= at < span.end_ms:
            values = {name: repr(float(columns[name][slot])) for name in NAMES}
            found.append(kline(at, **{**values, **(changes if slot == AT else {})}))
    return found


def put(stores: Stores, span: TimeRange, what: list[list[Any]], *, is_history: bool = False) -> None:
    """Load rows as a run of a feed does."""
    put_pages(stores.raw, BTC, span, what)
    clean_pages(stores, Partition(BTC, span))
    load(stores, Partition(BTC, span), "run", is_history=is_history)


def by_live_load(stores: Stores, folder: Path) -> None:
    """Bring it as the run of a day does."""
    put(stores, TODAY, rows(TODAY))


def by_backfill(stores: Stores, folder: Path) -> None:
    """Bring it as a backfill does."""
    put(stores, TODAY, rows(TODAY), is_history=True)


def by_import(stores: Stores, folder: Path) -> None:
    """Bring it out of a file."""
    lines = [",".join(map(str, row[:6])) for row in rows(TODAY)]
    (folder / "day.csv").write_text("\n".join(["open_time,open,high,low,close,volume", *lines]), encoding="utf-8")
    list(run_import(stores, plan_import(stores, folder / "day.csv", BTC)))


def by_release(stores: Stores, folder: Path) -> None:
    """Bring it as a row that was refused and that a person releases."""
    put(stores, TODAY, rows(TODAY, high="97.0"))  # below the open: refused
    with stores.warehouse.begin() as connection:
        (refused,) = read_quarantine(connection, Wanted())
    score(stores, NOW)
    release(stores, refused.id, None, "by hand")


def by_repair(stores: Stores, folder: Path) -> None:
    """Bring it as what an outage had kept back, and was asked for again."""
    with _serving(folder / "with_hole", [HOLE], NOW):
        ingest(_reopened(stores), Partition(BTC, TODAY), "run")
    score(stores, NOW)
    later = HOLE.end + timedelta(hours=25)
    with _serving(folder / "whole", [], later):
        assert repair(_reopened(stores), "binance", later, "repair").filled == 61


WAYS: dict[str, tuple[Callable[[Stores, Path], None], datetime, int]] = {
    "a live load": (by_live_load, NOW, 1),
    "a live load that is scored too late": (by_live_load, NOW + timedelta(hours=36), 0),
    "a backfill": (by_backfill, NOW, 0),
    "an import": (by_import, NOW, 0),
    "a released row": (by_release, NOW, 0),
    "a repair": (by_repair, NOW, 0),
}


@pytest.fixture
def hook() -> Iterator[WebReceiver]:
    """Return the address to which every alert is sent."""
    with web_receiver() as receiver:
        yield receiver


@pytest.mark.parametrize("way", WAYS)
def test_history_never_pages(way: str, stores: Stores, tmp_path: Path, hook: WebReceiver) -> None:
    """However the crash came it is an incident; a message there is of the live load alone, and one."""
    bring, now, messages = WAYS[way]
    put(stores, PAST, rows(PAST), is_history=True)
    crown(stores)
    score(stores, PAST.end)
    bring(stores, tmp_path)
    for _ in range(2):
        score(stores, now)
        send(stores, hook)
    with stores.warehouse.begin() as connection:
        found = [one for one in list_incidents(connection, Wish(time_range=CRASH))]
    assert [one.is_history for one in found] == [messages == 0]
    assert len(hook.requests) == messages


def crown(stores: Stores) -> None:
    """Make a model of the past champion."""
    noon = PAST.start + DAY
    with stores.warehouse.begin() as connection:
        stored = read_candles(connection, known_series(connection)[BTC], PAST)
    tracks = {BTC: to_track(stored, Timeframe.M1, PAST)}
    known = {"scope": ALL, "as_of": NOW, "data_hash": "0" * 64}
    artifact = fit(
        "seasonal_z", Timeframe.M1, tracks, TimeRange(PAST.start, noon), TimeRange(noon, PAST.end), Study(),
        budget=1.0, **known,
    )  # fmt: skip
    draft = Draft(artifact, State.CHAMPION, "it is good", {}, "<p>night</p>")
    decide(stores.warehouse, [draft], against=None, run="night", max_bytes=10_000_000, environment={})


def score(stores: Stores, now: datetime) -> None:
    """Score what was loaded."""
    outcome = score_loads(stores.warehouse, stores.settings, Alerting(), BTC, run="score", now=now)
    assert outcome.waiting is None


def send(stores: Stores, hook: WebReceiver) -> None:
    """Send all that there is, to a channel that takes everything."""
    alerting = Alerting(
        gather_s=0, channels={"hook": ChannelSettings(allow_private=True)}, routes=(Route(channels=("hook",)),)
    )
    deliver(
        stores.warehouse,
        alerting,
        lambda _: Address(hook.url()),
        "send",
        clock=lambda: datetime.now(UTC) + timedelta(minutes=1),
        wait=False,
    )


def _serving(folder: Path, lacks: list[TimeRange], now: datetime) -> Any:
    columns = candles(0.1)
    held = [
        slot
        for slot in range(3 * 1440)
        if not any(span.start_ms <= START_MS + slot * 60_000 < span.end_ms for span in lacks)
    ]
    path = folder / "binance" / "BTC-USDT" / "1m.parquet"
    path.parent.mkdir(parents=True)
    opened = pa.array(columns["open_time"][held]).cast(pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table({"open_time": opened, **{name: columns[name][held] for name in NAMES}}), path)
    return _Served(ReplayServer(RecordedMarket(folder), clock=lambda: to_ms(now)))


class _Served:
    """A replay exchange that `binance` leads to, for a block."""

    def __init__(self, server: ReplayServer) -> None:
        self._server, self._patch = server, pytest.MonkeyPatch()

    def __enter__(self) -> None:
        self._server.__enter__()
        self._patch.setenv("CHANDLER_EXCHANGES__BINANCE__BASE_URL", self._server.url)

    def __exit__(self, *error: Any) -> None:
        self._patch.undo()
        self._server.__exit__(*error)


def _reopened(stores: Stores) -> Stores:
    return Stores(load_settings(), stores.warehouse, stores.archive, stores.raw)
