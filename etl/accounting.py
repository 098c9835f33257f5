"""Steps after a load, for all that was loaded since they ran last: absences are judged, coarser candles counted.

Each asks the warehouse what is left to do, so that a run that was killed in between is made up for by the next.
"""

from __future__ import annotations

from etl.judging import Judged, judge_loads
from etl.stores import Stores
from etl.warehouse import refresh_aggregates


def account_for_loads(stores: Stores, exchange: str | None, run: str) -> Judged:
    """Judge the absences around what was loaded, and bring the aggregates up to date.

    Args:
        exchange: Whose absences; None for all. The aggregates are those of all in any case.
        run: What to call this run where a change of kind is recorded.

    Returns:
        What was judged, and the series that cannot be judged, which stop nothing else.

    Raises:
        StoreError: The warehouse refuses or went away; what is not done will be.
    """
    judged = judge_loads(stores, exchange, run)
    refresh_aggregates(stores.warehouse)
    return judged
