"""Triggers, one module per import type: they translate, the services work."""
