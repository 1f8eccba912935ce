"""Who is calling: function keys and integrations (CONTRACTS 0 and 1)."""
