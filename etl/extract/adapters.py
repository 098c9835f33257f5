"""The way to an exchange's source.

ccxt takes seconds to import, so it is imported when an exchange is to be spoken to, and not before.
"""

from __future__ import annotations

import gc
from contextlib import AbstractAsyncContextManager

from etl.answers import OnAnswer, ignore
from etl.extract.budget import Budget
from etl.extract.source import Source
from etl.settings import Settings


def open_source(
    exchange: str, settings: Settings, budget: Budget, on_answer: OnAnswer = ignore
) -> AbstractAsyncContextManager[Source]:
    """Return the source that speaks to `exchange`, to be entered.

    Args:
        budget: What may be spent there.
        on_answer: Told of each request.

    Raises:
        ConfigError: Nobody knows such an exchange.
    """
    traits = settings.traits(exchange)
    from etl.extract.ccxt_source import CcxtSource
    from etl.extract.dialects import DIALECTS

    # What is imported stays: the collector need not go through ccxt again and again while pages come and go.
    gc.freeze()
    return CcxtSource(exchange, settings, DIALECTS[traits.dialect](traits), budget, on_answer)
