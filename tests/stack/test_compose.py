from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from deploy.enter import with_secrets
from deploy.make_secrets import SECRETS, addresses, make_secrets
from stack.compose.checks import (
    CHECKS,
    Check,
    check_images,
    check_keeping,
    check_mounts,
    check_order,
    check_ports,
    check_schema,
    check_secrets,
    check_settings,
    check_variables,
)
from stack.compose.commands import check_commands
from stack.compose.file import read_compose
from stack.errors import StackError
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docker-compose.yaml").read_text(encoding="utf-8")


def test_the_compose_file_names_nothing_that_does_not_exist() -> None:
    """Schema, images, paths, volumes, variables, options, ports, order, secrets, limits and commands are right."""
    compose = read_compose(REPOSITORY / "docker-compose.yaml")
    assert [problem for check in (*CHECKS, check_commands) for problem in check(compose)] == []


@pytest.mark.parametrize(
    ("check", "was", "becomes", "told"),
    [
        (check_schema, "restart: unless-stopped", "restarts: always", "'restarts' was unexpected"),
        (
            check_images,
            "image: redis:7.2.14-alpine@",
            "image: redis:latest@",
            "redis: the image 'redis:latest@sha256:[0-9a-f]+' is not pinned",
        ),
        (
            check_images,
            "image: timescale/timescaledb:2.22.1-pg17@sha256:fba",
            "image: timescale/timescaledb:2.22.1-pg17@sha256:",
            "postgres: the image 'timescale/[^']+' is not pinned",
        ),
        (check_images, "build: .", "build: docs", "there is no Dockerfile in 'docs'"),
        (
            check_mounts,
            "./deploy/otel/collector.yaml:",
            "./deploy/otel/kollector.yaml:",
            "collector: ./deploy/otel/kollector.yaml",
        ),
        (check_mounts, "- raw:/data/raw", "- rar:/data/raw", "worker: the volume rar is not declared"),
        (check_mounts, "create_host_path: false", "create_host_path: true", "worker: ./feeds.toml is made as a folder"),
        (
            check_mounts,
            "- raw:/data/raw",
            "- raw:/data/raw\n    - ${FEEDS_FILE:-./feeds.toml}:/config/feeds.toml:ro",
            r"\$\{FEEDS_FILE:-./feeds.toml\}: a path that users give is mounted by the short form",
        ),
        (check_variables, "${FEEDS_FILE:-", "${CHANDLER_FEEDS:-", "CHANDLER_FEEDS means another value here"),
        (check_variables, "${JSON_LOGS:-False}", "${JSON_LOGS}", "JSON_LOGS} has no default"),
        (check_variables, "${JSON_LOGS:-", "${JSON_LOGGING:-", "JSON_LOGGING} is not in docs"),
        (
            check_settings,
            "AIRFLOW__CORE__EXECUTOR:",
            "AIRFLOW__CORE__EXECUTER:",
            "Airflow has no option AIRFLOW__CORE__EXECUTER",
        ),
        (check_settings, "CHANDLER_HOME: /data", "CHANDLER_HOUSE: /data", "nothing reads CHANDLER_HOUSE"),
        (
            check_settings,
            "REPLAY__BASE_URL: http",
            "REPLAY__BASE: http",
            "nothing reads CHANDLER_EXCHANGES__REPLAY__BASE",
        ),
        (check_ports, '["127.0.0.1:8080:8080"]', '["8080:8080"]', "8080:8080 is open to the network"),
        (check_ports, '--host, 0.0.0.0, --port, "8080"', '--host, 0.0.0.0, --port, "8081"', "nothing listens"),
        (check_ports, "http://replay:8900/data", "http://repay:8900/data", "there is no service 'repay'"),
        (
            check_order,
            "redis: {condition: service_healthy}",
            "rediss: {condition: service_healthy}",
            "depends on 'rediss'",
        ),
        (
            check_order,
            "init: {condition: service_completed_successfully}",
            "secrets: {condition: service_healthy}",
            "no health",
        ),
        (
            check_secrets,
            "SECRET_FERNET_KEY: ${SECRET_FERNET_KEY:-}",
            "SECRET_FERNET_KEY: abc",
            "SECRET_FERNET_KEY holds a value",
        ),
        (
            check_secrets,
            "SECRET_FERNET_KEY: ${SECRET_FERNET_KEY:-}",
            "SECRET_FERNET_KEY: /Jq0xVw=",
            "SECRET_FERNET_KEY holds a value",
        ),
        (
            check_secrets,
            "POSTGRES_ADDRESS: postgres:5432",
            "POSTGRES_ADDRESS: a://b:c@postgres:5432",
            "has a password in it",
        ),
        (check_keeping, "    mem_limit: 4g\n", "", "trainer: says nothing of mem_limit"),
        (
            check_commands,
            "[airflow, triggerer]",
            "[airflow, trigerer]",
            "triggerer: airflow trigerer: .*invalid choice",
        ),
        (check_commands, "--celery-hostname, worker@%h", "--celeryname, worker@%h", "unrecognized arguments"),
        (
            check_commands,
            "python, /app/deploy/set_up.py",
            "python, /app/deploy/setup.py",
            "/app/deploy/setup.py is not in the image",
        ),
        (
            check_commands,
            "chandler, replay, --host",
            "chandler, replay, --hots",
            "replay: chandler replay --hots .*hots",
        ),
        (check_commands, "celery inspect ping", "cellery inspect ping", "cellery is not in the image"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, check: Check, was: str, becomes: str, told: str) -> None:
    """Each thing that could be misspelt is found by a check, which names the service and the thing."""
    assert was in TEXT
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("deploy", "Dockerfile", "feeds.toml", "alerts.toml"):
        (folder / name).symlink_to(REPOSITORY / name)
    (folder / "docker-compose.yaml").write_text(TEXT.replace(was, becomes), encoding="utf-8")
    found = list(check(read_compose(folder / "docker-compose.yaml")))
    assert any(re.search(told, problem) for problem in found), found


@pytest.mark.parametrize(
    ("key", "form"),
    [
        ("environment", "[NAME=value]"),
        ("depends_on", "[redis]"),
        ("ports", '["8080"]'),
        ("ports", "[{target: 8080, published: 8080}]"),
        ("volumes", "[{type: volume, source: raw, target: /data/raw}]"),
        ("volumes", "[/data]"),
        ("healthcheck", "{test: pg_isready}"),
    ],
)
def test_a_form_that_is_not_ours_is_refused_by_its_place(tmp_path: Path, key: str, form: str) -> None:
    """A form that Compose would take and the checks do not read is never passed over, and what to write is said."""
    path = tmp_path / "docker-compose.yaml"
    path.write_text(f"services: {{web: {{image: 'a:1', {key}: {form}}}}}", encoding="utf-8")
    with pytest.raises(StackError, match=rf"^services\.web\.{key} has a form .* write {key}: "):
        read_compose(path)


def test_secrets_are_made_once_and_for_those_who_need_them(tmp_path: Path) -> None:
    """They stay the same, each in its folders alone; ours are for our user alone; what is given is taken at first."""
    given = "of a person's choice"
    made = make_secrets(tmp_path, {"SECRET_ADMIN_PASSWORD": given})
    assert made["admin_password"] == given
    assert make_secrets(tmp_path, {"SECRET_ADMIN_PASSWORD": "late"}) == made
    assert len(set(made.values())) == len(SECRETS)
    places = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert places == {f"{folder}/{name}" for name, folders in SECRETS.items() for folder in folders}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "airflow").iterdir()} == {0o400}


