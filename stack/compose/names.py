"""Variables that have a reader: Airflow's options, and Chandler's settings."""

from __future__ import annotations

import re
from functools import cache

from etl.feeds import ExchangeSettings
from etl.settings import Settings
from stack.airflow import REPOSITORY

_EXCHANGE = re.compile(r"CHANDLER_EXCHANGES__[A-Z0-9]+__([A-Z_]+)")


@cache
def airflow_options() -> frozenset[str]:
    """Return the names that Airflow's options have as variables, those of its providers included."""
    from airflow.configuration import retrieve_configuration_description

    return frozenset(
        f"AIRFLOW__{section.upper()}__{option.upper()}"
        for section, facts in retrieve_configuration_description(include_providers=True).items()
        for option in facts["options"]
    )


@cache
def is_chandler_variable(name: str) -> bool:
    """Say whether something of ours reads a variable: the settings, or code that has its name in it."""
    if match := _EXCHANGE.fullmatch(name):
        return match[1].lower() in ExchangeSettings.model_fields
    if name.removeprefix("CHANDLER_").lower() in Settings.model_fields:
        return True
    sources = (path for room in ("etl", "models", "plugins") for path in (REPOSITORY / room).rglob("*.py"))
    return any(f'"{name}"' in path.read_text(encoding="utf-8") for path in sources)
