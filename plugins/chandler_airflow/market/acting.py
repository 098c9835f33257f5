"""Actions of people on the market page. What Airflow does for them, their browser asks Airflow itself to do."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from chandler_airflow.market.access import Access
from chandler_airflow.market.answers import as_json
from chandler_airflow.market.gate import Actor, may_act
from chandler_airflow.market.reading import incident_json, seen_incident
from chandler_airflow.market.warehouse import opened_warehouse
from etl.warehouse import acknowledge, judge_incident

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
def acknowledge_incident(incident: Number, remark: Remark, access: Actor) -> Response:
    """Note that somebody has seen an incident."""
    with opened_warehouse() as (warehouse, _), warehouse.begin() as connection:
        _check(connection, incident, access)
        known = acknowledge(connection, incident, remark.note, _who(access))
    log.info("incident %d was acknowledged by %s", incident, access.name)
    return as_json(incident_json(known, access))


@router.post("/incidents/{incident}/judge")
def judge(incident: Number, judgement: Judgement, access: Actor) -> Response:
    """Note that an incident is a false alarm, or that it is none."""
    with opened_warehouse() as (warehouse, _), warehouse.begin() as connection:
        _check(connection, incident, access)
        known = judge_incident(connection, incident, judgement.note, _who(access), is_false=judgement.is_false)
    log.info("incident %d was judged by %s: false alarm %s", incident, access.name, judgement.is_false)
    return as_json(incident_json(known, access))


def _check(connection: Connection, incident: int, access: Access) -> None:
    """Check that there is such an incident, and that it is theirs to judge.

    Raises:
        HTTPException: 404 if they may see none of that number, 403 if they may only see it.
    """
    access.check_acts_on(seen_incident(connection, incident, access).found.series)


def _who(access: Access) -> str:
    """Return what stands as the run in the record of changes."""
    return f"market page, {access.name}"
