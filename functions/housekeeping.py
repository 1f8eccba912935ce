"""The timers: the sweep continues interrupted work, the retention deletes old data."""

from __future__ import annotations

from contextlib import AsyncExitStack

import azure.functions as func

from functions.loading import gateway_in_background

blueprint = func.Blueprint()


@blueprint.function_name("sweep")
@blueprint.timer_trigger("timer", "*/30 * * * * *", run_on_startup=False, use_monitor=False)
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """End what failed too often, send lost messages again, close ended imports, import drops whose
    event was lost.
    """
    # Each sweep runs even if another one fails.
    async with gateway_in_background() as app, AsyncExitStack() as sweeps:
        sweeps.push_async_callback(app.row_drops.settle_ended)
        sweeps.push_async_callback(app.row_drop_sweep.run)
        sweeps.push_async_callback(app.documents.drop_sweep.run)
        sweeps.push_async_callback(app.poisoned_chunks.run)
        await app.sweep.run()


@blueprint.function_name("retention")
@blueprint.timer_trigger("timer", "0 7 * * * *", run_on_startup=False, use_monitor=False)
async def retention(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Add older records to the index of names, and delete expired data, once a day for a tenant."""
    async with gateway_in_background() as app:
        from shared.app import purge_refused_without_tenant, retention_of

        await retention_of(app).run()
        await purge_refused_without_tenant(app)


@blueprint.function_name("data_keys")
@blueprint.timer_trigger("timer", "0 37 * * * *", run_on_startup=False, use_monitor=False)
async def data_keys(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Seal values under older data keys anew, and remove the keys that nothing uses any more."""
    async with gateway_in_background() as app:
        from shared.app import data_key_rotation_of

        await data_key_rotation_of(app).run()
