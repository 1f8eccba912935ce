"""Licenses: the work on their rows, company by company (docs/licenses.md)."""
