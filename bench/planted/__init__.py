"""Faults planted into sound markets, and whether they are found: what `bench.quality` counts.

`kinds` is what can be wrong, `sites` where it is put, `market` serves it, `runs` ingests it and looks what was found.
"""
