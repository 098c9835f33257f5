"""Metrics as the market page's app gives them, to whoever scrapes; see `etl.metrics`."""

from etl.metrics import metrics_text

__all__ = ["metrics_text"]
