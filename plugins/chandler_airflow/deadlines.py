"""Deadlines for scheduled runs alone: Airflow's own references give one to triggered and backfilled runs too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.definitions.deadline import REFERENCE_TYPE_FIELD, BaseDeadlineReference

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

_SCHEDULED = "scheduled"  # the prefix of a scheduled run's id; Airflow refuses it for any other run


@dataclass(eq=False)
class ScheduledRunDue(BaseDeadlineReference):
    """The moment when a scheduled run is due, which is the end of its data interval, as the reference of a deadline.

    Triggered and backfilled runs have none: their data intervals ended long ago, so each would miss it. The same holds
    for a scheduled run that is created after its deadline, because its DAG was just switched on or Airflow was down.

    Attributes:
        late_after_s: The interval of the deadline, in seconds: no run has a deadline that has passed at its creation.

    Source: https://airflow.apache.org/docs/apache-airflow/stable/howto/deadline-alerts.html
    """

    late_after_s: float = 0.0
    required_kwargs: ClassVar[set[str]] = {"run_id"}

    def serialize_reference(self) -> dict[str, Any]:
        """Return the reference as JSON has it."""
        return {REFERENCE_TYPE_FIELD: self.reference_name, "late_after_s": self.late_after_s}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> ScheduledRunDue:
        """Return the reference that `serialize_reference` has written."""
        return cls(reference_data["late_after_s"])

    def _evaluate_with(self, *, session: Session, run_id: str) -> datetime | None:  # noqa: ARG002  # Airflow passes it
        """Return when a run is due, or None if it has no deadline.

        Args:
            run_id: Its second half is the moment when the run is due.
        """
        run_type, _, due = run_id.partition("__")
        if run_type != _SCHEDULED:
            return None
        due_at = datetime.fromisoformat(due)
        return due_at if due_at + timedelta(seconds=self.late_after_s) > datetime.now(UTC) else None
