"""Kinds of absences on real candles: half a year of four symbols of Bitfinex at 1m.

Run as `python -m bench absences`; it takes seconds. The recordings are looked for in `candles/bitfinex` of the folder
that CHANDLER_DATA names, or of `../shared/data`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from etl.findings import Finding
from etl.schema import AbsenceKind
from etl.series import symbol_to_path
from etl.timeframe import Timeframe, to_ms
from etl.validate.judging import judge
from etl.validate.silence import Presence

MINUTE = Timeframe.M1
SYMBOLS = ("BTC/USD", "ETH/USD", "LTC/USD", "XRP/USD")
START_MS, END_MS = (to_ms(datetime(2018, month, 1, tzinfo=UTC)) for month in (1, 7))
KINDS = (AbsenceKind.NO_TRADES, AbsenceKind.OUTAGE, AbsenceKind.HALTED)
HALT_STARTS, HALT_LENGTHS = 200, (3, 5, 10, 20, 40, 80)
out = Console(width=120)


def recorded(folder: Path) -> Presence:
    """Read which minutes are there."""
    held = np.zeros((len(SYMBOLS), (END_MS - START_MS) // MINUTE.ms), dtype=np.bool_)
    for row, symbol in zip(held, SYMBOLS, strict=True):
        times = pq.read_table(folder / symbol_to_path(symbol) / "1m.parquet", columns=["open_time"]).column(0)
        row[(np.asarray(times.cast("int64").combine_chunks()) - START_MS) // MINUTE.ms] = True
    return Presence(MINUTE, START_MS, SYMBOLS, held, np.ones_like(held))


def by_series(presence: Presence, verdicts: list[list[Finding]]) -> None:
    """Print how many minutes of each series are of which kind, and in how many stretches."""
    table = Table(title="missing minutes by kind (stretches)")
    for name in ("", "missing", *KINDS):
        table.add_column(name, justify="right" if name else "left")
    for symbol, row, own in zip(SYMBOLS, presence.held, verdicts, strict=True):
        minutes: Counter[AbsenceKind] = Counter()
        for verdict in own:
            minutes[verdict.kind] += verdict.span.count(MINUTE)
        stretches = Counter(verdict.kind for verdict in own)
        cells = (f"{minutes[kind]:,} ({stretches[kind]:,})" for kind in KINDS)
        table.add_row(symbol, f"{np.count_nonzero(~row):,}", *cells)
    out.print(table)


def side_by_side(presence: Presence, verdicts: list[list[Finding]]) -> None:
    """Print what becomes of a minute in which one, two, three or all four are silent."""
    silent = np.count_nonzero(~presence.held, axis=0)
    is_outage = np.zeros(silent.shape, dtype=np.bool_)
    is_halt = np.zeros(silent.shape, dtype=np.bool_)
    for verdict in (verdict for own in verdicts for verdict in own):
        if verdict.kind in {AbsenceKind.OUTAGE, AbsenceKind.HALTED}:
            first, end = ((at - START_MS) // MINUTE.ms for at in (verdict.span.start_ms, verdict.span.end_ms))
            (is_outage if verdict.kind is AbsenceKind.OUTAGE else is_halt)[first:end] = True
    table = Table(title="minutes by how many symbols are silent")
    for name in ("silent", "minutes", *KINDS):
        table.add_column(name, justify="right")
    for number in range(1, len(SYMBOLS) + 1):
        here = silent == number
        masks = (~is_outage & ~is_halt, is_outage, is_halt)
        table.add_row(str(number), f"{here.sum():,}", *(f"{(here & mask).sum():,}" for mask in masks))
    out.print(table)


def longest(verdicts: list[list[Finding]], kind: AbsenceKind) -> None:
    """Print the ten longest stretches of a kind, with their evidence."""
    found = [
        (v.span.count(MINUTE), s, v) for s, own in zip(SYMBOLS, verdicts, strict=True) for v in own if v.kind is kind
    ]
    if not found:
        out.print(f"no stretch is {kind}")
        return
    table = Table(title=f"longest of {kind}")
    for name in ("series", "span", "minutes", "evidence"):
        table.add_column(name)
    for minutes, symbol, verdict in sorted(found, key=lambda each: each[0], reverse=True)[:10]:
        table.add_row(symbol, str(verdict.span).strip("[)"), str(minutes), verdict.evidence)
    out.print(table)


def made_up_halts(presence: Presence) -> None:
    """Silence each symbol alone, at random, and print how many of the stretches are told as halts."""
    table = Table(title=f"{HALT_STARTS} made-up halts of each length: share told as a halt, minute by minute")
    for name in ("", *(f"{length} min" for length in HALT_LENGTHS)):
        table.add_column(name, justify="right" if name else "left")
    rng = np.random.default_rng(1)
    for of, symbol in enumerate(SYMBOLS):
        shares = []
        for length in HALT_LENGTHS:
            starts = np.sort(rng.choice(presence.held.shape[1] // 1000, HALT_STARTS, replace=False)) * 1000
            held, is_halt = presence.held.copy(), np.zeros(presence.held.shape[1], dtype=np.bool_)
            for start in starts:
                is_halt[start : start + length] = True
            held[of, is_halt] = False
            silenced = Presence(MINUTE, START_MS, SYMBOLS, held, presence.covered)
            told = judge(silenced, of, is_halt, prints_empty=False)
            minutes = sum(verdict.span.count(MINUTE) for verdict in told if verdict.kind is AbsenceKind.HALTED)
            shares.append(f"{100 * minutes / is_halt.sum():.0f} %")
        table.add_row(symbol, *shares)
    out.print(table)


def timed() -> None:
    """Print what judging one of fifty series over a month costs."""
    rng = np.random.default_rng(1)
    held: NDArray[np.bool_] = rng.random((50, 32 * 1440)) >= 0.5 * rng.random((50, 1))
    presence = Presence(MINUTE, START_MS, [str(number) for number in range(50)], held, np.ones_like(held))
    begun = time.perf_counter()
    verdicts = judge(presence, 3, ~held[3], prints_empty=False)
    out.print(f"one of 50 series over 32 days: {len(verdicts):,} verdicts in {time.perf_counter() - begun:.3f} s")


def main() -> None:
    """Judge, and print tables; without the recordings, say so."""
    data = Path(os.environ.get("CHANDLER_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    folder = data / "candles" / "bitfinex"
    if not folder.is_dir():
        out.print(f"absences: no {folder}; set CHANDLER_DATA to a folder with candles/bitfinex/BTC-USD/1m.parquet")
        return
    presence = recorded(folder)
    begun = time.perf_counter()
    verdicts = [judge(presence, of, ~presence.held[of], prints_empty=False) for of in range(len(SYMBOLS))]
    out.print(f"judged {sum(map(len, verdicts)):,} stretches in {time.perf_counter() - begun:.2f} s")
    by_series(presence, verdicts)
    side_by_side(presence, verdicts)
    longest(verdicts, AbsenceKind.OUTAGE)
    longest(verdicts, AbsenceKind.HALTED)
    made_up_halts(presence)
    timed()


if __name__ == "__main__":
    main()
