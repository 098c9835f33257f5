"""Speed of cleaning: rules that refuse, duplicates, order, flags and absences, beside a validator in pandas.

Run as `python -m bench clean`; it takes half a minute. The candles are made up: ten million minutes in partitions of a
month, some missing, some twice, some that cannot be true. Only the cleaning is timed, not the making. The validator in
pandas applies the same rules, as people write them, and must come to the same candles, flags and absences.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from etl.exchanges import EXCHANGES
from etl.rules import Rules
from etl.schema import RULE_FLAGS, Flag, Origin, to_columns
from etl.series import Series, TimeRange
from etl.timeframe import Timeframe
from etl.validate import ReceivedRows, clean, find_absences, flag_candles
from etl.validate.clean import judge, to_candles
from etl.validate.columns import drop_bad_options
from etl.validate.rules import Columns

MONTH = 30 * 1440
MINUTE_MS = 60_000
SERIES = Series.parse("binance:BTC/USDT:1m")
LAYOUT = EXCHANGES["binance"].layout
RULES = Rules()
LATER_MS = 2**45
PAGE = 1000
KLINE = (
    *("open_time", "open", "high", "low", "close", "volume", "close_time"),
    *("quote_volume", "trades", "taker_buy_volume", "taker_buy_quote_volume"),
)
WHOLE = ("open_time", "close_time", "trades")
Received = dict[str, NDArray[Any]]
Outcome = tuple[int, int, int]


@dataclass(slots=True)
class Spent:
    """Time and memory that a way of cleaning has taken so far.

    Attributes:
        first_mb: Resident memory after the first partition.
        most_mb: The most after any.
    """

    rows: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    first_mb: float = 0.0
    most_mb: float = 0.0


def received(month: int) -> Received:
    """Return the rows of a month by column name, in the order of their arrival."""
    random = np.random.default_rng(month)
    close = 100 * np.exp(np.cumsum(random.standard_t(4, MONTH) * 5e-4))
    opened = np.concatenate(([100.0], close[:-1]))
    volume = random.lognormal(sigma=1.2, size=MONTH)
    columns: Received = {
        "open_time": span_of(month).start_ms + np.arange(MONTH) * MINUTE_MS,
        "open": opened,
        "high": np.maximum(opened, close) * (1 + 2e-4 * random.random(MONTH)),
        "low": np.minimum(opened, close) * (1 - 2e-4 * random.random(MONTH)),
        "close": close,
        "volume": volume,
        "quote_volume": volume * close,
        "trades": random.integers(1, 2000, MONTH),
        "taker_buy_volume": volume / 2,
        "taker_buy_quote_volume": volume * close / 2,
    }
    odd = random.integers(0, MONTH, 40)
    columns["low"][odd[:10]] = -1.0
    columns["high"][odd[10:20]] *= 0.9
    columns["high"][odd[20:30]] *= 1.05
    columns["volume"][odd[30:]] *= 1000
    kept = np.delete(np.arange(MONTH), random.integers(0, MONTH, 40))
    again = np.concatenate((kept[: MONTH // 2], kept[MONTH // 2 - 20 :]))
    return {name: values[again] for name, values in columns.items()}


def span_of(month: int) -> TimeRange:
    """Return the range of a month."""
    first_ms = (600 + month) * MONTH * MINUTE_MS
    return TimeRange.from_ms(first_ms, first_ms + MONTH * MINUTE_MS)


def ours(rows: Received, month: int) -> Outcome:
    """Clean columns."""
    values = {name: column for name, column in rows.items() if name != "open_time"}
    count = len(rows["open_time"])
    columns = Columns(Timeframe.M1, rows["open_time"], values, {}, np.full(count, LATER_MS), None)
    columns, is_dropped = drop_bad_options(columns)
    _, is_last = judge(columns, RULES)
    flags = np.where(is_dropped, np.int16(Flag.VALUE_DROPPED), np.int16(0))
    candles = to_candles(columns, np.full(count, Origin.API, dtype=np.int16), is_last, flags)
    return outcome(candles, month)


def ours_from_text(pages: list[str], month: int) -> Outcome:
    """Clean pages as Binance sends them."""
    received_pages = [ReceivedRows(_nobody_asks, LATER_MS, LAYOUT, text=page) for page in pages]
    return outcome(clean(received_pages, SERIES, span_of(month), RULES).candles, month)


def outcome(candles: Any, month: int) -> Outcome:
    """Flag candles and find what is missing: how many are accepted, flagged, absent."""
    flags = flag_candles(candles, Timeframe.M1, RULES) & np.int16(RULE_FLAGS)
    absent = find_absences(to_columns(candles)["open_time"], span_of(month), Timeframe.M1)
    return len(flags), int((flags != 0).sum()), sum(one.count(Timeframe.M1) for one in absent)


def pages_of(rows: Received) -> list[str]:
    """Return rows as the text of Binance's pages; those that would be refused are left out."""
    sound = np.flatnonzero((rows["low"] > 0) & (rows["high"] >= np.maximum(rows["open"], rows["close"])))
    names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
    cells = ([f'"{value:.8f}"' for value in rows[name][sound].tolist()] for name in names)
    times, counts = rows["open_time"][sound].tolist(), rows["trades"][sound].tolist()
    lines = [
        f'[{at},{",".join(values[:5])},{at + MINUTE_MS - 1},{values[5]},{trades},{",".join(values[6:])},"0"]'
        for at, trades, *values in zip(times, counts, *cells, strict=True)
    ]
    return [f"[{','.join(lines[i : i + PAGE])}]" for i in range(0, len(lines), PAGE)]


