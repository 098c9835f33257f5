"""`make bench`: every benchmark in turn. It takes a quarter of an hour, most of it at Binance's own limit."""

from bench import budget, fetch, ingest

for each in (ingest, fetch, budget):
    each.main()
