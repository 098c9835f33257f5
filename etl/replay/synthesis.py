"""One made-up day of one symbol, in whole numbers: ticks, lots, and quote currency in units of 1e-8.

Pure functions of (seed, symbol, day). Daily anchors come from hashed noise, so no day has to be walked to,
and the minutes between two anchors are a bridge. Whole numbers make aggregates exact and decimal strings faithful.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.int64]
"""Shape (n_candles, 10) int64, columns as in `Row`, but the first is the minute of the day."""

Series1D = npt.NDArray[np.float64]

DAY_MS = 86_400_000
_MINUTES = 1_440
_HIGH, _LOW, _CLOSE, _VOLUME = 2, 3, 4, 5
_TILE_DAYS = 2_048
_TOGETHER = 0.5  # the share of a symbol's variance that the whole market has in common
_MEMORY = 0.985  # of log volatility from minute to minute: half of it is gone after 46 minutes
_UNREST = 0.45  # the standard deviation of that log volatility
_WORST_SHOCK = 15.0  # in standard deviations
_MARKET = "the market as a whole"

_DOLLARS = {"USD", "USDC", "USDT"}

# Round figures of 2024: price in quote currency, daily volatility, daily quote volume.
_KNOWN = {
    "BTC/USDT": (60_000.0, 0.026, 1.5e9),
    "ETH/USDT": (3_000.0, 0.033, 9e8),
    "BNB/USDT": (550.0, 0.028, 2e8),
    "SOL/USDT": (150.0, 0.045, 5e8),
    "XRP/USDT": (0.6, 0.040, 2e8),
    "ADA/USDT": (0.45, 0.042, 8e7),
    "DOGE/USDT": (0.15, 0.050, 2e8),
    "LTC/USDT": (80.0, 0.036, 6e7),
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Trading rules of a symbol.

    Attributes:
        price: What it costs in the long run, in quote currency.
        volatility: The standard deviation of its daily log return.
        turnover: What is traded on a common day, in quote currency.
        price_places: Decimal places of a price.
        amount_places: Decimal places of an amount.
    """

    symbol: str
    price: float
    volatility: float
    turnover: float
    price_places: int
    amount_places: int


def listing_of(seed: int, symbol: str) -> Listing:
    """Return how `symbol` trades; one that is not known is given a character by its name."""
    base, _, quote = symbol.partition("/")
    price, volatility, turnover = _KNOWN.get(f"{base}/USDT" if quote in _DOLLARS else symbol) or (
        10 ** (0.3 + 1.2 * _noise(seed, symbol, "price")),
        0.04 * math.exp(0.2 * _noise(seed, symbol, "volatility")),
        1e8 * math.exp(0.7 * _noise(seed, symbol, "turnover")),
    )
    magnitude = math.floor(math.log10(price))
    amount_places = min(max(magnitude + 1, 0), 5)
    price_places = min(max(4 - magnitude, 2), 8 - amount_places)
    return Listing(symbol, price, volatility, turnover, price_places, amount_places)


def make_day(seed: int, listing: Listing, day: int) -> Table:
    """Return the minutes of `day` (days since the epoch) that have a candle, ascending."""
    tide = _tide(seed, day)
    rng = _generator(seed, listing.symbol, day)
    own_unrest = _wave(rng, *(_noise(seed, listing.symbol, "unrest", d) for d in (day, day + 1)))
    unrest = tide.calm + (tide.unrest + own_unrest) * math.sqrt(0.5)
    shocks = math.sqrt(_TOGETHER) * tide.shocks + math.sqrt(1 - _TOGETHER) * _shocks(rng)
    spread = listing.volatility / math.sqrt(_MINUTES) * np.exp(unrest - _UNREST**2) * np.sqrt(_RHYTHM)
    path = _bridge(shocks * spread, spread**2, *(_anchor(seed, listing, d) for d in (day, day + 1)))
    scale = 10**listing.price_places
    ticks = np.maximum(np.rint(np.exp(path) * scale).astype(np.int64), 1)
    reach = spread * ticks[1:]
    opens, closes = ticks[:-1], ticks[1:]
    highs = np.maximum(opens, closes) + (0.4 * reach * rng.standard_exponential(_MINUTES)).astype(np.int64)
    lows = np.minimum(opens, closes) - (0.4 * reach * rng.standard_exponential(_MINUTES)).astype(np.int64)
    prices = np.column_stack((opens, highs, np.maximum(lows, 1), closes))
    table = np.column_stack((np.arange(_MINUTES), prices, _amounts(rng, listing, prices, unrest, shocks)))
    return table[tide.is_open & ~_silence(seed, listing.symbol, day, chance=1 / 400, longest=60)]


