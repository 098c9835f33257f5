"""Benchmarks behind docs/performance.md and docs/models.md. Never part of the tests."""
