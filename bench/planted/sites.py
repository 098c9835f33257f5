"""Places of planted faults: drawn by seed, evenly over the symbols, and far enough apart not to blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench.planted.kinds import MINUTE_MS, Kind, Soil, values
from etl.replay.market import Row
from etl.series import TimeRange

APART = 150  # slots between one fault and the next: more than the rules look back
_SLACK = 60  # slots that a fault's place is drawn from
_LONE_SLACK = 20
_QUIET_PCT = 0.5  # in a quiet minute no candle of the last hour is wider


@dataclass(frozen=True, slots=True)
class Recording:
    """Candles at 1m of a market that is taken to be sound.

    Attributes:
        protocol: The exchange whose protocol serves it.
        grid: By symbol, the row of each minute of `span`; None where there is none.
    """

    name: str
    protocol: str
    span: TimeRange
    grid: Mapping[str, Sequence[Row | None]]


@dataclass(frozen=True, slots=True)
class Site:
    """Place of a planted fault: slots of a symbol's grid, half-open.

    Attributes:
        number: Counts the faults of a symbol; variants of a kind take turns by it.
    """

    symbol: str
    start: int
    end: int
    number: int


def choose_sites(recording: Recording, kind: Kind, count: int, seed: int) -> list[Site]:
    """Draw where to plant: about `count` places, evenly over the symbols; fewer where there are not so many."""
    rng = np.random.default_rng([seed, crc32(kind.name.encode())])
    width = APART + _SLACK + kind.slots
    share = -(-count // len(recording.grid))
    fit = {symbol: _is_fit(rows, kind) for symbol, rows in recording.grid.items()}
    if kind.is_lone:
        # Each symbol has its own part of a stretch. No rule that looks back has a say in these.
        part = kind.slots + _LONE_SLACK
        return [
            _site(kind, symbol, place, number)
            for turn, (symbol, mask) in enumerate(fit.items())
            for number, place in enumerate(_draw(rng, mask, len(fit) * part, share, turn * part, _LONE_SLACK))
        ][:count]
    if kind.is_shared:
        together = np.all(list(fit.values()), axis=0)
        places = _draw(rng, together, width, share)
        return [_site(kind, symbol, place, number) for symbol in fit for number, place in enumerate(places)]
    return [
        _site(kind, symbol, place, number)
        for symbol, mask in fit.items()
        for number, place in enumerate(_draw(rng, mask, width, share))
    ][:count]


def plant(recording: Recording, kind: Kind, sites: Sequence[Site]) -> dict[str, list[Row]]:
    """Return by symbol what is served, ascending, once the faults are in."""
    served: dict[str, list[Row]] = {}
    for symbol, rows in recording.grid.items():
        left, kept = 0, served.setdefault(symbol, [])
        for site in sorted((each for each in sites if each.symbol == symbol), key=lambda each: each.start):
            kept += filter(None, rows[left : site.start])
            kept += kind.plant(_soil(recording, rows, site))
            left = site.end
        kept += filter(None, rows[left:])
    return served


def _soil(recording: Recording, rows: Sequence[Row | None], site: Site) -> Soil:
    last = rows[site.start - 1]
    assert last is not None
    hour = [float(row.volume or 0) for row in rows[site.start - 60 : site.start] if row is not None]
    return Soil(
        recording.span.start_ms + site.start * MINUTE_MS,
        rows[site.start : site.end],
        last,
        float(np.median(hour)),
        site.number,
        '"' if recording.protocol == "binance" else "",
    )


def _site(kind: Kind, symbol: str, place: int, number: int) -> Site:
    slots = 1 + 7 * number % kind.slots if kind.varies else kind.slots
    return Site(symbol, place, place + slots, number)


def _is_fit(rows: Sequence[Row | None], kind: Kind) -> NDArray[np.bool_]:
    """Return in which slots a fault may begin: a row is there, one before it, and most of those that rules look at."""
    held = np.array([row is not None for row in rows])
    before = np.concatenate(([0], np.cumsum(held)))[:-1]
    is_fit: NDArray[np.bool_] = held & np.roll(held, 1)
    is_fit[:APART] = False
    is_fit[APART:] &= before[APART:] - before[:-APART] >= 0.75 * APART
    if kind.is_quiet:
        wide = np.array([row is not None and values(row)[1] > (1 + _QUIET_PCT / 100) * values(row)[2] for row in rows])
        wild = np.concatenate(([0], np.cumsum(wide)))
        is_fit[60:] &= wild[61:] == wild[:-61]
    return is_fit


def _draw(
    rng: np.random.Generator,
    is_fit: NDArray[np.bool_],
    width: int,
    count: int,
    offset: int = APART,
    slack: int = _SLACK,
) -> list[int]:
    """Draw up to `count` places, one in each stretch of `width` slots, within `slack` slots from its `offset` on."""
    places: list[int] = []
    for block in rng.permutation(len(is_fit) // width).tolist():
        first = block * width + offset
        fit = np.flatnonzero(is_fit[first : first + slack])
        if fit.size and len(places) < count:
            places.append(first + int(rng.choice(fit)))
    return sorted(places)
