"""Dry runs of authentication data: judged like a call or a batch, and nothing is written (I5)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import azure.functions as func

from shared.auth.caller import AnyCaller
from shared.bootstrap import Gateway
from shared.errors import ConflictError, TooLargeError
from shared.imports.authdata.answering import results_of
from shared.imports.authdata.batch_call import BatchCall
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.records import NO_FILE_LOG_ID
from shared.services.authdata.staging import Judged
from shared.storage.batch_records import BatchState
from shared.web.requests import JSON, DryRun


async def of_call(
    gateway: Gateway, caller: AnyCaller, call: BatchCall, wished: DryRun, *, is_whole: bool
) -> func.HttpResponse:
    """What a stage call would be answered, or (`is_whole`) the call that processes too."""
    _check_rows(gateway, len(call.rows))
    gateway.trials.spend(caller.tenant, caller.name, len(call.rows))
    async with gateway.dry_runs.place(caller.tenant, len(call.rows)):
        judged = await gateway.authdata.staging.judge_call(caller.tenant, call)
    if wished is DryRun.ROWS:
        return await _judged_rows(judged, 0 if is_whole else judged.before)
    file_log_id = call.file_log_id or NO_FILE_LOG_ID
    answer = judged.whole if is_whole else judged.answer
    return await rendered(await asyncio.to_thread(answer, file_log_id))


async def of_batch(
    gateway: Gateway, caller: AnyCaller, file_log_id: str, wished: DryRun
) -> func.HttpResponse:
    """What a Process call would be answered."""
    batch = await gateway.authdata.staging.find(caller.tenant, file_log_id)
    if batch.state is not BatchState.STAGED:
        raise ConflictError(
            "The batch is not staged any more: ask for it with GET, nothing would be done."
        )
    _check_rows(gateway, batch.rows)
    gateway.trials.spend(caller.tenant, caller.name, batch.rows)
    async with gateway.dry_runs.place(caller.tenant, batch.rows):
        judged = await gateway.authdata.staging.judge_batch(batch)
    if wished is DryRun.ROWS:
        return await _judged_rows(judged, 0)
    return await rendered(await asyncio.to_thread(judged.whole, file_log_id))


async def rendered(
    answer: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """200 with an answer, which may be long."""
    body = await asyncio.to_thread(json.dumps, answer, ensure_ascii=False, separators=(",", ":"))
    return func.HttpResponse(body, headers=dict(headers or {}), mimetype=JSON)


async def _judged_rows(judged: Judged, first: int) -> func.HttpResponse:
    # Late: it brings pydantic, which indexing does without.
    from shared.imports.authdata.changes import changes_of
    from shared.services.dry_runs import Judgement
    from shared.web.dry_run_views import judged_rows

    verdicts = judged.classified.verdicts[first:]
    results = results_of(judged.classified)[first:]
    told = tuple(replace(each, index=each.index - first) for each in results)
    changes = {each.record.position - first: changes_of(each, judged.known) for each in verdicts}
    return await judged_rows(AUTHDATA, Judgement(told, changes))


def _check_rows(gateway: Gateway, rows: int) -> None:
    most = gateway.settings.dry_run_rows
    if rows > most:
        raise TooLargeError(f"There are {rows} records and a dry run takes {most}: send fewer.")
