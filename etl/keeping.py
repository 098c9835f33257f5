"""The table [keep] of feeds.toml: how long what is kept where."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from etl.spelling import Duration


class Keep(BaseModel):
    """Periods for which things are kept. The archive's candles are kept for ever.

    Attributes:
        raw: The raw pages of what was loaded, as they were received.
        warehouse: Candles in the warehouse; older ones are in the archive alone. Without: for ever, there too.
        uncompressed: Candles in the warehouse as plain rows; TimescaleDB compresses older ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: Duration = timedelta(days=30)
    warehouse: Duration | None = None
    uncompressed: Duration = timedelta(days=30)
