#!/bin/sh
# Build what is deployed, before azd packages it.
set -eu

if [ "${TELEMETRY:-false}" = true ]; then
    python3 dev.py build --telemetry
else
    python3 dev.py build
fi
