"""A market with faults through the whole pipeline, and what is found of each: real HTTP, real ccxt, a real database.

Only what no exchange that keeps its word can be made to send lies in raw pages from the beginning: forming candles.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import select

from bench.planted.kinds import MINUTE_MS, Kind, early
from bench.planted.market import RowsMarket
from bench.planted.sites import Recording, Site, choose_sites, plant
from etl.extract import Bounds, Fetched, FetchReport, Page, PageKey, Route
from etl.feeds import ExchangeSettings
from etl.ingest import clean_pages, fetch, load
from etl.judging import judge_loads
from etl.plan import plan
from etl.repair import repair
from etl.replay import ReplayServer
from etl.replay.binance import print_candles
from etl.replay.columns import to_columns as to_text
from etl.replay.market import Row
from etl.replay.server import system_clock_ms
from etl.schema import to_columns
from etl.series import Series, TimeRange
from etl.stores import Partition, Stores
from etl.timeframe import Timeframe, from_ms, to_ms
from etl.validate import CleanReport, flag_names
from etl.warehouse import known_series, read_absences, read_candles, tables

RUN = "planted"
_SPANS = frozenset({"halted", "outage", "not_listed"})  # must be found in every slot
_LATER = timedelta(days=2)  # when all that is absent is due
_NO_LIMIT = 10**8

Names = Mapping[int, set[str]]


@dataclass(slots=True)
class Outcome:
    """Faults of one kind, and how many of them were found.

    Attributes:
        also: Under which other names faults were found besides.
        misnamed: Under which other names alone.
        places: Each fault: series, open time, and the names it was found under.
    """

    name: str
    found_as: str
    found: int = 0
    missed: int = 0
    also: Counter[str] = field(default_factory=Counter)
    misnamed: Counter[str] = field(default_factory=Counter)
    places: list[tuple[str, datetime, tuple[str, ...]]] = field(default_factory=list)

    @property
    def planted(self) -> int:
        """The number of faults."""
        return len(self.places)

    def count(self, series: Series, start_ms: int, names: set[str], *, is_found: bool) -> None:
        """Count one fault in."""
        others = names - {self.found_as}
        self.places.append((str(series), from_ms(start_ms), tuple(sorted(names))))
        self.found += is_found
        (self.also if is_found else self.misnamed).update(others)
        self.missed += not is_found and not others


def run(stores: Stores, recording: Recording, kind: Kind, count: int, seed: int) -> Outcome:
    """Plant faults of one kind, ingest as `chandler ingest` does, and look under which names they are found."""
    exchange = f"{recording.name}{kind.found_as.replace('_', '')}"
    sites = choose_sites(recording, kind, count, seed)
    served = plant(recording, kind, sites)
    with ReplayServer(RowsMarket(served), limits=False) as server:
        ready = reach(stores, exchange, recording.protocol, server.url)
        members = {symbol: Series(exchange, symbol, Timeframe.M1) for symbol in served}
        done = [one for series in members.values() for one in ingest_all(ready, series, recording.span)]
        judge_loads(ready, exchange, RUN)
    if kind.is_mended:
        _ask_again(stores, exchange, recording, list(members.values()), by_repair=kind.found_as == "filled")
    outcome = Outcome(kind.name, kind.found_as)
    for symbol, series in members.items():
        names = read_names(stores, series, {row.open_time_ms: row for row in served[symbol]})
        if kind.found_as == "repeated":
            names = _with_repeated(names, [one for one in done if one[0].series == series], served[symbol])
        _count_sites(outcome, series, recording, [site for site in sites if site.symbol == symbol], names)
    return outcome


def run_forming(stores: Stores, recording: Recording, count: int, seed: int) -> Outcome:
    """Lay pages that were asked for while their last candle formed, at random moments of random minutes."""
    exchange = f"{recording.name}forming"
    ready = reach(stores, exchange, "binance", "http://127.0.0.1:9")
    rng = np.random.default_rng([seed, 1])
    outcome = Outcome("a candle that is forming", "forming")
    share = -(-count // len(recording.grid))
    for symbol, grid in recording.grid.items():
        series = Series(exchange, symbol, Timeframe.M1)
        held = np.flatnonzero([row is not None for row in grid])
        ends = sorted(rng.choice(held[100:], min(share, count - outcome.planted), replace=False).tolist())
        span = TimeRange(recording.span.start, from_ms(recording.span.start_ms + (ends[-1] + 1) * MINUTE_MS))
        raw = ready.raw.partition(series, span)
        keys = []
        for start, end in zip([-1, *ends], ends, strict=False):
            rows = [row for row in grid[start + 1 : end + 1] if row is not None]
            rows[-1] = early(rows[-1])
            window = TimeRange.from_ms(span.start_ms + (start + 1) * MINUTE_MS, rows[-1].open_time_ms + MINUTE_MS)
            body = b"],[".join(print_candles(to_text(rows), Timeframe.M1)).decode()
            asked_at_ms = rows[-1].open_time_ms + int(rng.integers(MINUTE_MS))
            raw.write_page(Page(series, window, asked_at_ms, f"[[{body}]]"))
            keys.append(PageKey(window, Route.CANDLES))
        raw.write_list(Fetched(tuple(keys), Bounds(), span.end_ms + MINUTE_MS))
        clean_pages(ready, Partition(series, span))
        load(ready, Partition(series, span), RUN)
        sites = [Site(symbol, end, end + 1, number) for number, end in enumerate(ends)]
        _count_sites(outcome, series, recording, sites, read_names(stores, series, {}))
    return outcome


def run_not_listed(stores: Stores, recording: Recording, count: int, seed: int) -> Outcome:
    """Ingest symbols from up to two days before they were listed, at random minutes."""
    exchange = f"{recording.name}notlisted"
    rng = np.random.default_rng([seed, 2])
    grid = next(iter(recording.grid.values()))
    held = np.flatnonzero([row is not None for row in grid[: len(grid) - 60]])
    firsts = {f"L{number:04}/USDT": int(rng.choice(held)) for number in range(count)}
    rows = {symbol: [row for row in grid[first : first + 2880] if row is not None] for symbol, first in firsts.items()}
    outcome = Outcome("asked for from before its listing", "not_listed")
    with ReplayServer(RowsMarket(rows), limits=False) as server:
        ready = reach(stores, exchange, recording.protocol, server.url)
        for symbol, first in firsts.items():
            series = Series(exchange, symbol, Timeframe.M1)
            before = int(rng.integers(1, 2880))
            start = from_ms(recording.span.start_ms + (first - before) * MINUTE_MS)
            ingest_all(ready, series, TimeRange(start, start + timedelta(minutes=before + 60)))
        judge_loads(ready, exchange, RUN)
    for symbol, first in firsts.items():
        series = Series(exchange, symbol, Timeframe.M1)
        with stores.warehouse.begin() as connection:
            (span, *_) = [a.span for a in read_absences(connection, known_series(connection)[series])]
        asked_from = (span.start_ms - recording.span.start_ms) // MINUTE_MS
        _count_sites(outcome, series, recording, [Site(symbol, asked_from, first, 0)], read_names(stores, series, {}))
    return outcome


def reach(stores: Stores, exchange: str, protocol: str, url: str) -> Stores:
    """Return the stores with settings that find `exchange` at an address."""
    own = ExchangeSettings(protocol=protocol, base_url=url, weight_limit=_NO_LIMIT)
    settings = stores.settings.model_copy(update={"exchanges": {exchange: own}})
    return Stores(settings, stores.warehouse, stores.archive, stores.raw)


Done = tuple[Partition, FetchReport, CleanReport]


def ingest_all(stores: Stores, series: Series, time_range: TimeRange) -> list[Done]:
    """Ingest a range, loaded or not, partition by partition."""
    done = []
    for partition in plan(stores, series, time_range, None):
        fetched = fetch(stores, partition)
        cleaned = clean_pages(stores, partition)
        load(stores, partition, RUN)
        done.append((partition, fetched, cleaned))
    return done


def read_names(stores: Stores, series: Series, first_served: Mapping[int, Row]) -> Names:
    """Return what is said of each minute of a series: rules, flags, kinds of absence, revisions.

    Args:
        first_served: By open time, what a revision has to keep.
    """
    names: defaultdict[int, set[str]] = defaultdict(set)
    with stores.warehouse.begin() as connection:
        series_id = known_series(connection)[series]
        candles = to_columns(read_candles(connection, series_id, TimeRange.from_ms(0, 2**42)))
        for absence in read_absences(connection, series_id):
            for at_ms in range(absence.span.start_ms, absence.span.end_ms, MINUTE_MS):
                names[at_ms].add(absence.kind.value)
        own = tables.quarantine.c
        for rule, opened, row in connection.execute(
            select(own.rule, own.open_time, own.row).where(own.series_id == series_id)
        ):
            if (said_ms := _said_time(row) if opened is None else to_ms(opened)) is not None:
                names[said_ms // MINUTE_MS * MINUTE_MS].add(rule)
        revised = tables.candle_revisions
        for old in connection.execute(select(revised).where(revised.c.series_id == series_id)):
            was = first_served.get(to_ms(old.open_time))
            is_kept = was is not None and (old.close, old.volume) == (float(was.close or 0), float(was.volume or 0))
            names[to_ms(old.open_time)].add("revised" if is_kept else "revised, old value lost")
        changed = tables.absence_changes.c
        for span in connection.scalars(
            select(changed.span).where(changed.series_id == series_id, changed.kind_after.is_(None))
        ):
            for at_ms in range(to_ms(span.lower), to_ms(span.upper), MINUTE_MS):
                names[at_ms].add("filled")
    for place in np.flatnonzero(candles["flags"]):
        names[int(candles["open_time"][place])].update(flag_names(int(candles["flags"][place])))
    return names


def _count_sites(outcome: Outcome, series: Series, recording: Recording, sites: Sequence[Site], names: Names) -> None:
    for site in sites:
        start_ms, end_ms = (recording.span.start_ms + slot * MINUTE_MS for slot in (site.start, site.end))
        said = [names.get(at_ms, set()) for at_ms in range(start_ms, end_ms, MINUTE_MS)]
        whole = all if outcome.found_as in _SPANS else any
        is_found = whole(outcome.found_as in each for each in said)
        outcome.count(series, start_ms, set().union(*said), is_found=is_found)


def _ask_again(
    stores: Stores, exchange: str, recording: Recording, members: Sequence[Series], *, by_repair: bool
) -> None:
    """Ask again for what is sound by now: all of it as settling does, or what is due as repair does."""
    sound = RowsMarket({symbol: [row for row in grid if row] for symbol, grid in recording.grid.items()})
    later_ms = int(_LATER / timedelta(milliseconds=1))
    with ReplayServer(sound, limits=False, clock=lambda: system_clock_ms() + later_ms) as server:
        ready = reach(stores, exchange, recording.protocol, server.url)
        if by_repair:
            repair(ready, exchange, datetime.now(UTC) + _LATER, RUN)
            return
        for series in members:
            ingest_all(ready, series, recording.span)


def _with_repeated(names: Names, done: Sequence[Done], served: Sequence[Row]) -> Names:
    """Add where rows were counted as repeated: in partitions whose count is that of the rows that are there twice.

    Rows of a page that was asked for twice are counted too; those are taken off.
    """
    times = [row.open_time_ms for row in served]
    twice = [at_ms for at_ms, following in zip(times, times[1:], strict=False) if at_ms == following]
    counted = {at_ms: set(said) for at_ms, said in names.items()}
    for partition, _, report in done:
        span = partition.time_range
        here = sum(span.start_ms <= at_ms < span.end_ms for at_ms in times)
        mine = [at_ms for at_ms in twice if span.start_ms <= at_ms < span.end_ms]
        if report.repeated - (report.rows - report.outside - here) == len(mine):
            for at_ms in mine:
                counted.setdefault(at_ms, set()).add("repeated")
    return counted


def _said_time(row: str) -> int | None:
    """Return the time that a row without its shape begins with."""
    values = json.loads(row)
    if not isinstance(values, list) or not values or not isinstance(values[0], int):
        return None
    return values[0] if values[0] > 10**11 else values[0] * 1000
