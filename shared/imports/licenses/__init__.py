"""Licenses of Viventium (CONTRACTS 2)."""
