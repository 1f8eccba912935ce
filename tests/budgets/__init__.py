"""The house test of budgets: every text entry and parser against its worst inputs."""
