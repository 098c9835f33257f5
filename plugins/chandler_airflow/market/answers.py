"""Answers of pages, and the parameters of their requests."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Depends, HTTPException, Query
from fastapi.responses import Response
from pydantic import AfterValidator

from etl.errors import ConfigError
from etl.series import Series, TimeRange, utc_day
from etl.spelling import Moment

LONGEST = timedelta(days=366 * 20)
"""What one answer may be about at most."""


def as_json(content: Any) -> Response:
    """Return JSON of dataclasses, arrays, enums and aware moments as they are; what is no number is null.

    Raises:
        TypeError: Something in it is none of these.
    """
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return Response(orjson.dumps(content, option=options), media_type="application/json")


def to_series(series: str) -> Series:
    """Return the series that `exchange:SYMBOL:timeframe` names.

    Raises:
        HTTPException: 422, it names none.
    """
    try:
        return Series.parse(series)
    except ConfigError as error:
        raise HTTPException(422, error.message) from error


_Day = TypeVar("_Day", bound=date)


def _sane(day: _Day) -> _Day:
    """Return a day or a moment that others can be counted to and from without an end of time in the way."""
    if not 1970 <= day.year <= 9000:
        raise ValueError(f"{day} is no day that anything is known of")
    return day


AskedSeries = Annotated[Series, Depends(to_series)]
AskedDay = Annotated[date, AfterValidator(_sane), Query(description="YYYY-MM-DD, UTC")]
AskedMoment = Annotated[Moment, AfterValidator(_sane)]


def to_range(start: datetime, end: datetime) -> TimeRange:
    """Return the range of two bounds that were asked for.

    Raises:
        HTTPException: 422, it is empty, reversed, or too wide to answer.
    """
    if not timedelta(0) < end - start <= LONGEST:
        raise HTTPException(422, f"ask for a start before the end, and at most {LONGEST.days:,} days")
    return TimeRange(start, end)


def to_days(start: date | None, end: date | None, *, usual: int, today: date) -> TimeRange:
    """Return whole UTC days from `start` to `end`, both included; without them the `usual` last ones up to today."""
    last = end or today
    first = start or last - timedelta(days=usual - 1)
    return to_range(utc_day(first).start, utc_day(last).end)
