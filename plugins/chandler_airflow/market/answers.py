"""What pages are answered with, and what they may ask by."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import orjson
from fastapi import Depends, HTTPException, Query
from fastapi.responses import Response
from pydantic import AfterValidator

from etl.errors import ConfigError
from etl.series import Series, TimeRange
from etl.spelling import Moment

LONGEST = timedelta(days=366 * 20)
"""What one answer may be about at most."""


def as_json(content: Any) -> Response:
    """Return JSON of dataclasses, arrays and aware moments as they are; what is no number is null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return Response(orjson.dumps(content, default=str, option=options), media_type="application/json")


def to_series(series: str) -> Series:
    """Return the series that `exchange:SYMBOL:timeframe` names.

    Raises:
        HTTPException: 422, it names none.
    """
    try:
        return Series.parse(series)
    except ConfigError as error:
        raise HTTPException(422, error.message) from error


AskedSeries = Annotated[Series, Depends(to_series)]
AskedDay = Annotated[date, AfterValidator(lambda day: _sane(day)), Query(description="YYYY-MM-DD, UTC")]
AskedMoment = Annotated[Moment, AfterValidator(lambda moment: moment if _sane(moment.date()) else moment)]


def _sane(day: date) -> date:
    """Return a day that moments can be counted to and from without an end of time in the way."""
    if not 1970 <= day.year <= 9000:
        raise ValueError(f"{day} is no day that anything is known of")
    return day


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
    return to_range(datetime.combine(first, time(), UTC), datetime.combine(last, time(), UTC) + timedelta(days=1))
