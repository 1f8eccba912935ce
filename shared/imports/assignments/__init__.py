"""Assignments v1 of Pay & Bill (CONTRACTS 1)."""
