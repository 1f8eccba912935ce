"""Authentication data of employees (CONTRACTS 3): scrub, duplicates, classes, thresholds."""
