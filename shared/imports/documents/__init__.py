"""Documents: uploads, drops, reading back, and what a tenant sets for them (docs/documents.md)."""