def in_pandas(rows: Received, month: int) -> Outcome:
    """Do the same the way it is mostly written: a frame, a mask for each rule, rolling medians."""
    import pandas as pd

    prices = ["open", "high", "low", "close"]
    amounts = ["volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume"]
    frame = pd.DataFrame(rows)
    frame = frame[frame["open_time"] % MINUTE_MS == 0]
    frame = frame[frame["open_time"] + MINUTE_MS <= LATER_MS]
    frame = frame.dropna(subset=[*prices, "volume"])
    frame = frame[(frame[prices] > 0).all(axis=1)]
    tolerated = 1 + RULES.ohlc_tolerance_pct / 100
    frame = frame[frame["low"] / tolerated <= frame[["open", "close"]].min(axis=1)]
    frame = frame[frame["high"] >= frame[["open", "close"]].max(axis=1) / tolerated]
    frame = frame[frame["high"] >= frame["low"]]
    frame = frame[(frame[amounts] >= 0).all(axis=1)]
    frame = frame.drop_duplicates("open_time", keep="last").sort_values("open_time")
    frame["at"] = pd.to_datetime(frame["open_time"], unit="ms", utc=True)
    span = span_of(month)
    grid = frame.set_index("at").reindex(pd.date_range(span.start, span.end, freq="1min", inclusive="left"))

    def stands_out(gridded: Any, limit: float, least: float = 0.0, most: float = np.inf) -> Any:
        width, values = (RULES.lookback - 1) // 2, gridded.dropna()
        excess = values - values.rolling(width, min_periods=(width + 1) // 2).median().shift(1)
        spread = excess.abs().rolling(width, min_periods=(width + 1) // 2).median().shift(1)
        strange = (excess > most) | ((excess > limit * 1.4826 * spread) & (excess > least))
        return strange.reindex(gridded.index, fill_value=False)

    last = grid["close"].shift(1)
    known = last.fillna(grid["open"])
    moved = np.log(np.maximum(grid["high"] / known, known / grid["low"]))
    moved = moved.mask((grid["volume"] == 0) & (moved == 0))
    traded = np.log(grid["volume"].mask(grid["volume"] == 0))
    is_same = (grid[prices] == grid[prices].shift(1)).all(axis=1) & (grid["volume"] > 0)
    is_empty = grid["volume"] == 0
    flags = pd.DataFrame(
        {
            "ohlc_tolerated": (grid["low"] > grid[["open", "close"]].min(axis=1))
            | (grid["high"] < grid[["open", "close"]].max(axis=1)),
            "frozen_price": is_same.rolling(RULES.frozen_after - 1).sum() >= RULES.frozen_after - 1,
            "zero_volume_run": is_empty.rolling(RULES.zero_volume_after).sum() >= RULES.zero_volume_after,
            "price_outlier": stands_out(moved, RULES.price_limit) & (moved > np.log1p(RULES.price_floor_pct / 100)),
            "volume_outlier": stands_out(
                traded, RULES.volume_limit, float(np.log(RULES.volume_floor)), float(np.log(RULES.volume_ceiling))
            ),
            "jump": np.log(grid["open"] / last).abs() > np.log1p(RULES.jump_pct / 100),
        }
    )
    flagged = int((flags.any(axis=1) & grid["open"].notna()).sum())
    return len(frame), flagged, int(grid["open"].isna().sum())


def in_pandas_from_text(pages: list[str], month: int) -> Outcome:
    """Read pages the way it is mostly written, then clean in pandas."""
    import pandas as pd

    frame = pd.DataFrame([row[:11] for page in pages for row in json.loads(page)], columns=list(KLINE))
    rows = frame.drop(columns="close_time").astype({name: "float64" for name in KLINE if name not in WHOLE})
    return in_pandas({name: rows[name].to_numpy() for name in rows}, month)


def run(work: Callable[[Any, int], Outcome], inputs: Iterator[tuple[Any, int, int]]) -> tuple[Spent, list[Outcome]]:
    """Clean partition after partition: what is given, its month, its rows."""
    spent, outcomes, process = Spent(), [], psutil.Process()
    for given, month, rows in inputs:
        cpu, wall = time.process_time(), time.perf_counter()
        outcomes.append(work(given, month))
        spent.wall_s += time.perf_counter() - wall
        spent.cpu_s += time.process_time() - cpu
        spent.rows += rows
        resident_mb = process.memory_info().rss / 2**20
        spent.first_mb = spent.first_mb or resident_mb
        spent.most_mb = max(spent.most_mb, resident_mb)
    return spent, outcomes


def months_of_columns(count: int) -> Iterator[tuple[Received, int, int]]:
    """Yield rows as columns, the month, and how many rows there are."""
    for month in range(count):
        rows = received(month)
        yield rows, month, len(rows["open_time"])


def months_of_text(count: int) -> Iterator[tuple[list[str], int, int]]:
    """Yield rows as pages, the month, and how many rows there are."""
    for month in range(count):
        pages = pages_of(received(month))
        yield pages, month, sum(page.count("],[") + 1 for page in pages)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=232, help="partitions of 43,200 rows")
    months = parser.parse_args().months
    few = max(1, months // 10)
    run(ours, months_of_columns(2))  # imports, caches
    run(ours_from_text, months_of_text(1))
    results = {
        "columns": run(ours, months_of_columns(months)),
        "from the text of pages": run(ours_from_text, months_of_text(few)),
    }
    run(in_pandas, months_of_columns(1))
    results["pandas"] = run(in_pandas, months_of_columns(few))
    results["pandas, from the text of pages"] = run(in_pandas_from_text, months_of_text(few))
    (_, all_of_it), (_, of_text), (_, of_pandas), (_, of_pandas_text) = results.values()
    assert of_pandas == all_of_it[:few], "the two validators disagree"
    assert of_pandas_text == of_text, "the two validators disagree"
    _show({name: spent for name, (spent, _) in results.items()})


def _show(results: dict[str, Spent]) -> None:
    table = Table(title="Cleaning: refusing rules, duplicates, order, all flags, absences")
    for name in ("", "rows", "wall s", "CPU s", "million rows/s", "MB after one month", "MB at most"):
        table.add_column(name, justify="right" if name else "left")
    for name, spent in results.items():
        seconds = f"{spent.wall_s:.2f}", f"{spent.cpu_s:.2f}", f"{spent.rows / spent.wall_s / 1e6:.2f}"
        table.add_row(name, f"{spent.rows:,}", *seconds, f"{spent.first_mb:.0f}", f"{spent.most_mb:.0f}")
    rates = {name: spent.rows / spent.wall_s for name, spent in results.items()}
    Console(width=120).print(table)
    for name, of in (("columns", "pandas"), ("from the text of pages", "pandas, from the text of pages")):
        Console(width=120).print(f"{name} : {of} = {rates[name] / rates[of]:.1f}")


def _nobody_asks() -> list[Any]:
    raise AssertionError("a plain page was read row by row")


if __name__ == "__main__":
    main()
