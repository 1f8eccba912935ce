"""The timers: one takes up what somebody started and died over, one lets go what is too old."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway
from shared.storage_time import BACKGROUND_SECONDS, storage_time

blueprint = func.Blueprint()


@blueprint.function_name("sweep")
@blueprint.timer_trigger("timer", "*/30 * * * * *", run_on_startup=False, use_monitor=False)
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Send missing messages again, close what was forgotten, take in what was dropped unheard."""
    with storage_time(BACKGROUND_SECONDS):
        app = await gateway()
        try:
            await app.sweep.run()
        finally:
            # Drops do not wait for imports that cannot be swept.
            await app.documents.drop_sweep.run()


@blueprint.function_name("retention")
@blueprint.timer_trigger("timer", "0 7 * * * *", run_on_startup=False, use_monitor=False)
async def retention(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Enter older records in the index of names; let payloads, results, tombstones and the like go
    after their time, a tenant once a day.
    """
    from shared.app import fill_indexes, retention_of

    with storage_time(BACKGROUND_SECONDS):
        app = await gateway()
        await fill_indexes(app)
        await retention_of(app).run()
