"""The fault bench: a gateway and its storage under faults, and a judge of what is left."""
