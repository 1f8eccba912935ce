"""Licenses of Viventium (docs/contracts.md#2)."""
