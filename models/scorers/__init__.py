"""The ways to judge candles: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from models.scorers import autoencoder, ewma_z, isolation_forest, lstm, seasonal_z, spectral_residual, sub_pca
from models.scorers.scorer import Scorer

SCORERS: Mapping[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        lstm.SCORER,
        seasonal_z.SCORER,
        ewma_z.SCORER,
        spectral_residual.SCORER,
        isolation_forest.SCORER,
        sub_pca.SCORER,
        autoencoder.SCORER,
    )
}
LEARNED = lstm.SCORER.name
"""The one that is trained night by night; the others are baselines."""
