"""Charts of incidents for messages: each is drawn once, however many channels want it."""

from __future__ import annotations

import logging
from threading import Lock

from etl.dossiers import open_dossier
from etl.warehouse import Warehouse

log = logging.getLogger(__name__)


class Charts:
    """Draws charts, one at a time: what draws them is not made for threads."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._drawn: dict[int, bytes | None] = {}
        self._lock = Lock()

    def of(self, incident_id: int) -> bytes | None:
        """Return a PNG of the candles around an incident; None if it cannot be drawn, which keeps no message back."""
        with self._lock:
            if incident_id not in self._drawn:
                self._drawn[incident_id] = self._draw(incident_id)
            return self._drawn[incident_id]

    def _draw(self, incident_id: int) -> bytes | None:
        from etl.alerts.chart import chart_png

        try:
            dossier = open_dossier(self._warehouse, incident_id)
            return chart_png(dossier.candles, dossier.incident) if dossier.candles.num_rows else None
        except Exception:  # noqa: BLE001 - the message is what matters, the chart an ornament
            log.warning("incident %d: no chart could be drawn", incident_id, exc_info=True)
            return None
