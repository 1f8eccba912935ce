"""The timer that takes up what somebody started and died over."""

from __future__ import annotations

import azure.functions as func

from shared.bootstrap import gateway

blueprint = func.Blueprint()


@blueprint.function_name("sweep")
@blueprint.timer_trigger("timer", "*/30 * * * * *", run_on_startup=False, use_monitor=False)
async def sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001 (the host passes it)
    """Send missing messages again, close what was forgotten."""
    await (await gateway()).sweep.run()
