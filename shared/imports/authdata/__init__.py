"""Authentication data of employees: scrub, duplicates, classes, thresholds.

See docs/contracts.md#3.
"""
