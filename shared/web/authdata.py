"""The contract of authentication data over HTTP (docs/contracts.md#3): stage, review, process.

Values are in the clear only between a call's body and `Staging.stage`, in memory; an
Idempotency-Key is bound to a keyed hash of the body.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import azure.functions as func

from shared.auth.callers import AnyCaller
from shared.auth.clients import Scope
from shared.errors import (
    AcceptanceUnknownError,
    ConflictError,
    NotFoundError,
    StagingUnknownError,
    StorageUnavailableError,
    TooLargeError,
)
from shared.gateway import Gateway
from shared.imports.authdata.answer import results_of, vendor_answer
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import NO_FILE_LOG_ID, BatchCall, read_call, read_file_log_id
from shared.services.authdata.staging import NO_SUCH_BATCH, Judged, refuse_expired
from shared.services.background import to_thread_if_large
from shared.storage.authdata_records import Batch, BatchState
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.idempotency import answer_once, keyed_call
from shared.web.import_call import answer_pending, answer_when_ended
from shared.web.requests import JSON, DryRun, Preferences
from shared.web.sender import sender_of

# Dry runs of authentication data: judged like a call or a batch, and nothing is written (I5).


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
            "The batch is not staged any more, so nothing would be done: ask for it with GET."
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
    from shared.services.dry_run import DryRunResult
    from shared.web.imports import judged_rows

    verdicts = judged.classified.verdicts[first:]
    results = results_of(judged.classified)[first:]
    told = tuple(replace(each, index=each.index - first) for each in results)
    changes = {each.record.position - first: changes_of(each, judged.known) for each in verdicts}
    return await judged_rows(AUTHDATA, DryRunResult(told, changes))


def _check_rows(gateway: Gateway, rows: int) -> None:
    most = gateway.settings.dry_run_rows
    if rows > most:
        raise TooLargeError(f"There are {rows} records and a dry run takes {most}: send fewer.")


async def stage_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Stage records for review."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    requests.check_sends_json(req)
    if dry_run is not DryRun.NO:
        call = await _read(gateway, req)
        return await of_call(gateway, caller, call, dry_run, is_whole=False)

    async def run(call_id: str) -> func.HttpResponse:
        async with gateway.shares.acceptance.place(caller.tenant):
            call = await _read(gateway, req)
            if not call.commit:
                gateway.trials.spend(caller.tenant, caller.name, len(call.rows))
            staged = await gateway.authdata.staging.stage(caller.tenant, call, call_id)
        return await rendered(staged.answer)

    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)
    return await answer_once(gateway, keyed, run)


async def stage_and_process_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Both steps in one call; the answer tells of the whole batch."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    requests.check_sends_json(req)
    if dry_run is not DryRun.NO:
        call = await _read(gateway, req)
        return await of_call(gateway, caller, call, dry_run, is_whole=True)
    wished = requests.preferences(req, gateway.settings.wait_seconds)

    async def run(call_id: str) -> func.HttpResponse:
        async with gateway.shares.accepting(caller.tenant):
            call = await _read(gateway, req)
            if not call.commit:
                gateway.trials.spend(caller.tenant, caller.name, len(call.rows))
            staged = await gateway.authdata.staging.stage(caller.tenant, call, call_id)
            if not staged.is_staged:
                return await rendered(staged.answer)
            sender = await sender_of(gateway, caller, req)
            try:
                record = await gateway.authdata.processing.begin(
                    caller.tenant, staged.file_log_id, sender
                )
            except AcceptanceUnknownError:
                raise
            except StorageUnavailableError as error:
                # The records are staged: "nothing was accepted" would have them staged twice.
                raise StagingUnknownError(staged.file_log_id) from error
        return await _processed(gateway, record, staged.file_log_id, wished)

    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)
    return await answer_once(gateway, keyed, run)


async def process_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Process a staged batch; one that was processed before is answered as it was then."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    if dry_run is not DryRun.NO:
        return await of_batch(gateway, caller, _file_log_id(req), dry_run)
    wished = requests.preferences(req, gateway.settings.wait_seconds)

    async def run(_call_id: str) -> func.HttpResponse:
        file_log_id = _file_log_id(req)
        batch = await gateway.authdata.staging.find(caller.tenant, file_log_id)
        async with AsyncExitStack() as stack:
            # A batch that became an import before is answered, however many imports are open.
            if batch.state is BatchState.STAGED:
                await stack.enter_async_context(gateway.shares.accepting(caller.tenant))
            sender = await sender_of(gateway, caller, req)
            record = await gateway.authdata.processing.begin(caller.tenant, file_log_id, sender)
        return await _processed(gateway, record, file_log_id, wished)

    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)
    return await answer_once(gateway, keyed, run)


async def review_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The whole batch as Process would decide it now, or as it was processed."""
    caller = await _authenticated(gateway, req)
    query_names.VENDORS_NONE.read(req)
    requests.check_accepts_json(req)
    batch = await gateway.authdata.staging.find(caller.tenant, _file_log_id(req))
    refuse_expired(batch)
    if batch.state is BatchState.STAGED:
        return await rendered(await gateway.authdata.staging.review(batch))
    if not batch.import_id:
        return await rendered(_nothing_in(batch))
    record = await gateway.authdata.processing.import_of(batch)
    if record is None:
        return await rendered(_nothing_in(batch))
    if record.is_open:
        return await answer_pending(gateway, record)
    return await authdata_answer(gateway, record)


async def authdata_answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    """The answer to the batch of an ended import, made of its results."""
    answer = await gateway.authdata.processing.answer(record)
    await gateway.authdata.processing.note_end(record)
    return await rendered(answer, {"X-Import-Id": record.import_id})


async def _processed(
    gateway: Gateway, record: ImportRecord | None, file_log_id: str, wished: Preferences
) -> func.HttpResponse:
    if record is None:
        return await rendered(vendor_answer(file_log_id, ()))

    async def render(accepted: ImportRecord) -> func.HttpResponse:
        ended = await gateway.imports.read(accepted.tenant, accepted.number)
        return await authdata_answer(gateway, ended or accepted)

    return await answer_when_ended(gateway, record, wished, render=render)


async def _authenticated(gateway: Gateway, req: func.HttpRequest) -> AnyCaller:
    return await gateway.callers.authenticate_for(req.headers, Scope.IMPORT_AUTHDATA)


def _check(gateway: Gateway, req: func.HttpRequest) -> DryRun:
    """What is refused before the body is looked at; whether the call is a dry run."""
    query = query_names.AUTHDATA.read(req)
    requests.check_size(req, gateway.settings.max_body_bytes)
    requests.check_accepts_json(req)
    return requests.dry_run(query)


async def _read(gateway: Gateway, req: func.HttpRequest) -> BatchCall:
    body = req.get_body()
    return await to_thread_if_large(len(body), read_call, body, gateway.settings.max_rows)


def _file_log_id(req: func.HttpRequest) -> str:
    """The id in the address. Raises NotFoundError for all zeros, which is no batch."""
    file_log_id = read_file_log_id(req.route_params["fileLogId"])
    if file_log_id is None:
        raise NotFoundError(NO_SUCH_BATCH)
    return file_log_id


def _nothing_in(batch: Batch) -> dict[str, Any]:
    """Of a batch that never had a record, or was cancelled while it was staged."""
    return vendor_answer(batch.file_log_id, (), batch.exceeded)
