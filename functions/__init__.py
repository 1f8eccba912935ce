"""Triggers, one module per import type. They only translate between the host and the services."""
