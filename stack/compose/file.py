"""A compose file as values: services with their commands, settings and mounts, variables filled in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.errors import StackError

# $$, ${NAME}, ${NAME:-default}; what else Compose understands we do not use.
_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\})")
_VOLUME = re.compile(r"[^:]+:/[^:]*(:ro|:rw)?")
_PORT = re.compile(r"(.+:)?\d+:\d+")


@dataclass(frozen=True, slots=True)
class Mount:
    """Part of a volume, or of a folder of the machine, that a container sees.

    Attributes:
        source: The volume's name; a path beginning with `.` or `/` for a bind mount.
        target: Where the container sees it.
        is_writable: Whether it may write there.
    """

    source: str
    target: str
    is_writable: bool

    @property
    def is_bind(self) -> bool:
        """True if it is a folder or file of the machine."""
        return self.source.startswith((".", "/", "~"))


@dataclass(frozen=True, slots=True)
class Published:
    """A port of a container that leads outside.

    Attributes:
        address: Of the machine; empty for all that it has.
        outside: The machine's port.
        inside: The container's.
    """

    address: str
    outside: int
    inside: int


@dataclass(frozen=True, slots=True)
class Service:
    """One service.

    Attributes:
        command: What is started, without the image's entry point.
        health: What is asked for its health, as an argument list; empty without a check.
        depends_on: What has to be so of which other service first.
        raw: All keys as they stand there, variables filled in.
    """

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    ports: tuple[Published, ...]
    health: tuple[str, ...]
    depends_on: Mapping[str, str]
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compose:
    """A compose file.

    Attributes:
        path: Where it lies; relative paths in it begin there.
        variables: The defaults of the variables that it uses by name; None where there is none.
        raw: The document, variables filled in.
    """

    path: Path
    services: Mapping[str, Service]
    volumes: frozenset[str]
    variables: Mapping[str, str | None]
    raw: Mapping[str, Any]

    def service(self, name: str) -> Service:
        """Return the service.

        Raises:
            StackError: There is none.
        """
        if name not in self.services:
            raise StackError(f"{self.path} has no service {name!r}; it has {', '.join(sorted(self.services))}")
        return self.services[name]


def read_compose(path: Path, given: Mapping[str, str] | None = None) -> Compose:
    """Read the file.

    Args:
        given: Values of variables; the others have their defaults.

    Raises:
        StackError: It is no YAML, has no services, or says something in a form that we do not use.
    """
    text = path.read_text(encoding="utf-8")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StackError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise StackError(f"{path} has no services")
    variables: dict[str, str | None] = {}
    filled = _fill(document, given or {}, variables)
    services = {name: _to_service(name, raw) for name, raw in filled["services"].items()}
    return Compose(path, services, frozenset(filled.get("volumes") or {}), variables, filled)


def read_variables(path: Path) -> dict[str, str]:
    """Read what `--env-file` names: `NAME=value` lines, and remarks."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _fill(node: Any, given: Mapping[str, str], variables: dict[str, str | None]) -> Any:
    """Return the document with its variables filled in, and take note of them."""
    if isinstance(node, dict):
        return {key: _fill(value, given, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, given, variables) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: re.Match[str]) -> str:
        dollar, name, default = match.groups()
        if dollar:
            return "$"
        variables[name] = default
        return given.get(name) or default or ""

    return _VARIABLE.sub(value_of, node)


def _are_ports(ports: Any) -> bool:
    return isinstance(ports, list) and all(isinstance(one, str) and _PORT.fullmatch(one) for one in ports)


def _are_mounts(mounts: Any) -> bool:
    return isinstance(mounts, list) and all(_is_mount(one) for one in mounts)


def _is_mount(mount: Any) -> bool:
    if isinstance(mount, dict):
        return mount.get("type") == "bind" and {"source", "target"} <= mount.keys()
    return isinstance(mount, str) and _VOLUME.fullmatch(mount) is not None


def _is_order(others: Any) -> bool:
    return isinstance(others, dict) and all(isinstance(it, dict) and "condition" in it for it in others.values())


def _is_health(check: Any) -> bool:
    return isinstance(check, dict) and isinstance(check.get("test"), list) and check["test"][:1] in _TESTS


_TESTS = (["CMD"], ["CMD-SHELL"])
# Of what Compose lets one say in several forms: whether it is the one that we use, and how that looks.
_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "command": (lambda command: isinstance(command, str | list), "[program, argument]"),
    "environment": (lambda variables: isinstance(variables, dict), "{NAME: value}"),
    "volumes": (_are_mounts, "[volume-or-path:/target:ro], or {type: bind, source: path, target: /target}"),
    "ports": (_are_ports, '["127.0.0.1:8080:8080"]'),
    "healthcheck": (_is_health, "{test: [CMD, program, argument]}"),
    "depends_on": (_is_order, "{other: {condition: service_healthy}}"),
}


def _to_service(name: str, raw: Any) -> Service:
    if not isinstance(raw, dict):
        raise StackError(f"services.{name} says nothing; write {{image: ...}}")
    for key, (is_ours, example) in _FORMS.items():
        if raw.get(key) is not None and not is_ours(raw[key]):
            raise StackError(f"services.{name}.{key} has a form that is not read here; write {key}: {example}")
    environment = {key: "" if value is None else str(value) for key, value in (raw.get("environment") or {}).items()}
    return Service(
        name,
        str(raw.get("image", "")),
        _to_command(raw.get("command") or ()),
        environment,
        tuple(_to_mount(one) for one in raw.get("volumes") or ()),
        tuple(_to_published(text) for text in raw.get("ports") or ()),
        _to_health((raw.get("healthcheck") or {}).get("test") or ()),
        {other: str(facts["condition"]) for other, facts in (raw.get("depends_on") or {}).items()},
        raw,
    )


def _to_command(command: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(shlex.split(command) if isinstance(command, str) else map(str, command))


def _to_health(test: Sequence[str]) -> tuple[str, ...]:
    if test and test[0] == "CMD-SHELL":
        return ("sh", "-c", *test[1:])
    return tuple(test[1:])


def _to_mount(mount: str | Mapping[str, Any]) -> Mount:
    if not isinstance(mount, str):
        return Mount(mount["source"], mount["target"], not mount.get("read_only"))
    source, target, *mode = mount.split(":")
    return Mount(source, target, "ro" not in mode)


def _to_published(text: str) -> Published:
    *address, outside, inside = text.rsplit(":", 2)
    return Published("".join(address), int(outside), int(inside))
