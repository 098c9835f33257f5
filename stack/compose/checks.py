"""Checks of a compose file: each is a function from the file to problems, in words.

What the programs make of their arguments is for `commands` to ask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import resources

from stack.airflow import REPOSITORY
from stack.compose.file import Compose, Service
from stack.compose.names import airflow_options, is_chandler_variable

Check = Callable[[Compose], Iterator[str]]
GUIDE = REPOSITORY / "docs" / "guides" / "production.md"

# What the images of others listen on, and by which word of ours if we say so.
_PORTS: Mapping[str, tuple[int, ...]] = {
    "timescale/timescaledb": (5432,),
    "grafana/grafana": (3000,),
    "prom/prometheus": (9090,),
    "otel/opentelemetry-collector-contrib": (4318, 8889),
}
_SCHEDULER_HEALTH = 8974
_PINNED = re.compile(r"(?P<name>[a-z0-9./-]+):(?!latest)[\w.-]+@sha256:[0-9a-f]{64}")
_PINNED_BASE = re.compile(r"^ARG PYTHON=(?!latest)[\w.-]+@sha256:[0-9a-f]{64}$", re.MULTILINE)
_ADDRESS = re.compile(r"(?<![\w.@-])([a-z][a-z0-9-]*|127\.0\.0\.1|localhost):(\d{2,5})\b")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$|CONN$|BROKER_URL|RESULT_BACKEND|WAREHOUSE_URL", re.IGNORECASE)
_MOUNTED = re.compile(r"/secrets(/.*)?")
_SHORT_BIND_OF_VARIABLE = re.compile(r"^\s*-\s*[\"']?(\$\{[^}]+\}):/", re.MULTILINE)
_URL_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


def check_schema(compose: Compose) -> Iterator[str]:
    """The document is what the compose specification says."""
    from jsonschema.validators import validator_for

    packaged = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json")
    schema = json.loads(packaged.read_text(encoding="utf-8"))
    for error in validator_for(schema)(schema).iter_errors(compose.raw):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def check_images(compose: Compose) -> Iterator[str]:
    """Each image of others is pinned by version and digest; what we build has a Dockerfile with a pinned base."""
    services = compose.services.values()
    built = {service.image: str(service.raw["build"]) for service in services if "build" in service.raw}
    for service in services:
        if service.image not in built and not _PINNED.fullmatch(service.image):
            yield f"{service.name}: the image {service.image!r} is not pinned; write NAME:VERSION@sha256:DIGEST"
    for folder in sorted(set(built.values())):
        dockerfile = compose.path.parent / folder / "Dockerfile"
        if not dockerfile.is_file():
            yield f"there is no Dockerfile in {folder!r}"
        elif not _PINNED_BASE.search(dockerfile.read_text(encoding="utf-8")):
            yield f"{dockerfile}: its base is not pinned; write ARG PYTHON=VERSION@sha256:DIGEST"


def check_mounts(compose: Compose) -> Iterator[str]:
    """Check that what is mounted is in the repository, or a declared volume; and that no volume is declared in vain."""
    used = set()
    for variable in _SHORT_BIND_OF_VARIABLE.findall(compose.path.read_text(encoding="utf-8")):
        yield f"{variable}: a path that users give is mounted by the short form; write {{type: bind, source: ...}}"
    for service in compose.services.values():
        for mount in service.raw.get("volumes") or ():
            if isinstance(mount, dict) and (mount.get("bind") or {}).get("create_host_path", True):
                yield f"{service.name}: {mount['source']} is made as a folder if missing; say create_host_path: false"
        for mount in service.mounts:
            used.add(mount.source)
            if mount.is_bind and not (compose.path.parent / mount.source).exists():
                yield f"{service.name}: {mount.source} is not there"
            if mount.is_bind and mount.is_writable:
                yield f"{service.name}: {mount.source} could be written to; say :ro"
            if not mount.is_bind and mount.source not in compose.volumes:
                yield f"{service.name}: the volume {mount.source} is not declared"
    for name in sorted(compose.volumes - used):
        yield f"volumes.{name}: nobody mounts it"


def check_variables(compose: Compose) -> Iterator[str]:
    """Each variable has a default, the guide knows it, and it means the same on this machine and in containers."""
    guide = GUIDE.read_text(encoding="utf-8")
    for name, default in sorted(compose.variables.items()):
        if default is None:
            yield f"${{{name}}} has no default; write ${{{name}:-...}}"
        if f"`{name}`" not in guide:
            yield f"${{{name}}} is not in {GUIDE.relative_to(REPOSITORY)}"
        for service in compose.services.values():
            if service.environment.get(name, default or "") != (default or ""):
                yield f"{service.name}: {name} means another value here than on this machine; choose another name"


def check_settings(compose: Compose) -> Iterator[str]:
    """Airflow knows each of its options, and Chandler each of its settings."""
    options = airflow_options()
    for service in compose.services.values():
        for name in service.environment:
            bare = name.removesuffix("__FILE")
            if bare.startswith("AIRFLOW__") and bare not in options:
                yield f"{service.name}: Airflow has no option {bare}"
            if bare.startswith("CHANDLER_") and not is_chandler_variable(bare):
                yield f"{service.name}: nothing reads {bare}"


def check_ports(compose: Compose) -> Iterator[str]:
    """Whatever is spoken to listens there, and nothing is published but on this machine."""
    listening = {name: set(_ports(service)) for name, service in compose.services.items()}
    for service in compose.services.values():
        for port in service.ports:
            if port.address != "127.0.0.1":
                yield f"{service.name}: {port.outside}:{port.inside} is open to the network; write 127.0.0.1: before it"
            if port.inside not in listening[service.name]:
                yield f"{service.name}: nothing listens on its port {port.inside}"
        for text in (*service.command, *service.environment.values(), *service.health):
            for host, number in _ADDRESS.findall(text):
                at = service.name if host in {"127.0.0.1", "localhost"} else host
                # What the outside sees, in an address for people, is published by one of them.
                if at in listening and int(number) not in set().union(listening[at], _published(compose)):
                    yield f"{service.name}: nothing listens at {host}:{number}"
                elif at not in listening:
                    yield f"{service.name}: there is no service {host!r} to speak to at port {number}"


def check_order(compose: Compose) -> Iterator[str]:
    """Check that a service that others wait for is there, and can be what they wait for."""
    for service in compose.services.values():
        for other, condition in service.depends_on.items():
            if other not in compose.services:
                yield f"{service.name}: depends on {other!r}, which is no service"
            elif condition == "service_healthy" and not compose.services[other].health:
                yield f"{service.name}: waits for {other} to be healthy, which has no health check"
            elif condition == "service_completed_successfully" and compose.services[other].raw.get("restart") != "no":
                yield f'{service.name}: waits for {other} to end, which is started again; say restart: "no"'


def check_secrets(compose: Compose) -> Iterator[str]:
    """No secret stands in the file: what is one comes from a file, or from a variable that is empty by default."""
    for service in compose.services.values():
        for name, value in service.environment.items():
            is_place = name.endswith("_FILE") or _MOUNTED.fullmatch(value)
            if _SECRET.search(name) and value and not is_place:
                yield f"{service.name}: {name} holds a value; name a file by {name}__FILE"
        for text in (*service.command, *service.environment.values(), *service.health):
            if _URL_PASSWORD.search(text):
                yield f"{service.name}: an address has a password in it: {text.split('://', maxsplit=1)[0]}://..."


def check_keeping(compose: Compose) -> Iterator[str]:
    """Each service has a user that is not root, limits, a way to stop, and comes back if it is to stay."""
    for service in compose.services.values():
        raw = service.raw
        ends = raw.get("restart") == "no"
        missing = [key for key in ("restart", "mem_limit", "cpus", "cap_drop") if key not in raw]
        missing += [key for key in ("stop_grace_period",) if key not in raw and not ends]
        for key in missing:
            yield f"{service.name}: says nothing of {key}"
        if str(raw.get("user", "")).partition(":")[0] in {"0", "root"}:
            yield f"{service.name}: runs as root"


def _ports(service: Service) -> Iterator[int]:
    """Yield what a service listens on."""
    pinned = _PINNED.fullmatch(service.image)
    yield from _PORTS.get(pinned["name"], ()) if pinned else ()
    words = service.command
    yield from (int(port) for word, port in zip(words, words[1:], strict=False) if word == "--port")
    if "scheduler" in words and service.environment.get("AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK") == "True":
        yield _SCHEDULER_HEALTH


def _published(compose: Compose) -> set[int]:
    """Return the ports of this machine that lead to a service."""
    return {port.outside for service in compose.services.values() for port in service.ports}


CHECKS: tuple[Check, ...] = (
    check_schema,
    check_images,
    check_mounts,
    check_variables,
    check_settings,
    check_ports,
    check_order,
    check_secrets,
    check_keeping,
)
