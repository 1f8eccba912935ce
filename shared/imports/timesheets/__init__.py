"""Timesheets v1 and v2 of Pay & Bill (docs/contracts.md#12)."""
