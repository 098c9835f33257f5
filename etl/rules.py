"""The table [rules] of feeds.toml: the parameters of the rules that `etl.validate` applies."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from etl.schema import RULE_FLAGS, Flag
from etl.spelling import nearest

FLAGS_VERSION = 2
"""Of what the flagging rules find: raised with each change after which they find something else in equal candles."""

FLAG_NAMES = tuple(str(flag.name).lower() for flag in Flag if flag & RULE_FLAGS)
"""The rules that flag a candle, each by the name of its bit."""


class Rules(BaseModel):
    """Parameters of the rules; the defaults are calibrated on recordings, see docs/performance.md.

    Attributes:
        lookback: How many traded candles before a candle may have a say in its flags, ...
        lookback_slots: ... if they open in so many slots of the grid before it.
        ohlc_tolerance_pct: By how much high and low may miss open and close; more is refused, less is flagged.
        price_limit: How many robust deviations an excursion from the previous close must stand out, and ...
        price_floor_pct: ... how wide it must be besides, at 1m; wider timeframes by the square root of their minutes.
        volume_limit: How many robust deviations the log of a volume must stand out, and ...
        volume_floor: ... how many times the usual volume it must be besides.
        volume_ceiling: More than that many times the usual volume is flagged wherever volumes are.
        jump_pct: How far from the previous close a candle may open.
        frozen_after: That many times the same candle, though volume trades, is a frozen feed.
        zero_volume_after: That many candles on end without volume are flagged.
        off: Flagging rules that are not applied, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lookback: int = Field(default=120, ge=20, le=1440)
    lookback_slots: int = Field(default=14_400, ge=20, le=100_000)
    ohlc_tolerance_pct: float = Field(default=0.1, ge=0, lt=100)
    price_limit: float = Field(default=10.0, gt=0)
    price_floor_pct: float = Field(default=1.75, gt=0)
    volume_limit: float = Field(default=4.5, gt=0)
    volume_floor: float = Field(default=50.0, ge=1)
    volume_ceiling: float = Field(default=500.0, ge=1)
    jump_pct: float = Field(default=2.0, gt=0)
    frozen_after: int = Field(default=20, ge=2)
    zero_volume_after: int = Field(default=60, ge=1)
    off: frozenset[str] = frozenset()

    @field_validator("off")
    @classmethod
    def _are_flagging(cls, names: frozenset[str]) -> frozenset[str]:
        if unknown := sorted(names.difference(FLAG_NAMES)):
            hints = "; ".join(f"no rule {name!r} flags candles{nearest(name, FLAG_NAMES)}" for name in unknown)
            raise ValueError(f"{hints} (what refuses rows cannot be off: no store could hold them)")
        return names

    @model_validator(mode="after")
    def _all_fits_into_the_lookback(self) -> Self:
        if self.lookback > self.lookback_slots:
            raise ValueError(f"lookback = {self.lookback} does not fit into lookback_slots = {self.lookback_slots}")
        for name in ("frozen_after", "zero_volume_after"):
            if getattr(self, name) > self.lookback:
                raise ValueError(f"{name} = {getattr(self, name)} does not fit into lookback = {self.lookback}")
        return self

    def flagging(self, splits_ms: Sequence[int]) -> str:
        """Return a name for all that flags follow from besides candles: the same name, the same flags.

        Args:
            splits_ms: See `Settings.splits_of`.
        """
        parameters = {**self.model_dump(), "off": sorted(self.off), "splits_ms": list(splits_ms)}
        return f"{FLAGS_VERSION}-{sha256(orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]}"
