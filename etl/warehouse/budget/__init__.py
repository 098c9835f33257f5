"""Budget of an exchange for one address, shared by every process and machine that uses the warehouse.

`terms` says what may be spent, `bucket` what a log of it can do, `shared` keeps it in PostgreSQL and `memory` in the
process; `tally` is the exchange's own count, and `leased` what requests wait for.
"""

from etl.warehouse.budget.leased import LeasedBudget, SharedBudget, local_budget

__all__ = ["LeasedBudget", "SharedBudget", "local_budget"]
