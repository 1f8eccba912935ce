"""Use cases. Triggers, the command line and the sweep call these; nothing else does the work."""
