"""What docs/performance.md quotes, measured. Never part of the tests."""
