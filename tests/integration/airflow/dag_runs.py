"""Run DAGs as `dag.test()` does and print what came of it as JSON: a process of its own, with a fresh AIRFLOW_HOME.

Each line of the input is JSON, and is answered with a line `DONE ...`: a run, `{"dag": ..., "logical_date": ...,
"run_type": ...}`; a page to show, `{"page": ..., "user": role}`; all addresses of ours, `{"routes": true}`; users to
make, `{"grant": ...}`; a run that is late, `{"late": ...}`; the text of an error in a task that is none of ours,
`{"error": ...}`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

REPOSITORY = Path(__file__).parents[3]
USERS: dict[str, Any] = {}
"""Of FabAuthManager, by name; to the other one, the name is the role."""


def run(dag: Any, logical_date: str, run_type: str) -> dict[str, Any]:
    """Run `dag` once, without pauses between tries, and return its tasks, links and asset events."""
    from airflow.models import dagrun
    from airflow.models.asset import AssetEvent
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    dag.deadline = None  # `dag.test()` keeps none, and looks for them when a run succeeds
    for task in dag.tasks:
        task.retry_delay = task.max_retry_delay = timedelta(0)
    create = dagrun.get_or_create_dagrun

    def create_as_told(**facts: Any) -> Any:
        created = create(**facts)
        created.run_type = run_type  # `dag.test()` knows runs by hand alone
        facts["session"].commit()
        return created

    with patch.object(dagrun, "get_or_create_dagrun", create_as_told):
        done = dag.test(logical_date=datetime.fromisoformat(logical_date))
    with create_session() as session:
        instances = session.query(TaskInstance).filter_by(dag_id=dag.dag_id, run_id=done.run_id)
        events = session.query(AssetEvent).filter_by(source_dag_id=dag.dag_id, source_run_id=done.run_id)
        left = session.query(XComModel).filter_by(dag_id=dag.dag_id, run_id=done.run_id)
        links = left.filter(XComModel.key.startswith("_link_", autoescape=True))
        return {
            "state": str(done.state),
            "interval": [done.data_interval_start.isoformat(), done.data_interval_end.isoformat()],
            "tasks": [
                {
                    "task": instance.task_id,
                    "index": instance.map_index,
                    "label": instance.rendered_map_index,
                    "state": str(instance.state),
                    "tries": instance.try_number,
                }
                for instance in instances
            ],
            "links": {f"{link.task_id} {link.map_index}": link.value for link in links},
            "events": [{"asset": event.name, **event.extra} for event in events.order_by(AssetEvent.id)],
        }


@cache
def server() -> Any:
    """Return Airflow's own server with our part of it mounted, as a browser or a script talks to it."""
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    return TestClient(create_app(apps="core"), base_url="http://airflow.example:8080", raise_server_exceptions=False)


def show(
    page: str, user: str | None, method: str = "GET", headers: dict[str, str] | None = None, body: str | None = None
) -> dict[str, Any]:
    """Ask our pages as a browser would in which somebody of that role is logged in, or nobody."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    client = server()
    client.cookies.clear()
    if user is not None:
        role = None if user == "nobody" else user
        known = USERS.get(user) or SimpleAuthManagerUser(username=user, role=role)
        client.cookies.set("_token", get_auth_manager().generate_jwt(known))
    answer = client.request(method, page, headers=headers or {}, content=body)
    return {"status": answer.status_code, "body": answer.text, "headers": dict(answer.headers)}


def grant(users: dict[str, dict[str, list[Any]]]) -> dict[str, Any]:
    """Make users of Airflow's other auth manager, each with roles, and with permissions of his own."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    with get_application_builder() as builder:
        manager = builder.sm
        manager.sync_roles()
        for name, granted in users.items():
            roles = [manager.find_role(role) for role in granted["roles"]]
            own = manager.add_role(f"of {name}")
            for action, resource in granted["permissions"]:
                manager.add_permission_to_role(own, manager.create_permission(action, resource))
            USERS[name] = manager.add_user(name, name, name, f"{name}@localhost", [*roles, own], name)
    return {}


def routes() -> list[tuple[str, str]]:
    """Return method and address of all that our part of the server answers."""
    from chandler_airflow.app import app
    from chandler_airflow.links import PREFIX

    return [(method, PREFIX + route.path) for route in app.routes for method in sorted(route.methods)]


def late(facts: dict[str, Any]) -> dict[str, Any]:
    """Do what Airflow's triggerer does once a run's deadline has passed."""
    from chandler_airflow.alerting import late_load_alert

    alert = late_load_alert()
    module, _, name = alert.callback.path.rpartition(".")
    deadline = datetime.fromisoformat(facts["data_interval_end"]) + timedelta(seconds=alert.reference.late_after_s)
    context = {"dag_run": facts, "deadline": {"id": "1", "deadline_time": deadline}}
    asyncio.run(getattr(import_module(module), name)(context=context))
    return {}


def fail(text: str) -> dict[str, Any]:
    """Return what people are told of a task that fails by an error that is none of ours."""
    from chandler_airflow.alerting import failure_notice

    instance = SimpleNamespace(dag_id="score_anomalies", run_id="run", task_id="score", map_index=-1)
    notice = failure_notice(instance, "", RuntimeError(text), datetime.now(UTC))
    return {"title": notice.title, "detail": notice.detail}


def main() -> None:
    """Run and show what is asked for."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(REPOSITORY / "dags")
    for line in sys.stdin:
        wanted = json.loads(line)
        if "page" in wanted:
            answer = show(**wanted)
        elif "grant" in wanted:
            answer = grant(wanted["grant"])
        elif "routes" in wanted:
            answer = routes()
        elif "late" in wanted:
            answer = late(wanted["late"])
        elif "error" in wanted:
            answer = fail(wanted["error"])
        else:
            answer = run(bag.dags[wanted.pop("dag")], **wanted)
        print("DONE " + json.dumps(answer), flush=True)  # noqa: T201  # this is its output


if __name__ == "__main__":
    main()
