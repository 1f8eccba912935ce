"""Stored records read back: filters, pages, texts (docs/contracts.md#7)."""
