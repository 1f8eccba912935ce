"""Who is calling: function keys and integrations (docs/contracts.md#0 and docs/contracts.md#1)."""
