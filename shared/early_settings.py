"""The settings that are read while the app is indexed; `shared.settings` reads all others."""

from __future__ import annotations

import os

DROP_SOURCE = "GATEWAY_DROP_SOURCE"
EVENT_GRID = "eventgrid"
TELEMETRY = "GATEWAY_TELEMETRY"
OPEN_TELEMETRY = "opentelemetry"

# A wrong value counts as the default here. `shared.settings` reports it at the first call, with all
# other problems.


def makes_telemetry() -> bool:
    """Whether `GATEWAY_TELEMETRY` is set to make some."""
    return os.environ.get(TELEMETRY, "").strip().lower() == OPEN_TELEMETRY


def drops_come_as_events() -> bool:
    """Whether `GATEWAY_DROP_SOURCE` is `eventgrid`."""
    return os.environ.get(DROP_SOURCE, "").strip().lower() == EVENT_GRID
