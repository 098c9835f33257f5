"""Makes ready what Airflow's containers stand on, before they start: tables, pools, the first user.

Each start runs it again, so an upgrade's migrations come before anything that needs them. What is there stays as it is:
a pool keeps its slots, a user the password that they gave themselves.
"""

import logging
import os
import subprocess
import sys
from pathlib import Path

from etl.errors import LostWarehouseError
from etl.feeds_file import load_settings
from etl.lost import open_or_make
from etl.settings import Settings

POOL_SLOTS = 4
ADMIN = "admin"

log = logging.getLogger("set_up")


def main() -> None:
    """Do it all, in order."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    settings = load_settings()
    make_warehouse(settings)
    # A process of its own: its tables must be there before Airflow is imported for the rest.
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)  # noqa: S603  # our own command
    log.info("Airflow has its tables")
    make_pools(settings)
    make_admin(Path(os.environ["ADMIN_PASSWORD_FILE"]).read_text(encoding="utf-8").strip())


def make_warehouse(settings: Settings) -> None:
    """Make the warehouse's tables, or bring them up to date.

    Where the warehouse is lost none are made, and the containers start all the same: `chandler warehouse rebuild` needs
    them, and until then whatever loads says what is wrong.
    """
    try:
        with open_or_make(settings) as warehouse:
            log.info("the warehouse has its tables: %s", warehouse.address)
    except LostWarehouseError as error:
        log.error("%s", error)  # noqa: TRY400  # the message says all


def make_pools(settings: Settings) -> None:
    """Make the pool of each exchange that a feed uses: a task whose pool is not there waits for ever."""
    from airflow.models.pool import Pool

    for exchange in sorted({feed.exchange for feed in settings.feeds.values()}):
        if Pool.get_pool(exchange) is None:
            Pool.create_or_update_pool(exchange, POOL_SLOTS, f"tasks that talk to {exchange}", include_deferred=False)
            log.info("made pool %s with %d slots", exchange, POOL_SLOTS)


def make_admin(password: str) -> None:
    """Make the user who makes the others, if there is no such user."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    with get_application_builder() as builder:
        manager = builder.sm
        if manager.find_user(username=ADMIN) is None:
            role = manager.find_role("Admin")
            if not manager.add_user(ADMIN, ADMIN, ADMIN, f"{ADMIN}@localhost", role, password):
                raise SystemExit(f"the user {ADMIN} cannot be made; the log above says why")
            log.info("made user %s", ADMIN)


if __name__ == "__main__":
    main()
