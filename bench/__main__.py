"""`make bench`: every benchmark in turn, which takes an hour, much of it at Binance's own limit.

`python -m bench NAME` is one of them, with its own options behind the name.
"""

import sys

from bench import (
    absences,
    archive,
    audit,
    budget,
    clean,
    fetch,
    importing,
    ingest,
    load,
    market,
    models,
    noise,
    quality,
    rebuild,
    spreads,
    training,
)

BENCHES = {
    "ingest": ingest,
    "fetch": fetch,
    "budget": budget,
    "importing": importing,
    "clean": clean,
    "absences": absences,
    "archive": archive,
    "audit": audit,
    "quality": quality,
    "load": load,
    "market": market,
    "rebuild": rebuild,
    "models": models,
    "noise": noise,
    "spreads": spreads,
    "training": training,
}

for name in [sys.argv.pop(1)] if len(sys.argv) > 1 else BENCHES:
    if name not in BENCHES:
        raise SystemExit(f"{name!r} is no benchmark; one of {', '.join(BENCHES)}")
    BENCHES[name].main()
