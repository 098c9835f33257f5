"""The commands of scores: judge what was loaded, or a range again, and look at what was found strange."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from etl.alerting import load_alerting
from etl.cli.terminal import (
    AsJson,
    End,
    SomeSeries,
    Start,
    check_known,
    complain,
    err,
    opened_warehouse,
    out,
    read_settings,
    read_settings_to_look,
    run_name,
    tell_none,
    to_range,
)
from etl.errors import ChandlerError, ConfigError
from etl.series import Series, TimeRange
from etl.settings import Settings

if TYPE_CHECKING:
    from etl.warehouse import Warehouse
    from models.judging import Round, Watch
    from models.registry import Model


def score(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    model: Annotated[
        str | None,
        typer.Option(help="Such as 1m/3: who judges the range, instead of the champion of its time.", metavar="MODEL"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let models judge what was loaded and not judged yet, as the DAG score_anomalies does after each load.

    With --start or --end, judge that range again, whether anything in it has changed or not: what is found replaces
    what was found before, which stays on record; it is history, and nobody is told. It may be stopped at any moment,
    and a rerun goes on.

    Example: [bold]chandler score binance:BTC/USDT:1m --start 2024-01-01 --end 2024-02-01[/bold]
    """
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    if model is not None and within is None:
        raise ConfigError(f"--model {model} judges a range again: say which, by --start and --end")
    settings, alerting = read_settings(), load_alerting()
    from models import show
    from models.rounds import score_again, score_loads

    rounds: list[Round] = []
    failures: list[ChandlerError] = []
    with opened_warehouse(settings) as warehouse:
        asked, judging = _wanted(warehouse, settings, only, model, is_again=within is not None)
        run, now = run_name(), datetime.now(UTC)
        for place, one in enumerate(asked, 1):
            try:
                with _bar(f"{one} ({place} of {len(asked)})") as watch:
                    if within is None:
                        done = score_loads(warehouse, settings, alerting, one, run=run, now=now, watch=watch)
                    else:
                        done = score_again(
                            warehouse, settings, alerting, one, within, run=run, now=now, model=judging, watch=watch
                        )
                rounds.append(done)
            except ChandlerError as error:
                failures.append(error)
    if as_json:
        out.print_json(data=[asdict(one) | {"series": str(one.series)} for one in rounds])
    elif rounds:
        out.print(show.rounds_table(rounds))
    elif not failures:
        err.print("All that was loaded is scored already.")
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def anomalies(
    series: SomeSeries = None,
    start: Start = None,
    end: End = None,
    replaced: Annotated[
        bool, typer.Option("--replaced", help="Those that a later scoring has replaced, instead.")
    ] = False,
    scorings: Annotated[bool, typer.Option("--scorings", help="Which model judged which range, instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to list, the latest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the candles that a model found strange: how strange, by which features, and by whose judgement.

    A score is the log10 of once in so many candles; at or above the threshold a candle is an anomaly. Consecutive ones
    are one incident: see chandler incidents.

    Example: [bold]chandler anomalies binance:BTC/USDT:1m --start 2024-01-01 --limit 20[/bold]
    """
    if replaced and scorings:
        raise ConfigError("--replaced and --scorings ask for two different things; leave one out")
    only = [Series.parse(text) for text in series or []]
    within = to_range(start, end)
    from etl.warehouse import known_series

    with opened_warehouse(read_settings_to_look()) as warehouse:
        with warehouse.begin() as connection:
            check_known(only, known_series(connection))
        if scorings:
            _show_scorings(warehouse, only, within, limit, as_json=as_json)
        else:
            _show_anomalies(warehouse, only, within, limit, is_replaced=replaced, as_json=as_json)


def _show_anomalies(
    warehouse: Warehouse,
    only: Sequence[Series],
    within: TimeRange | None,
    limit: int,
    *,
    is_replaced: bool,
    as_json: bool,
) -> None:
    from etl.show.anomalies import anomalies_json, anomalies_table
    from etl.warehouse import count_anomalies, read_anomalies

    with warehouse.begin() as connection:
        found = read_anomalies(connection, only, within, limit, is_replaced=is_replaced)
        more = count_anomalies(connection, only, within, is_replaced=is_replaced) - len(found)
    if as_json:
        out.print_json(data=anomalies_json(found))
    elif found:
        out.print(anomalies_table(found))
        if more > 0:
            err.print(f"{more:,} more; see --limit")
    else:
        is_filtered = bool(only) or within is not None or is_replaced
        tell_none("anomaly", is_filtered=is_filtered, hint="What no model has judged yet: chandler score")


def _show_scorings(
    warehouse: Warehouse, only: Sequence[Series], within: TimeRange | None, limit: int, *, as_json: bool
) -> None:
    from etl.show.anomalies import scorings_json, scorings_table
    from etl.warehouse import read_scorings

    with warehouse.begin() as connection:
        found = read_scorings(connection, only, within, limit)
    if as_json:
        out.print_json(data=scorings_json(found))
    elif found:
        out.print(scorings_table(found))
    else:
        err.print("No model has judged any of it; try: chandler score")


def _wanted(
    warehouse: Warehouse, settings: Settings, only: Sequence[Series], model: str | None, *, is_again: bool
) -> tuple[list[Series], Model | None]:
    """Return the series to score, and who is to judge if it is not the champion of the time."""
    from etl.warehouse import known_series
    from models.registry import find_model
    from models.rounds import due

    with warehouse.begin() as connection:
        known = list(known_series(connection))
        judging = None if model is None else find_model(connection, model)
    check_known(only, known)
    if only:
        return list(only), judging
    if not is_again:
        ready, waiting = due(warehouse, settings)
        return sorted([*ready, *waiting]), None
    if judging is None:
        return known, None
    target = judging.target
    return [one for one in known if one.timeframe is target.timeframe and target.series in {None, one}], judging


@contextmanager
def _bar(what: str) -> Iterator[Watch]:
    """Show a bar, and yield what moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)
