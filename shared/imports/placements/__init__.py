"""Placements v1 of Pay & Bill (docs/contracts.md#12)."""
