"""Airflow Connections into settings, read inside a task and never while a DAG file is parsed.

| Connection | setting | taken from |
|---|---|---|
| `chandler_warehouse` | `warehouse_url` | login, password, host, port and schema; what is in extra becomes the query |
| `chandler_archive` | `archive_url` | `url` in extra, or the Connection as a URI: `s3://bucket/prefix` |
| `chandler_exchange_<name>` | `base_url` of that exchange | schema (http or https), host and port |
| `chandler_channel_<name>` | where that channel of alerts.toml leads | password: an Apprise URL |

One that is not there leaves what the environment or feeds.toml says. Nothing of them is ever logged.
"""

from __future__ import annotations

from collections.abc import Callable

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from pydantic import AnyHttpUrl, ValidationError

from etl.alerts.addresses import CONNECTION_PREFIX, Address, address_from_environment
from etl.errors import ConfigError
from etl.feeds_file import load_settings, load_what_is_right
from etl.settings import Settings

WAREHOUSE = "chandler_warehouse"
ARCHIVE = "chandler_archive"
EXCHANGE_PREFIX = "chandler_exchange_"


def read_settings(exchange: str | None = None) -> Settings:
    """Read feeds.toml, the environment and the Connections, the later winning over the earlier.

    Args:
        exchange: Whose Connection to look for; a task talks to one exchange, or to none.

    Raises:
        ConfigError: One of them says something that cannot be meant.
    """
    return with_connections(load_settings(), exchange, find_connection)


def read_warehouse_settings() -> Settings:
    """Read the same for what only needs the warehouse, and goes on whatever else is wrong in feeds.toml.

    Raises:
        ConfigError: Nothing says for certain where the warehouse is.
    """
    settings = with_connections(load_what_is_right(), None, find_connection)
    settings.check_warehouse()
    return settings


def find_connection(conn_id: str) -> Connection | None:
    """Return the Connection, or None if there is none."""
    try:
        found: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        return None
    return found


def find_address(channel: str) -> Address | None:
    """Return where a channel leads, by its Connection or else by the environment; None if neither says.

    Raises:
        ConfigError: The Connection has no password.
    """
    if (connection := find_connection(CONNECTION_PREFIX + channel)) is None:
        return address_from_environment(channel)
    if not connection.password:
        raise ConfigError(f"the Connection {CONNECTION_PREFIX}{channel} has no password; write the Apprise URL there")
    return Address(connection.password)


def with_connections(settings: Settings, exchange: str | None, find: Callable[[str], Connection | None]) -> Settings:
    """Return `settings` with what the Connections say instead.

    Args:
        find: Returns a Connection by its id, or None.

    Raises:
        ConfigError: A Connection lacks what is needed.
    """
    changes: dict[str, object] = {}
    if (warehouse := find(WAREHOUSE)) is not None:
        changes["warehouse_url"] = _to_database_url(warehouse)
    if (archive := find(ARCHIVE)) is not None:
        changes["archive_url"] = str(archive.extra_dejson.get("url") or archive.get_uri())
    if exchange is not None and (venue := find(EXCHANGE_PREFIX + exchange)) is not None:
        own = settings.exchange(exchange).model_copy(update={"base_url": _to_base_url(venue)})
        changes["exchanges"] = {**settings.exchanges, exchange: own}
    return settings.model_copy(update=changes)


def _to_database_url(connection: Connection) -> str:
    from sqlalchemy.engine import URL

    if not connection.schema:
        raise ConfigError(f"the Connection {WAREHOUSE} names no database; write its name into the field schema")
    url = URL.create(
        "postgresql",
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query={key: str(value) for key, value in connection.extra_dejson.items()},
    )
    return url.render_as_string(hide_password=False)


def _to_base_url(connection: Connection) -> AnyHttpUrl:
    port = f":{connection.port}" if connection.port else ""
    try:
        return AnyHttpUrl(f"{connection.schema or 'https'}://{connection.host or ''}{port}")
    except ValidationError as error:
        advice = "write http or https into schema, and the host's name alone into host"
        raise ConfigError(f"the Connection {connection.conn_id} is no address; {advice}") from error
