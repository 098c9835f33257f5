"""Actions of people on the market page. What Airflow does for them, their browser asks Airflow itself to do."""

from __future__ import annotations

import logging
from typing import Annotated

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import APIRouter, Depends, HTTPException, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from chandler_airflow.market.answers import as_json
from chandler_airflow.market.gate import Actor, may_act
from chandler_airflow.market.reading import incident_json
from chandler_airflow.market.warehouse import opened_warehouse
from etl.errors import ConfigError
from etl.warehouse import acknowledge, find_incident, judge_incident

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api", dependencies=[Depends(may_act)])

Number = Annotated[int, Path(ge=1, lt=2**63)]


class Remark(BaseModel):
    """Remark of a person.

    Attributes:
        note: Kept with the incident; empty leaves the one that is there. Of all characters the database lacks NUL.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    note: str = Field(default="", max_length=1000, pattern=r"^[^\x00]*$")


class Judgement(Remark):
    """Judgement of a person on an incident.

    Attributes:
        is_false: Whether it is a false alarm.
    """

    is_false: bool


@router.post("/incidents/{incident}/acknowledge")
def acknowledge_incident(incident: Number, remark: Remark, user: Actor) -> Response:
    """Note that somebody has seen an incident."""
    with opened_warehouse() as (warehouse, _), warehouse.begin() as connection:
        _find(connection, incident)
        known = acknowledge(connection, incident, remark.note, _who(user))
    log.info("incident %d was acknowledged by %s", incident, user.get_name())
    return as_json(incident_json(known))


@router.post("/incidents/{incident}/judge")
def judge(incident: Number, judgement: Judgement, user: Actor) -> Response:
    """Note that an incident is a false alarm, or that it is none."""
    with opened_warehouse() as (warehouse, _), warehouse.begin() as connection:
        _find(connection, incident)
        known = judge_incident(connection, incident, judgement.note, _who(user), is_false=judgement.is_false)
    log.info("incident %d was judged by %s: false alarm %s", incident, user.get_name(), judgement.is_false)
    return as_json(incident_json(known))


def _find(connection: Connection, incident: int) -> None:
    try:
        find_incident(connection, incident)
    except ConfigError as error:
        raise HTTPException(404, error.message) from error


def _who(user: BaseUser) -> str:
    """Return what stands as the run in the record of changes."""
    return f"market page, {user.get_name()}"
