"""The system's clock, set while processes run."""

from __future__ import annotations

import psutil
import pytest


def set_clock(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """Let the system say of every process what it says once its clock was set: it keeps no moment of the past."""
    boot_time = psutil._psplatform.boot_time
    before = psutil.Process().create_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time() + ahead_s)
    assert psutil.Process().create_time() == pytest.approx(before + ahead_s, abs=ahead_s / 2)
