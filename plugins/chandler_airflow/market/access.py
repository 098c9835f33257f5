"""Rights of a user to rows: Airflow is asked about the DAG that a row belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from fastapi import HTTPException

from etl.problems import FEEDS, Fault
from etl.series import Series
from etl.settings import Settings

INGEST, HISTORY = "ingest_", "history_"
SCORING, TRAINING = "score_anomalies", "train_models"
"""The first is asked about for series that no feed has, since it judges whatever is stored."""

ABOUT_ALL = frozenset({"repair_gaps", "maintain_stores", TRAINING, SCORING, "deliver_alerts"})
"""Our DAGs that belong to no feed."""


class Access:
    """Asks about one user, and each DAG once.

    Args:
        settings: Whose feeds the DAGs are of; None if they cannot be read.
    """

    def __init__(self, user: BaseUser, settings: Settings | None) -> None:
        self._user = user
        self._feeds = {} if settings is None else settings.feeds
        self._answers: dict[tuple[str, bool], bool] = {}

    @property
    def name(self) -> str:
        """The user's."""
        return self._user.get_name()

    @cached_property
    def is_let_in(self) -> bool:
        """True if there is a DAG of ours that they may look at."""
        return any(map(self.reads, self._dags()))

    @cached_property
    def sees_all(self) -> bool:
        """True if they may look at each DAG of ours."""
        return all(map(self.reads, self._dags()))

    def reads(self, dag_id: str) -> bool:
        """Return whether they may look at a DAG."""
        return self._ask(dag_id, is_to_run=False)

    def sees(self, series: Series) -> bool:
        """Return whether they may look at a DAG that loads the series."""
        return self.sees_all or any(map(self.reads, self._dags_of(series)))

    def seen(self, series: Iterable[Series]) -> list[Series]:
        """Return those of `series` that they may see."""
        return [one for one in series if self.sees(one)]

    def acts_on(self, series: Series) -> bool:
        """Return whether they may start a run of a DAG that loads the series."""
        return any(self._ask(dag_id, is_to_run=True) for dag_id in self._dags_of(series))

    def sees_exchange(self, exchange: str) -> bool:
        """Return whether they may see all, or a feed of that exchange."""
        own = (name for name, feed in self._feeds.items() if feed.exchange == exchange)
        return self.sees_all or any(self.reads(dag) for name in own for dag in _dags_of_feed(name))

    def sees_fault(self, fault: Fault) -> bool:
        """Return whether a mistake in the settings is theirs to see: of a feed of theirs, or who sees all."""
        is_of_feed = fault.place[:1] == (FEEDS,) and len(fault.place) > 1
        return self.sees_all or (is_of_feed and any(map(self.reads, _dags_of_feed(fault.place[1]))))

    def check_reads(self, dag_id: str) -> None:
        """Check that they may look at a DAG.

        Raises:
            HTTPException: 403.
        """
        if not self.reads(dag_id):
            raise HTTPException(403, f"you may not look at the DAG {dag_id}; an admin of this Airflow can let you")

    def check_sees(self, series: Series) -> None:
        """Check that they may see a series; nothing tells whether there is one of that name.

        Raises:
            HTTPException: 403.
        """
        if not self.sees(series):
            raise HTTPException(
                403, f"you may not look at a DAG that loads {series}; an admin of this Airflow can let you"
            )

    def check_acts_on(self, series: Series) -> None:
        """Check that they may act on what is known of a series.

        Raises:
            HTTPException: 403.
        """
        if not self.acts_on(series):
            raise HTTPException(
                403, f"you may look, and not start runs of what loads {series}; an admin of this Airflow can let you"
            )

    def _ask(self, dag_id: str, *, is_to_run: bool) -> bool:
        key = dag_id, is_to_run
        if key not in self._answers:
            self._answers[key] = get_auth_manager().is_authorized_dag(
                method="POST" if is_to_run else "GET",
                access_entity=DagAccessEntity.RUN if is_to_run else None,
                details=DagDetails(id=dag_id),
                user=self._user,
            )
        return self._answers[key]

    def _dags(self) -> Iterator[str]:
        yield from ABOUT_ALL
        for name in self._feeds:
            yield from _dags_of_feed(name)

    def _dags_of(self, series: Series) -> list[str]:
        own = [dag for name, feed in self._feeds.items() if feed.has(series) for dag in _dags_of_feed(name)]
        return own or [SCORING]


def _dags_of_feed(name: str) -> tuple[str, str]:
    return INGEST + name, HISTORY + name
