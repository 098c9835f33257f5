"""The plan of what shall go wrong when: which mishap befalls which of the requests to come."""

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from etl.errors import ConfigError
from etl.replay.mishaps import MISHAPS
from etl.spelling import nearest

FAULTS: Mapping[str, str] = MappingProxyType(
    {name: (mishap.__doc__ or "").partition("\n")[0] for name, mishap in MISHAPS.items()}
)
"""What each fault is, by name."""

_TEXT = re.compile(
    r"(?P<name>\w+)(:(?P<times>\d+|\*|(?P<percent>\d+(\.\d+)?)%))?(@(?P<after>\d+))?(/(?P<route>\w+|\*))?"
)
_BULK_FAULTS = frozenset({"wrong_checksum", "file_differs", "file_cut"})
_EVERY = "*"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault to come.

    Attributes:
        name: One of `FAULTS`.
        times: How many matching requests it befalls; None for all. Has no say where `share` is below 1.
        after: How many matching requests pass before it begins.
        symbol: The symbol whose requests match (ccxt's form); None for every one.
        route: The route whose requests match, such as `klines`, `OHLC`, `time` or `bulk`, in any case; `*` for every
            one, None for those of candles and trades.
        share: Which share of the matching requests it befalls, 0 to 1.

    Raises:
        ConfigError: There is no such fault, or no such share.
    """

    name: str
    times: int | None = 1
    after: int = 0
    symbol: str | None = None
    route: str | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ConfigError(f"no fault {self.name!r}{nearest(self.name, FAULTS)}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"{self.share} is no share of requests; it lies between 0 and 1")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read `name[:times][@after][/route]`.

        `http_500` is once, `http_429:2` twice, `html:*` always, `reset:5%` one request in twenty, `null:1@3` once, from
        the fourth request on, `http_503:*/time` always, for those who ask for the time, and `html:*/*` always,
        whatever is asked.

        Raises:
            ConfigError: `text` is not of that form, or there is no such fault.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                f"{text!r} is no fault; write name[:times][@after][/route], such as null:1@3, html:* or reset:5%/klines"
            )
        is_counted = match["times"] != "*" and match["percent"] is None
        return cls(
            match["name"],
            times=int(match["times"] or 1) if is_counted else None,
            after=int(match["after"] or 0),
            route=match["route"],
            share=float(match["percent"] or 100) / 100,
        )

    def matches(self, symbol: str | None, route: str, is_rows: bool) -> bool:
        """Return whether a request is one that this fault looks at."""
        if self.symbol not in {None, symbol}:
            return False
        if self.route is None:
            return is_rows or self.name in _BULK_FAULTS
        return self.route == _EVERY or self.route.lower() == route.lower()


@dataclass(slots=True)
class _Entry:
    fault: Fault
    random: random.Random
    seen: int = 0

    def strikes(self) -> bool:
        """Count a matching request and return whether the fault befalls it."""
        self.seen += 1
        if self.seen <= self.fault.after:
            return False
        if self.fault.share < 1:
            return self.random.random() < self.fault.share
        return self.fault.times is None or self.seen <= self.fault.after + self.fault.times


class FaultPlan:
    """Faults of the requests to come. May be changed while a server runs.

    Args:
        faults: The first entries.
        hold_s: How long `timeout` holds an answer.
        slow_s: How long `slow` takes over a body.
        seed: Names the draws of faults that have a share: the same plan draws the same again.

    Attributes:
        given: How often each fault has befallen a request.
    """

    def __init__(self, *faults: Fault, hold_s: float = 30.0, slow_s: float = 1.0, seed: int = 0) -> None:
        self.hold_s = hold_s
        self.slow_s = slow_s
        self.given: Counter[str] = Counter()
        self._seed = seed
        self._lock = threading.Lock()
        self._entries: list[_Entry] = []
        self._added = 0
        for fault in faults:
            self._append(fault)

    @classmethod
    def parse(cls, texts: Iterable[str], *, hold_s: float = 30.0, slow_s: float = 1.0, seed: int = 0) -> FaultPlan:
        """Read a plan from texts such as `null:1@3`; see `Fault.parse`.

        Raises:
            ConfigError: One of them names no fault.
        """
        return cls(*map(Fault.parse, texts), hold_s=hold_s, slow_s=slow_s, seed=seed)

    def add(
        self,
        name: str,
        times: int | None = 1,
        after: int = 0,
        symbol: str | None = None,
        route: str | None = None,
        share: float = 1.0,
    ) -> None:
        """Let `name` befall requests to come; see `Fault`.

        Raises:
            ConfigError: There is no such fault.
        """
        self._append(Fault(name, times, after, symbol, route, share))

    def clear(self) -> None:
        """Let nothing go wrong from now on."""
        with self._lock:
            self._entries.clear()

    def take(
        self,
        symbol: str | None,
        route: str = "klines",
        *,
        is_rows: bool = True,
        among: Container[str] = FAULTS,
    ) -> tuple[str, ...]:
        """Count a request and return the faults that befall it.

        Args:
            symbol: Whose rows it asks for, where it asks for any.
            route: What it asks.
            is_rows: Whether candles or trades are the answer.
            among: The faults that its answer can have; the others do not see the request.
        """
        with self._lock:
            names = tuple(
                entry.fault.name
                for entry in self._entries
                if entry.fault.name in among and entry.fault.matches(symbol, route, is_rows) and entry.strikes()
            )
            self.given.update(names)
        return names

    def _append(self, fault: Fault) -> None:
        with self._lock:
            self._entries.append(_Entry(fault, random.Random(f"{self._seed} {self._added}")))  # noqa: S311 - a plan
            self._added += 1
