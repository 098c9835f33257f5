"""Metrics of the warehouse for Prometheus, in its text format.

All of it is read from small tables, and the last candle of a series by its key, so that a scrape costs little however
many candles there are. The names are an interface: `docs/guides/metrics.md` lists them, and alert rules of users go by
them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from etl.answers import BOUNDS_S, Answers
from etl.incidents import Severity
from etl.problems import root_of
from etl.series import Series
from etl.settings import Settings
from etl.traffic import read_traffic
from etl.warehouse import (
    SeriesTotals,
    Warehouse,
    begin_reading,
    count_present_incidents,
    read_backlog,
    read_champions,
    read_last_opens,
    read_totals,
    total_requests,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_OF_SERIES = ("exchange", "symbol", "timeframe")
_MESSAGES = ("waiting", "sending", "dead")

Samples = Iterable[tuple[Sequence[str], float]]


def metrics_text(warehouse: Warehouse, settings: Settings, now: datetime) -> bytes:
    """Return all metrics in Prometheus' text format, as of one moment: what belongs together adds up.

    Raises:
        StoreError: The warehouse does not answer; so that a scrape fails, and `up` says so.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    with begin_reading(warehouse) as connection:
        families = [
            *_of_series(read_totals(connection), settings, now),
            _of_last_opens(read_last_opens(connection)),
            *_of_exchanges(connection, settings, now),
            *_of_incidents(connection),
            *_of_backlog(connection, now),
            *_of_models(connection, now),
            _of_settings(settings),
        ]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Read(families))
    return generate_latest(registry)


