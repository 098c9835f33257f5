"""Detection of planted faults: each is found under its right name, and sound candles are left alone.

Run as `python -m bench quality`. Faults of every kind are planted into recorded markets, at places drawn by a seed, and
served by the replay exchange; the recordings are ingested as they are besides. The recordings are looked for in
`candles` of the folder that CHANDLER_DATA names, or of `../shared/data`; without them a made-up market serves. Ends
with status 1 if a fault is missed or misnamed, or if too many sound candles are flagged or refused.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from bench.planted.kinds import KINDS, MINUTE_MS
from bench.planted.runs import Outcome, ingest_all, reach, run, run_forming, run_not_listed
from bench.planted.sites import Recording
from etl.exchanges import EXCHANGES
from etl.replay import MadeUpMarket, Market, RecordedMarket, ReplayServer
from etl.replay.columns import to_rows
from etl.schema import RULE_FLAGS, to_columns
from etl.series import Series, TimeRange
from etl.settings import Settings
from etl.stores import Stores, open_stores
from etl.timeframe import Timeframe
from etl.validate import FLAGGING, flag_names
from etl.warehouse import known_series, read_candles, tables

MOST_FALSE_PCT = 0.05
_WHOLE = TimeRange.from_ms(0, 2**42)
_DAY = timedelta(days=1)
out = Console(width=140)


@dataclass(frozen=True, slots=True)
class Place:
    """A market to plant into.

    Attributes:
        protocol: Through which it is served: that of an exchange which prints empty minutes as this one does.
        start: Of the stretch that faults are planted into.
    """

    name: str
    protocol: str
    symbols: tuple[str, ...]
    start: datetime
    days: int


RECORDED = (
    Place("binance", "binance", ("BTC/USDT", "ETH/USDT", "XRP/USDT"), datetime(2021, 11, 12, tzinfo=UTC), 29),
    Place("bitfinex", "coinbase", ("BTC/USD", "ETH/USD", "LTC/USD", "XRP/USD"), datetime(2018, 4, 1, tzinfo=UTC), 24),
)
MADE_UP = Place("madeup", "binance", ("BTC/USDT", "ETH/USDT", "SOL/USDT"), datetime(2026, 9, 1, tzinfo=UTC), 30)


def to_recording(place: Place, market: Market) -> Recording:
    """Read the stretch that faults are planted into."""
    span = TimeRange(place.start, place.start + place.days * _DAY)
    first_day = int(place.start.timestamp() // 86_400)
    grid = {}
    for symbol in place.symbols:
        rows = to_rows(market.columns(symbol, Timeframe.M1, range(first_day, first_day + place.days)))
        by_time = {row.open_time_ms: row for row in rows}
        grid[symbol] = [by_time.get(at_ms) for at_ms in range(span.start_ms, span.end_ms, MINUTE_MS)]
    return Recording(place.name, place.protocol, span, grid)


def plant_all(stores: Stores, recording: Recording, count: int, seed: int, only: str | None) -> Iterator[Outcome]:
    """Plant and look for each kind in turn."""
    for kind in KINDS:
        # Where empty minutes are left out, a lone silence is nothing strange.
        is_plain = kind.found_as != "halted" or EXCHANGES[recording.protocol].prints_empty
        if is_plain and only in {None, kind.found_as}:
            yield run(stores, recording, kind, count, seed)
    if only in {None, "forming"}:
        yield run_forming(stores, recording, count, seed)
    if only in {None, "not_listed"}:
        yield run_not_listed(stores, recording, count, seed)


def show_planted(place: Place, outcomes: Sequence[Outcome]) -> None:
    """Print what was found of what was planted."""
    table = Table(title=f"planted into {place.name}, {place.days} days of {', '.join(place.symbols)}")
    for name in ("fault", "to be found as", "planted", "found", "missed", "misnamed", "found besides as"):
        table.add_column(name, justify="right" if name in {"planted", "found", "missed"} else "left")
    for one in outcomes:
        misnamed, also = (
            ", ".join(f"{n} {c}" for n, c in sorted(counts.items())) for counts in (one.misnamed, one.also)
        )
        table.add_row(one.name, one.found_as, str(one.planted), str(one.found), str(one.missed), misnamed, also)
    out.print(table)


@dataclass(frozen=True, slots=True)
class Sound:
    """Verdict of the rules on candles as recorded.

    Attributes:
        rows: Those that came, repeated ones once.
        strange: Flagged or refused, each once.
        by_rule: How many by each rule.
    """

    name: str
    rows: int
    strange: int
    by_rule: dict[str, int]

    @property
    def share_pct(self) -> float:
        """The share of them that is strange, in percent."""
        return 100 * self.strange / self.rows


def stretches(market: Market, symbol: str, timeframe: Timeframe) -> list[TimeRange]:
    """Return what a market has of a symbol, cut where a day or more is missing."""
    times = np.array([row.open_time_ms for row in market.rows(symbol, timeframe, 0, 2**42, 2**40)])
    ends = [*np.flatnonzero(np.diff(times) > Timeframe.D1.ms).tolist(), len(times) - 1]
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [TimeRange.from_ms(int(times[a]), int(times[b]) + timeframe.ms) for a, b in zip(starts, ends, strict=True)]


def ingest_sound(stores: Stores, place: Place, market: Market, spans: dict[Series, list[TimeRange]]) -> Iterator[Sound]:
    """Ingest candles as they are, and count what is flagged or refused."""
    with ReplayServer(market, limits=False) as server:
        ready = reach(stores, place.name, place.protocol, server.url)
        for series, own in spans.items():
            for span in own:
                ingest_all(ready, series, span)
            yield count_strange(stores, series)


def count_strange(stores: Stores, series: Series) -> Sound:
    """Count what is flagged or refused of a series."""
    own = tables.quarantine.c
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[series]
        flags = to_columns(read_candles(connection, series_id, _WHOLE))["flags"] & int(RULE_FLAGS)
        refused = select(own.rule, func.count()).where(own.series_id == series_id).group_by(own.rule)
        by_rule = {rule: count for rule, count in connection.execute(refused)}
    n_refused = sum(by_rule.values())
    for rule in FLAGGING:
        by_rule[rule.name] = sum(rule.name in flag_names(int(bits)) for bits in flags[flags != 0])
    return Sound(str(series), len(flags) + n_refused, int((flags != 0).sum()) + n_refused, by_rule)


def show_sound(found: Sequence[Sound]) -> None:
    """Print how much of what is sound is flagged or refused."""
    names = [
        name
        for name in dict.fromkeys(name for one in found for name in one.by_rule)
        if any(o.by_rule.get(name) for o in found)
    ]
    table = Table(title=f"flagged or refused of recordings as they are (limit {MOST_FALSE_PCT} %)")
    for name in ("", "rows", *names, "all", "% of rows"):
        table.add_column(name, justify="right" if name else "left")
    for one in found:
        counts = (f"{one.by_rule.get(name, 0):,}" for name in names)
        table.add_row(one.name, f"{one.rows:,}", *counts, f"{one.strange:,}", f"{one.share_pct:.4f}")
    out.print(table)


def write_places(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write where each fault was, and what it was found as."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("fault", "to be found as", "series", "open_time", "found as"))
        for one in outcomes:
            for series, at, names in one.places:
                writer.writerow((one.name, one.found_as, series, at.isoformat(), " ".join(names)))


def main() -> None:
    """Plant, ingest, count; print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=300, help="of each kind in each market")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="plant only what is to be found under this name")
    parser.add_argument("--market", choices=[place.name for place in (*RECORDED, MADE_UP)], help="only this one")
    parser.add_argument("--places", type=Path, help="a CSV file to write each fault's place to")
    arguments = parser.parse_args()
    logging.getLogger("etl").setLevel(logging.ERROR)  # of what was planted nobody needs to be told
    data = Path(os.environ.get("CHANDLER_DATA", Path(__file__).parent.parent.parent / "shared" / "data")) / "candles"
    places = [place for place in RECORDED if (data / place.name).is_dir() and arguments.market in {None, place.name}]
    outcomes: list[Outcome] = []
    sound: list[Sound] = []
    with (
        tempfile.TemporaryDirectory(prefix="chandler-bench-") as folder,
        open_stores(Settings(home=Path(folder))) as stores,
    ):
        for place in places or [MADE_UP]:
            begun = time.perf_counter()
            market = RecordedMarket(data, place.name) if places else MadeUpMarket(symbols=place.symbols)
            recording = to_recording(place, market)
            found = list(plant_all(stores, recording, arguments.faults, arguments.seed, arguments.only))
            show_planted(place, found)
            outcomes += found
            if arguments.only is None:
                sound += ingest_sound(stores, place, market, _spans(place, market, recording, is_recorded=bool(places)))
            out.print(f"{place.name}: {time.perf_counter() - begun:.0f} s")
    if sound:
        show_sound(sound)
    if arguments.places:
        write_places(arguments.places, outcomes)
    if any(one.found < one.planted for one in outcomes) or any(one.share_pct > MOST_FALSE_PCT for one in sound):
        raise SystemExit(1)


def _spans(place: Place, market: Market, recording: Recording, *, is_recorded: bool) -> dict[Series, list[TimeRange]]:
    """Return what to ingest as it is: all that was recorded, or the stretch of the made-up market."""
    return {
        Series(place.name, symbol, timeframe): stretches(market, symbol, timeframe) if is_recorded else [recording.span]
        for symbol in market.symbols
        for timeframe in sorted(market.timeframes(symbol), key=lambda each: each.ms)
        if is_recorded or timeframe is Timeframe.M1
    }


if __name__ == "__main__":
    main()