def aggregate(table: Table, minutes: int) -> Table:
    """Return candles of `minutes` each, made of the minutes that are there.

    Open first, high highest, low lowest, close last, the rest summed; no minute, no candle.
    """
    if minutes == 1 or not len(table):
        return table
    slots = table[:, 0] // minutes
    starts = np.flatnonzero(np.diff(slots, prepend=-1))
    candles = table[starts]
    candles[:, 0] = slots[starts] * minutes
    candles[:, _HIGH] = np.maximum.reduceat(table[:, _HIGH], starts)
    candles[:, _LOW] = np.minimum.reduceat(table[:, _LOW], starts)
    candles[:, _CLOSE] = table[np.append(starts[1:], len(table)) - 1, _CLOSE]
    candles[:, _VOLUME:] = np.add.reduceat(table[:, _VOLUME:], starts, axis=0)
    return candles


def cut(table: Table, elapsed_ms: int) -> Table:
    """Return the day as it looks `elapsed_ms` after midnight: nothing that is to come, the last minute half made."""
    minute, into_ms = divmod(elapsed_ms, 60_000)
    so_far = table[table[:, 0] <= minute].copy()
    if len(so_far) and so_far[-1, 0] == minute:
        last = so_far[-1]
        opened = last[1]
        last[_HIGH : _CLOSE + 1] = opened + (last[_HIGH : _CLOSE + 1] - opened) * into_ms // 60_000
        last[_VOLUME:] = last[_VOLUME:] * into_ms // 60_000
    return so_far


@dataclass(frozen=True, slots=True)
class _Tide:
    """Day of the whole market: shocks, log volatility in slow and in fast, and the exchange's silences."""

    shocks: Series1D
    calm: Series1D
    unrest: Series1D
    is_open: npt.NDArray[np.bool_]


@lru_cache(maxsize=64)
def _tide(seed: int, day: int) -> _Tide:
    rng = _generator(seed, _MARKET, day)
    return _Tide(
        shocks=_shocks(rng),
        calm=np.linspace(_slow(seed, day), _slow(seed, day + 1), _MINUTES, endpoint=False),
        unrest=_wave(rng, *(_noise(seed, _MARKET, "unrest", d) for d in (day, day + 1))),
        is_open=~_silence(seed, _MARKET, day, chance=1 / 7, longest=120),
    )


def _amounts(rng: np.random.Generator, listing: Listing, prices: Table, unrest: Series1D, shocks: Series1D) -> Table:
    """Return volume, quote volume, trades, taker volume, taker quote volume; shape (1440, 5) int64."""
    mood = 0.9 * unrest + 0.3 * np.abs(shocks) + 0.45 * rng.standard_normal(_MINUTES) - 0.6
    turnover = listing.turnover / _MINUTES * _RHYTHM * np.exp(np.minimum(mood, 4.0))
    means = prices.sum(axis=1) // 4
    to_lots = 10 ** (listing.amount_places + listing.price_places)
    lots = np.maximum(np.rint(turnover / means * to_lots).astype(np.int64), 1)
    share = np.clip(0.5 + 0.06 * shocks + 0.08 * rng.standard_normal(_MINUTES), 0.02, 0.98)
    taker = (lots * share).astype(np.int64)
    unit = 10 ** (8 - listing.price_places - listing.amount_places)
    trades = np.maximum((turnover / (400 + 200 * rng.random(_MINUTES))).astype(np.int64), 1)
    return np.column_stack((lots, means * lots * unit, trades, taker, means * taker * unit))


