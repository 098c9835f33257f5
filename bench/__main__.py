"""`make bench`: every benchmark in turn."""

from bench.ingest import main

main()
