"""Log lines of a failure that stays while it is tried again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest
import tenacity

from etl.errors import SourceUnavailableError
from etl.extract.patience import insist


@pytest.mark.parametrize(
    ("failures", "warnings"),
    [(["away"] * 5, ["away"]), (["away", "away", "slow", "slow", "away"], ["away", "slow"])],
)
def test_the_same_failure_is_a_warning_once(
    failures: list[str], warnings: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has no network reads it once, and once more as the error; each try is in a log of more detail."""
    monkeypatch.setattr("etl.extract.patience._WAIT", tenacity.wait_none())
    caplog.set_level(logging.INFO, "etl")
    left: Iterator[str] = iter(failures)

    async def ask() -> None:
        raise SourceUnavailableError(next(left))

    with pytest.raises(SourceUnavailableError, match=failures[-1]):
        asyncio.run(insist(ask))
    told = [(record.levelno, record.getMessage()) for record in caplog.records]
    assert [message for _, message in told] == [
        f"{failure}; try {number} of 5 in 0.0 s" for number, failure in enumerate(failures[:-1], 2)
    ]
    assert [message.partition(";")[0] for level, message in told if level == logging.WARNING] == warnings
