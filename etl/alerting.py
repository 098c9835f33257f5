"""alerts.toml: who is told of what, where and when; validated and frozen.

Where a channel leads is a secret and stands elsewhere: in the Airflow Connection `chandler_channel_<name>` (its
password) or in the variable `CHANDLER_CHANNEL_<NAME>`, as an Apprise URL.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import time, timedelta
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from etl.errors import ConfigError
from etl.incidents import Kind, Severity
from etl.messages import PipelineKind
from etl.problems import Fault, Place, problems_of
from etl.series import check_symbol
from etl.spelling import Duration, as_written, nearest
from etl.toml_file import read_toml

KINDS = (*Kind, *PipelineKind)


def _to_clock(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return time.fromisoformat(value)
    if isinstance(value, time):
        return value
    raise ValueError(f"{as_written(value)} is no time of day; write one such as '22:00', by the clock of `zone`")


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{name!r} is no time zone; write one such as Europe/Berlin, or UTC") from error
    return name


def _is_symbol(symbol: str) -> str:
    try:
        return check_symbol(symbol)
    except ConfigError as error:
        raise ValueError(error.message) from error


def _is_kind(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind{nearest(kind, KINDS)}")
    return kind


def _is_channel_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"{name!r} is no channel name; write lower case letters, digits and _")
    return name


Clock = Annotated[time, BeforeValidator(_to_clock)]
Symbol = Annotated[str, AfterValidator(_is_symbol)]
Zone = Annotated[str, AfterValidator(_is_zone)]
ChannelName = Annotated[str, AfterValidator(_is_channel_name)]
KindName = Annotated[str, AfterValidator(_is_kind)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChannelSettings(_Frozen):
    """Treatment of one channel.

    Attributes:
        allow_private: Whether its address may be one of a private network, or of this machine.
        chart: Whether to send a small chart where the channel takes images.
        timeout_s: How long a try may take until it connects, and until it is answered.
    """

    allow_private: bool = False
    chart: bool = True
    timeout_s: float = Field(default=10.0, gt=0, le=60)


class Route(_Frozen):
    """Rule that sends alerts to channels. An empty tuple keeps nothing out.

    Attributes:
        severity: At least that.
        kinds: Of incidents or of the pipeline.
        exchanges, symbols: Whose alerts.
        channels: Where to.
        unacknowledged_for: Tell only of incidents that nobody has acknowledged for so long: an escalation.
    """

    channels: tuple[ChannelName, ...] = Field(min_length=1)
    severity: Severity = Severity.LOW
    kinds: tuple[KindName, ...] = ()
    exchanges: tuple[str, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    unacknowledged_for: Duration | None = None

    @model_validator(mode="after")
    def _can_be_acknowledged(self) -> Self:
        of_pipeline = sorted(set(self.kinds) & set(PipelineKind))
        if of_pipeline and self.unacknowledged_for is not None:
            kinds = ", ".join(of_pipeline)
            raise ValueError(f"nobody can acknowledge {kinds}; leave unacknowledged_for out, or name other kinds")
        return self


class QuietHours(_Frozen):
    """Hours in which messages wait until the morning.

    Attributes:
        start, end: By the clock of `zone`; the end may lie before the start, on the next day.
        but: What is at least so severe is sent all the same.
    """

    start: Clock
    end: Clock
    zone: Zone = "UTC"
    but: Severity = Severity.CRITICAL

    @model_validator(mode="after")
    def _have_a_length(self) -> Self:
        if self.start == self.end:
            raise ValueError("start and end are the same; leave the table out if no hours are quiet")
        return self


class Digest(_Frozen):
    """A message a day that lists what there was.

    Attributes:
        at: By the clock of `zone`.
    """

    at: Clock
    channels: tuple[ChannelName, ...] = Field(min_length=1)
    zone: Zone = "UTC"


class Spread(_Frozen):
    """Limits beyond which prices of two venues are too far apart.

    Attributes:
        cost_bps: What it costs to buy on one and sell on the other, in basis points: fees of both and slippage.
        candles: For how many candles in a row.
    """

    cost_bps: float = Field(default=60.0, gt=0, le=10_000)
    candles: int = Field(default=3, ge=1, le=1000)


class Opinion(_Frozen):
    """A language model that is asked for a second opinion of incidents: any server with the OpenAI chat protocol.

    Its key, if it wants one, stands in the Airflow Connection `chandler_opinion` (password) or in CHANDLER_OPINION_KEY.

    Attributes:
        url: Up to the version: `https://api.openai.com/v1`.
        model: Its name there.
        severity: Asked of incidents that are at least so severe.
        calls_per_day, tokens_per_day: What a UTC day may cost; nobody is asked beyond it.
        timeout_s: How long an answer may take.
        allow_private: Whether its address may be one of a private network, or of this machine.
    """

    url: AnyHttpUrl
    model: str = Field(min_length=1)
    severity: Severity = Severity.HIGH
    calls_per_day: int = Field(default=50, ge=1)
    tokens_per_day: int = Field(default=200_000, ge=1)
    timeout_s: float = Field(default=20.0, gt=0, le=300)
    allow_private: bool = False


class Alerting(_Frozen):
    """All of alerts.toml.

    Attributes:
        news: A candle that closed longer ago when it is scored is history, and alerts nobody.
        gather_s: How long an alert waits for others that belong with it.
        cool_down: How long after a message of a series, or of a market event, no other of the same severity is sent.
        same_event: Incidents that begin no further apart are one market event, and one message.
        gap_older_than: An absence that could not be fetched, or judged, for so long is told of.
        late_after: A daily load that has not ended so long after it was due is told of.
        give_up_after: A message that could not be sent for so long is given up.
    """

    news: Duration = timedelta(hours=36)
    gather_s: float = Field(default=15.0, ge=0, le=600)
    cool_down: Duration = timedelta(minutes=30)
    same_event: Duration = timedelta(minutes=10)
    gap_older_than: Duration = timedelta(hours=6)
    late_after: Duration = timedelta(hours=3)
    give_up_after: Duration = timedelta(days=3)
    spread: Spread = Spread()
    quiet_hours: QuietHours | None = None
    digest: Digest | None = None
    opinion: Opinion | None = None
    channels: Mapping[ChannelName, ChannelSettings] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()

    @model_validator(mode="after")
    def _channels_are_there(self) -> Self:
        wanted = {name for route in self.routes for name in route.channels}
        wanted |= set(self.digest.channels if self.digest else ())
        problems = [
            f"no table [channels.{name}]{nearest(name, self.channels)}; an empty one will do"
            for name in sorted(wanted - set(self.channels))
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def alerts_path() -> Path:
    """Return where alerts are configured: `CHANDLER_ALERTS`, or alerts.toml in the working directory."""
    return Path(os.environ.get("CHANDLER_ALERTS", "alerts.toml")).absolute()


def load_alerting(path: Path | None = None) -> Alerting:
    """Read alerts.toml.

    Args:
        path: The file; `alerts_path()` without one. It need not exist unless `CHANDLER_ALERTS` names it.

    Raises:
        ConfigError: A line for each thing that is wrong, with what would have been right.
    """
    path = path or alerts_path()
    read = read_toml(path, "CHANDLER_ALERTS")
    faults = list(read.faults)
    try:
        alerting = Alerting(**read.content)
    except ValidationError as error:
        faults += [Fault(place, problem, str(path)) for place, problem in problems_of(error, _known_keys)]
    if faults:
        raise ConfigError("\n".join(map(str, faults)))
    return alerting


def _known_keys(place: Place) -> Iterable[str]:
    if len(place) == 1:
        return Alerting.model_fields
    tables: Mapping[str, type[BaseModel]] = {
        "routes": Route,
        "channels": ChannelSettings,
        "quiet_hours": QuietHours,
        "digest": Digest,
        "spread": Spread,
        "opinion": Opinion,
    }
    return tables[place[0]].model_fields
