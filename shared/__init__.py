"""The gateway's own package: imports (the domain), services, storage, auth and web."""
