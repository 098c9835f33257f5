"""Retention: candles older than `[keep] warehouse` leave the warehouse, once the archive is proved to hold them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from etl.archive import file_spans
from etl.errors import StoreError, StoreUnavailableError
from etl.fallbacks import CONVERT, waiting_fallbacks
from etl.series import Series, TimeRange, clip
from etl.spelling import counted
from etl.stores import Stores
from etl.timeframe import Timeframe
from etl.warehouse import known_series, lock_series, retirable, retire

log = logging.getLogger(__name__)


@dataclass(slots=True)
class RetentionReport:
    """Candles that have left the warehouse.

    Attributes:
        horizon: Candles that close by then are not kept there; None if all are.
        candles: How many have left.
        problems: Why others have not, a sentence each.
    """

    horizon: datetime | None
    candles: int = 0
    problems: list[str] = field(default_factory=list)


def retire_candles(stores: Stores, moment: datetime) -> RetentionReport:
    """Take out of the warehouse what is older, at `moment`, than is kept there. The account of it stays.

    Returns:
        What has left, and what should have and has not, since the archive does not prove that it holds it.

    Raises:
        StoreUnavailableError: A store does not answer. What has left until then is proved.
    """
    keep = stores.settings.keep.warehouse
    if keep is None:
        return RetentionReport(None)
    report = RetentionReport(Timeframe.D1.floor(moment - keep))
    waiting: dict[Series, list[TimeRange]] = {}
    for fallback in waiting_fallbacks(stores):
        waiting.setdefault(fallback.series, []).append(fallback.span)
    with stores.warehouse.begin() as connection:
        known = known_series(connection)
    for series, series_id in known.items():
        with stores.warehouse.begin() as connection:
            due = retirable(connection, series_id, report.horizon or moment)
        by_file: dict[TimeRange, list[TimeRange]] = {}
        for span in due:
            by_file.setdefault(next(file_spans(series.timeframe, span)), []).append(span)
        for spans in by_file.values():
            _retire(stores, series, series_id, spans, waiting.get(series, ()), report)
    log.info("%s left the warehouse; the archive keeps them", counted(report.candles, "candle"))
    return report


def _retire(
    stores: Stores,
    series: Series,
    series_id: int,
    spans: Sequence[TimeRange],
    waiting: Sequence[TimeRange],
    report: RetentionReport,
) -> None:
    """Retire ranges that begin in one archive file, in one transaction."""

    def read(part: TimeRange) -> pa.Table:
        return stores.archive.read(series, part)

    with stores.warehouse.begin() as connection:
        lock_series(connection, series_id)
        for span in spans:
            if any(clip(span, fallback) for fallback in waiting):
                report.problems.append(f"{series} {span} stays: a fallback waits for it; run {CONVERT}")
                continue
            try:
                report.candles += retire(connection, series_id, span, read)
            except StoreUnavailableError:
                raise
            except StoreError as error:
                report.problems.append(f"{series} {span} stays: {error.message}; see chandler audit {series}")
