"""The HTTP layer: refusals, preferences, content types, answers."""
