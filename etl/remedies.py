"""Commands that mend what is wrong with a series, as they are typed."""

from __future__ import annotations

from etl.series import Series, TimeRange


def by_mending(series: Series) -> str:
    """Return the command that mends from what is stored."""
    return f"chandler audit {series} --fix"


def by_rebuilding(series: Series) -> str:
    """Return the command that loads into the warehouse what the archive alone has."""
    return f"chandler warehouse rebuild {series}"


def by_importing(series: Series) -> str:
    """Return the command that loads somebody's file; whose it was only a person knows."""
    return f"chandler import FILE {series}"


def by_loading(series: Series, time_range: TimeRange, *, again: bool = True) -> str:
    """Return the command that asks the exchange.

    Args:
        again: Also for what is accounted for.
    """
    start = f"{series.timeframe.floor(time_range.start):%Y-%m-%dT%H:%M}"
    end = f"{series.timeframe.ceil(time_range.end):%Y-%m-%dT%H:%M}"
    return f"chandler ingest {series} --start {start} --end {end}" + (" --again" if again else "")
