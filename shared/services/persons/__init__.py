"""Persons: what is stored about one, its export and its erasure (docs/persons-and-tenants.md)."""
