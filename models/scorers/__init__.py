"""The ways to judge candles: one file each, and one line here."""

from __future__ import annotations

from collections.abc import Mapping

from models.scorers import autoencoder, ewma_z, isolation_forest, seasonal_z, spectral_residual, sub_pca
from models.scorers.scorer import Scorer

SCORERS: Mapping[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        seasonal_z.SCORER,
        ewma_z.SCORER,
        spectral_residual.SCORER,
        isolation_forest.SCORER,
        sub_pca.SCORER,
        autoencoder.SCORER,
    )
}
