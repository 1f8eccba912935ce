"""Authentication of callers: function keys and tokens (docs/contracts.md#0 and #1)."""