def test_what_a_kill_left_is_no_obstacle_and_no_secret(tmp_path: Path) -> None:
    """A temporary file makes room, whatever its rights; an empty one is named, and not taken for a password."""
    left = tmp_path / "airflow" / ".fernet_key"
    left.parent.mkdir()
    (tmp_path / "other_name_of_it").write_text("half a k")
    left.hardlink_to(tmp_path / "other_name_of_it")
    left.chmod(0o400)
    made = make_secrets(tmp_path, {})
    assert not left.exists()
    assert (tmp_path / "other_name_of_it").read_text() == "half a k", "it was opened instead of removed"
    key = tmp_path / "airflow" / "fernet_key"
    assert key.read_text() == made["fernet_key"]
    key.unlink()
    key.touch()
    with pytest.raises(SystemExit, match=r"airflow/fernet_key is empty: put back .* rm .*/airflow/fernet_key"):
        make_secrets(tmp_path, {})


def test_a_password_with_any_sign_in_it_makes_an_address() -> None:
    """A password that a person gives may hold what an address does not."""
    found = dict.fromkeys(SECRETS, "p@ss/w:rd")
    assert addresses(found, "db:1", "r:2")["airflow/broker_url"] == "redis://:p%40ss%2Fw%3Ard@r:2/0"


def test_a_process_is_given_what_files_hold(tmp_path: Path) -> None:
    """`NAME__FILE` becomes `NAME`; a file that is not there is told by the variable's name."""
    (tmp_path / "key").write_text("abc\n")
    assert with_secrets({"A__B__FILE": str(tmp_path / "key"), "C": "d"}) == {"A__B": "abc", "C": "d"}
    with pytest.raises(SystemExit, match="A__FILE names a file that cannot be read"):
        with_secrets({"A__FILE": str(tmp_path / "none")})
