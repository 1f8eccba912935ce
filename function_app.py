"""The function app: one blueprint per module of `functions`."""

from __future__ import annotations

import azure.functions as func

from functions import (
    admin,
    assignments,
    audit,
    authdata,
    changes,
    console,
    contract,
    documents,
    housekeeping,
    imports,
    licenses,
    placements,
    records,
    row_drops,
    timesheets,
    tokens,
    workers,
)
from functions.loading import load_in_background
from shared.early_settings import makes_telemetry

if makes_telemetry():
    from shared import telemetry

    telemetry.turn_on()

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)

app.register_functions(workers.blueprint)
app.register_functions(assignments.blueprint)
app.register_functions(timesheets.blueprint)
app.register_functions(placements.blueprint)
app.register_functions(licenses.blueprint)
app.register_functions(documents.blueprint)
app.register_functions(row_drops.blueprint)
app.register_functions(authdata.blueprint)
app.register_functions(imports.blueprint)
app.register_functions(records.blueprint)
app.register_functions(admin.blueprint)
app.register_functions(audit.blueprint)
app.register_functions(changes.blueprint)
app.register_functions(tokens.blueprint)
app.register_functions(contract.blueprint)
app.register_functions(console.blueprint)
app.register_functions(housekeeping.blueprint)

load_in_background()
