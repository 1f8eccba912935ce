"""Licenses of Viventium (docs/contracts.md#2, docs/licenses.md)."""
