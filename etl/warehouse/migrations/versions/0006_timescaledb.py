"""TimescaleDB where it is there, and coarser candles made of `1m`, kept by it or as views.

What a database that gets TimescaleDB later is turned into by `chandler warehouse adopt` is the same, so it stands in
`etl.warehouse.timescale`.
"""

import logging

from alembic import op

from etl.warehouse.aggregates import create_aggregates
from etl.warehouse.timescale import adopt

revision = "0006"
down_revision = "0005"

log = logging.getLogger(__name__)


def upgrade() -> None:
    """Make use of TimescaleDB, if that can be done here."""
    connection = op.get_bind()
    if (obstacle := adopt(connection)) is not None:
        log.info("the candles lie in a plain table: %s", obstacle)
        create_aggregates(connection)
