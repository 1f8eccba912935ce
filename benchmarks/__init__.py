"""The benchmarks: `python3 dev.py bench`; docs/benchmarks.md says what the figures mean."""