class _Read:
    """Metrics that are read already, as the library wants them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauge(name: str, says: str, labels: Sequence[str], samples: Samples) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(name, says, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _counter(name: str, says: str, labels: Sequence[str], samples: Samples) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(name, says, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def _of_series(totals: Mapping[Series, SeriesTotals], settings: Settings, now: datetime) -> Iterator[Metric]:
    def plain(name: str, says: str, field: str) -> Metric:
        return _gauge(name, says, _OF_SERIES, ((_labels(one), getattr(of, field)) for one, of in totals.items()))

    def named(name: str, says: str, field: str, label: str) -> Metric:
        samples = (
            ((*_labels(one), what), count)
            for one, of in totals.items()
            for what, count in sorted(getattr(of, field).items())
        )
        return _gauge(name, says, (*_OF_SERIES, label), samples)

    yield plain("chandler_candles_expected", "Candles that are accounted for: stored and absent ones.", "expected")
    yield plain("chandler_candles_stored", "Candles that are held.", "stored")
    yield named("chandler_candles_absent", "Candles that are expected and not held, by kind.", "absent", "kind")
    yield named("chandler_rows_refused", "Rows in quarantine, by rule.", "refused", "rule")
    yield named(
        "chandler_candles_flagged",
        "Candles with a flag, such as a rule's, by flag.",
        "flagged",
        "rule",
    )
    yield plain("chandler_revisions", "Values that an exchange has changed after a candle had closed.", "revisions")
    yield _gauge(
        "chandler_watermark_timestamp_seconds",
        "Exclusive end of the contiguous range that is accounted for, from the first one on.",
        _OF_SERIES,
        ((_labels(one), of.covered[0].end.timestamp()) for one, of in totals.items() if of.covered),
    )
    yield _gauge(
        "chandler_lag_seconds",
        "How long ago the last range ends that is accounted for, of a series of a feed.",
        _OF_SERIES,
        ((_labels(one), lag_s) for one, lag_s in _lags(totals, settings, now)),
    )
    yield from _of_loads(totals)


def _of_last_opens(opens: Mapping[Series, datetime]) -> Metric:
    return _gauge(
        "chandler_last_candle_timestamp_seconds",
        "When the last candle opens that is held; of one that the archive alone keeps, its midnight.",
        _OF_SERIES,
        ((_labels(one), last.timestamp()) for one, last in opens.items()),
    )


def _of_loads(totals: Mapping[Series, SeriesTotals]) -> Iterator[Metric]:
    loaded = {one: of for one, of in totals.items() if of.last_load is not None}
    yield _gauge(
        "chandler_last_load_timestamp_seconds",
        "When a load of the series was committed for the last time.",
        _OF_SERIES,
        ((_labels(one), of.last_load.timestamp()) for one, of in loaded.items() if of.last_load is not None),
    )
    yield _counter(
        "chandler_loads_total",
        "Loads that were committed.",
        _OF_SERIES,
        ((_labels(one), of.loads) for one, of in loaded.items()),
    )
    yield _counter(
        "chandler_loaded_rows_total",
        "Rows that loads have brought, by what became of them: new, revised or refused.",
        (*_OF_SERIES, "change"),
        (((*_labels(one), what), count) for one, of in loaded.items() for what, count in of.loaded.items()),
    )


def _lags(totals: Mapping[Series, SeriesTotals], settings: Settings, now: datetime) -> Iterator[tuple[Series, float]]:
    """Yield how far each series of a feed is behind; one that is traded no more is so until its last candle."""
    starts: dict[Series, datetime] = {}
    for feed in settings.feeds.values():
        for series in feed.series:
            starts[series] = min(feed.start, starts.get(series, feed.start))
    for series, start in sorted(starts.items()):
        of = totals.get(series, SeriesTotals())
        goal = now if of.ended is None else min(now, of.ended)
        reached = of.covered[-1].end if of.covered else start
        yield series, max(0.0, (goal - reached).total_seconds())


def _of_exchanges(connection: Connection, settings: Settings, now: datetime) -> Iterator[Metric]:
    totals = total_requests(connection)
    yield _counter(
        "chandler_requests_total",
        "Requests to an exchange, by outcome.",
        ("exchange", "outcome"),
        (((exchange, outcome.value), answers.requests) for (exchange, outcome), answers in totals.items()),
    )
    by_exchange: defaultdict[str, Answers] = defaultdict(Answers)
    for (exchange, _), answers in totals.items():
        by_exchange[exchange].add(answers)
    yield _durations(by_exchange)
    traffic = read_traffic(connection, settings, now, hours=1)
    spoken = [(one.exchange, one) for one in traffic if one.limit is not None and one.interval_s is not None]
    yield _gauge(
        "chandler_budget_limit",
        "Weight that the exchange lets one address spend in an interval.",
        ("exchange",),
        (((name,), one.limit or 0) for name, one in spoken),
    )
    yield _gauge(
        "chandler_budget_interval_seconds",
        "The interval of the limit.",
        ("exchange",),
        (((name,), one.interval_s or 0.0) for name, one in spoken),
    )
    yield _gauge(
        "chandler_budget_share_ratio",
        "What part of the limit is spent at most.",
        ("exchange",),
        (((name,), one.share) for name, one in spoken),
    )
    yield _gauge(
        "chandler_budget_spent",
        "Weight that was spent in the last interval, by all processes.",
        ("exchange",),
        (((name,), one.spent) for name, one in spoken),
    )
    yield _gauge(
        "chandler_pause_seconds",
        "How long nobody asks the exchange any more, since it wants us away; 0 if it does not.",
        ("exchange",),
        (((one.exchange,), (one.paused_until - now).total_seconds() if one.paused_until else 0.0) for one in traffic),
    )


def _durations(by_exchange: Mapping[str, Answers]) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    says = "How long a request to an exchange took, whatever came of it."
    family = HistogramMetricFamily("chandler_request_duration_seconds", says, labels=("exchange",))
    for exchange, answers in by_exchange.items():
        buckets = [(str(bound_s), count) for bound_s, count in zip(BOUNDS_S, answers.within, strict=True)]
        family.add_metric((exchange,), [*buckets, ("+Inf", answers.requests)], answers.seconds)
    return family


def _of_incidents(connection: Connection) -> Iterator[Metric]:
    counts = count_present_incidents(connection)
    yield _gauge(
        "chandler_incidents",
        "Incidents, those of history left out.",
        ("severity", "scope", "state"),
        (((one.severity, one.scope, one.state), one.count) for one in counts),
    )
    left = {severity.value: 0 for severity in Severity}
    for one in counts:
        left[one.severity] += one.unacknowledged
    yield _gauge(
        "chandler_incidents_open",
        "Incidents that go on and that nobody has acknowledged, those of history left out.",
        ("severity",),
        (((severity,), count) for severity, count in left.items()),
    )


def _of_backlog(connection: Connection, now: datetime) -> Iterator[Metric]:
    backlog = read_backlog(connection)
    one = ("chandler_scorings_waiting", "Loads that no model has judged yet.", backlog.loads_to_score)
    other = ("chandler_alerts_undecided", "Alerts of which it is not decided whom to tell.", backlog.alerts_to_plan)
    for name, says, count in (one, other):
        yield _gauge(name, says, (), [((), count)])
    yield _gauge(
        "chandler_messages",
        "Messages that are not sent: waiting, just being sent, or given up as dead.",
        ("state",),
        (((state,), backlog.messages[state]) for state in _MESSAGES),
    )
    yield _gauge(
        "chandler_channel_failing_seconds",
        "Since when a channel of alerts fails; 0 if it does not.",
        ("channel",),
        (((name,), (now - since).total_seconds() if since else 0.0) for name, since in backlog.failing_since.items()),
    )


def _of_models(connection: Connection, now: datetime) -> Iterator[Metric]:
    champions = [((one.timeframe, one.scope, one.scorer), one) for one in read_champions(connection)]
    labels = ("timeframe", "scope", "scorer")
    yield _gauge(
        "chandler_champion_version",
        "Version of the model that judges.",
        labels,
        ((of, one.version) for of, one in champions),
    )
    yield _gauge(
        "chandler_champion_age_seconds",
        "How long ago the model that judges was trained.",
        labels,
        ((of, (now - one.created_at).total_seconds()) for of, one in champions),
    )
    yield _gauge(
        "chandler_champion_vus_pr",
        "VUS-PR of the model that judges, in the night that it was trained in.",
        labels,
        ((of, one.vus_pr) for of, one in champions if one.vus_pr is not None),
    )


def _of_settings(settings: Settings) -> Metric:
    counts = Counter(".".join(root_of(fault.place)) or "file" for fault in settings.faults)
    says = "Mistakes in the feeds file; the feed or table that has them is left out."
    return _gauge("chandler_settings_faults", says, ("table",), (((table,), count) for table, count in counts.items()))


def _labels(series: Series) -> tuple[str, str, str]:
    return series.exchange, series.symbol, series.timeframe.value
