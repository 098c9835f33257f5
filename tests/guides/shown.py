"""Commands of guides that no test runs, such as `make demo`: a closed list, and what holds for each instead."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import airflow
import yaml

from tests.conftest import REPOSITORY
from tests.guides.blocks import words

_OPENAPI = (
    "api_fastapi/core_api/openapi/v2-rest-api-generated.yaml",
    "api_fastapi/auth/managers/simple/openapi/v2-simple-auth-manager-generated.yaml",
)
_COMPOSE = REPOSITORY / "docker-compose.yaml"
_COMPOSE_COMMANDS = {
    "up",
    "down",
    "ps",
    "logs",
    "run",
    "exec",
    "build",
    "pull",
    "restart",
    "stop",
    "start",
    "config",
    "cp",
}
_PARSE = """
import json, sys
from airflow.cli.cli_parser import get_parser
for line in json.load(sys.stdin):
    get_parser().parse_args(line)
"""


def unknown_target(statement: str) -> str | None:
    """Return what is wrong with a line that calls make; None if its target is there."""
    done = subprocess.run(
        ["make", "--dry-run", *_until_comment(statement)[1:]],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip() if done.returncode else None


def unknown_service(statement: str) -> str | None:
    """Return what is wrong with a line of docker compose; None if it names what the compose file has."""
    compose = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))
    known = set(compose["services"])
    profiles = {profile for service in compose["services"].values() for profile in service.get("profiles", [])}
    given = [word for word in _until_comment(statement) if word not in {"docker", "compose", "docker-compose"}]
    rest = iter(given)
    for word in rest:
        if word == "--profile":
            if (profile := next(rest)) not in profiles:
                return f"no profile {profile} in docker-compose.yaml"
        elif word in {"--env-file", "-f", "--file", "--project-name", "-p"}:
            next(rest)
        elif not word.startswith("-"):
            command, names = word, [one for one in rest if not one.startswith("-") and "=" not in one]
            if command not in _COMPOSE_COMMANDS:
                return f"docker compose has no {command}, or no guide needed it so far"
            # After run and exec comes one service, and then what it shall do.
            wanted = names[:1] if command in {"run", "exec"} else names if command != "cp" else []
            strange = [name for name in wanted if name not in known]
            return f"no service {strange[0]} in docker-compose.yaml" if strange else None
    return "no command"


def unknown_address(statement: str) -> str | None:
    """Return what is wrong with a line that calls curl; None if Airflow, or our own app, answers at that address."""
    given = _until_comment(statement)
    has_body = any(word in {"--json", "-d", "--data"} for word in given)
    method = next((given[n + 1] for n, word in enumerate(given) if word in {"-X", "--request"}), None)
    method = (method or ("POST" if has_body else "GET")).lower()
    (address,) = [word for word in given if re.match(r"\$url|\$\{url\}|https?://", word)]
    path = urlsplit(re.sub(r"^\$\{?url\}?", "http://airflow", address)).path
    for template, methods in _routes().items():
        pattern = re.sub(r"\\\{\w+(:path)?\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method in methods:
            return None
    return f"nothing answers {method.upper()} {path}"


def unknown_commands(lines: Iterable[str]) -> str | None:
    """Return what Airflow's own parser says to its commands; None if it takes all of them. A few seconds."""
    given = json.dumps([list(_until_comment(line))[1:] for line in lines])
    done = subprocess.run([sys.executable, "-c", _PARSE], input=given, capture_output=True, text=True, check=False)
    return done.stderr[-1000:] if done.returncode else None


CHECKS: Mapping[str, Callable[[str], str | None]] = {
    "make": unknown_target,
    "docker": unknown_service,
    "curl": unknown_address,
}
"""By their first words. Those of `airflow` are checked together, by `unknown_commands`."""


def _until_comment(statement: str) -> list[str]:
    """Return the words of the first command of a statement, without pipes and what is assigned before it."""
    first: list[str] = []
    for word in words(statement):
        if word in {"|", "||", "&&", ";", ">", ">>"}:
            break
        first.append(word.rstrip(")"))
    return first


@cache
def _routes() -> Mapping[str, set[str]]:
    folder = Path(airflow.__file__).parent
    paths = [yaml.load((folder / name).read_text(encoding="utf-8"), yaml.CSafeLoader)["paths"] for name in _OPENAPI]
    routes = {path.removesuffix("/"): set(methods) for one in paths for path, methods in one.items()}
    return {**routes, **{path: set(one) for path, one in paths[1].items()}, **_own_routes()}


def _own_routes() -> Mapping[str, set[str]]:
    """Return the addresses of our own app, by what its modules say: it is not imported, which takes Airflow."""
    found: dict[str, set[str]] = {}
    for module in (REPOSITORY / "plugins").rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        for method, path in re.findall(r'@\w+\.(get|post)\(\s*"(/[^"]*)"', text):
            found.setdefault(f"/chandler{path}", set()).add(method)
    return found
