"""HTTP's side of the gateway: refusals, preferences, content types, answers."""
