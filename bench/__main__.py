"""`make bench`: every benchmark in turn. It takes twenty minutes, most of them at Binance's own limit."""

from bench import budget, fetch, ingest

for each in (ingest, fetch, budget):
    each.main()
