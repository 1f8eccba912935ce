"""The gateway's own package: domain (`imports`), use cases (`services`), storage, callers and web."""