def _bridge(steps: Series1D, variances: Series1D, start: float, end: float) -> Series1D:
    """Return the path of `steps`, bent so that it leads from `start` to `end`, most where it is wildest."""
    path = np.concatenate(((0.0,), np.cumsum(steps)))
    share = np.concatenate(((0.0,), np.cumsum(variances)))
    path += start + (end - start - path[-1]) * share / share[-1]
    path[0], path[-1] = start, end
    return path


def _wave(rng: np.random.Generator, start: float, end: float) -> Series1D:
    """Return log volatility by the minute: an AR(1) from one midnight's value to the next one's, without a step."""
    fading = _MEMORY ** np.arange(1, _MINUTES + 1)
    steps = math.sqrt(1 - _MEMORY**2) * rng.standard_normal(_MINUTES)
    wave: Series1D = fading * (start + np.cumsum(steps / fading))
    wave += (end - wave[-1]) * fading[::-1] / _MEMORY
    return _UNREST * wave


def _shocks(rng: np.random.Generator) -> Series1D:
    """Return 1440 draws of Student's t with four degrees of freedom, scaled to variance 1."""
    return np.clip(rng.standard_t(4, _MINUTES) / math.sqrt(2), -_WORST_SHOCK, _WORST_SHOCK)


def _silence(seed: int, name: str, day: int, *, chance: float, longest: int) -> npt.NDArray[np.bool_]:
    """Return which minutes fall in a silence that began on `day` or on the day before."""
    silent = np.zeros(_MINUTES, dtype=np.bool_)
    for began in (day - 1, day):
        if _uniform(seed, name, "silence", began) < chance:
            start = int(_uniform(seed, name, "from", began) * _MINUTES) + (began - day) * _MINUTES
            length = round(3 * (longest / 3) ** _uniform(seed, name, "length", began))
            silent[max(start, 0) : max(start + length, 0)] = True
    return silent


@lru_cache(maxsize=4_096)
def _anchor(seed: int, listing: Listing, day: int) -> float:
    """Return the log price at the midnight that begins `day`."""
    together = math.sqrt(_TOGETHER) * _walk(seed, _MARKET, day) + math.sqrt(1 - _TOGETHER) * _walk(
        seed, listing.symbol, day
    )
    return math.log(listing.price) + listing.volatility * together


@lru_cache(maxsize=4_096)
def _walk(seed: int, name: str, day: int) -> float:
    """Return a Brownian walk of one standard deviation a day, pinned every 2,048 days so that it never strays far.

    Source: midpoint displacement (Lévy's construction); 11 hashes reach any day.
    """
    tile, offset = divmod(day, _TILE_DAYS)
    left, right = (12 * _noise(seed, name, "pin", tile + side) for side in (0, 1))
    start, width = 0, _TILE_DAYS
    while offset != start:
        width //= 2
        middle = (left + right) / 2 + _noise(seed, name, "middle", tile, start + width) * math.sqrt(width / 2)
        if offset < start + width:
            right = middle
        else:
            left, start = middle, start + width
    return left


def _slow(seed: int, day: int) -> float:
    """Return the log volatility that whole days and weeks have, at the midnight that begins `day`."""
    total = 0.0
    for period in (2, 8, 32):
        slot, offset = divmod(day, period)
        near, far = (_noise(seed, _MARKET, "slow", period, slot + side) for side in (0, 1))
        total += 0.25 * (near + (far - near) * offset / period)
    return total


def _rhythm() -> Series1D:
    """Return how busy each minute of the UTC day is: most so in the American morning; mean 1, no step at midnight."""
    angle = 2 * np.pi * (np.arange(_MINUTES) / _MINUTES - 14.5 / 24)
    return np.asarray(1 + 0.45 * np.cos(angle) + 0.15 * np.cos(2 * angle), dtype=np.float64)


_RHYTHM = _rhythm()
_NORMAL = NormalDist()


def _digest(*key: object) -> int:
    return int.from_bytes(blake2b(repr(key).encode(), digest_size=16).digest())


def _uniform(*key: object) -> float:
    """Return a number in (0, 1) that is fixed by `key`."""
    return ((_digest(*key) >> 76) + 0.5) / (1 << 52)


def _noise(*key: object) -> float:
    """Return a standard normal number that is fixed by `key`."""
    return _NORMAL.inv_cdf(_uniform(*key))


def _generator(*key: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(_digest(*key)))
