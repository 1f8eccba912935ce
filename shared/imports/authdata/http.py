"""The contract of authentication data over HTTP (docs/contracts.md#3): stage, review, process.

Values are in the clear only between a call's body and `Staging.stage`, in memory; an
Idempotency-Key is bound to a keyed hash of the body.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import azure.functions as func

from shared.auth.callers import AnyCaller
from shared.auth.clients import Scope
from shared.auth.integrations import import_permission
from shared.clock import to_iso
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
from shared.imports.authdata.batch_records import Batch, BatchState
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.authdata.model import (
    NO_FILE_LOG_ID,
    BatchCall,
    check_no_options,
    read_call,
    read_file_call,
    read_file_log_id,
)
from shared.imports.authdata.staging import NO_SUCH_BATCH, EvaluatedBatch, refuse_expired
from shared.services.background import to_thread_if_large
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.audit import read_moment
from shared.web.idempotency import answer_once, keyed_call
from shared.web.import_call import answer_pending, answer_when_ended
from shared.web.imports import json_answer
from shared.web.requests import JSON, DryRun, Preferences
from shared.web.row_bodies import SentRows, sent_rows
from shared.web.sender import sender_of

_PAGE = 50
_LARGEST_PAGE = 100
# The row key of an index entity of batches.
_ROW = re.compile(r"[bd]\|[A-Za-z0-9._=|~:-]{1,200}")

# Dry runs of authentication data are evaluated like a call or a batch, without writing (I5).


async def dry_run_call(
    gateway: Gateway, caller: AnyCaller, call: BatchCall, mode: DryRun, *, is_whole: bool
) -> func.HttpResponse:
    """The answer that a stage call would get, or (`is_whole`) a call that also processes."""
    _check_rows(gateway, len(call.rows))
    gateway.dry_run_budget.spend(caller.tenant, caller.name, len(call.rows))
    async with gateway.dry_runs.place(caller.tenant, len(call.rows)):
        evaluated = await gateway.authdata.staging.evaluate_call(caller.tenant, call)
    if mode is DryRun.ROWS:
        return await _dry_run_rows(evaluated, 0 if is_whole else evaluated.before)
    file_log_id = call.file_log_id or NO_FILE_LOG_ID
    answer = evaluated.batch_answer if is_whole else evaluated.answer
    return await json_response(await asyncio.to_thread(answer, file_log_id))


async def dry_run_batch(
    gateway: Gateway, caller: AnyCaller, file_log_id: str, mode: DryRun
) -> func.HttpResponse:
    """The answer that a Process call would get."""
    batch = await gateway.authdata.staging.find(caller.tenant, file_log_id)
    if batch.state is not BatchState.STAGED:
        raise ConflictError(
            "The batch is not staged any more, so nothing would be done: ask for it with GET."
        )
    _check_rows(gateway, batch.rows)
    gateway.dry_run_budget.spend(caller.tenant, caller.name, batch.rows)
    async with gateway.dry_runs.place(caller.tenant, batch.rows):
        evaluated = await gateway.authdata.staging.evaluate_batch(batch)
    if mode is DryRun.ROWS:
        return await _dry_run_rows(evaluated, 0)
    return await json_response(await asyncio.to_thread(evaluated.batch_answer, file_log_id))


async def json_response(
    answer: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> func.HttpResponse:
    """200 with an answer; the JSON is made in a thread because it may be long."""
    body = await asyncio.to_thread(json.dumps, answer, ensure_ascii=False, separators=(",", ":"))
    return func.HttpResponse(body, headers=dict(headers or {}), mimetype=JSON)


async def _dry_run_rows(evaluated: EvaluatedBatch, first: int) -> func.HttpResponse:
    # Imported late, because it loads pydantic, which indexing does not need.
    from shared.imports.authdata.rules import changes_of
    from shared.services.dry_run import DryRunResult
    from shared.web.imports import judged_rows

    classifications = evaluated.classified.classifications[first:]
    results = results_of(evaluated.classified)[first:]
    shifted = tuple(replace(item, index=item.index - first) for item in results)
    changes = {
        item.record.position - first: changes_of(item, evaluated.stored) for item in classifications
    }
    return await judged_rows(AUTHDATA, DryRunResult(shifted, changes))


def _check_rows(gateway: Gateway, rows: int) -> None:
    limit = gateway.settings.dry_run_rows
    if rows > limit:
        raise TooLargeError(f"There are {rows} records and a dry run takes {limit}: send fewer.")


async def stage_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Stage records for review."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    sent = _read_sent_rows(gateway, req)
    if dry_run is not DryRun.NO:
        call = await _read(gateway, req, sent)
        return await dry_run_call(gateway, caller, call, dry_run, is_whole=False)

    async def run(call_id: str) -> func.HttpResponse:
        async with gateway.shares.acceptance.place(caller.tenant):
            call = await _read(gateway, req, sent)
            if not call.commit:
                gateway.dry_run_budget.spend(caller.tenant, caller.name, len(call.rows))
            staged = await gateway.authdata.staging.stage(caller.tenant, call, call_id)
        return await json_response(staged.answer)

    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)
    return await answer_once(gateway, keyed, run)


async def stage_and_process_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Stage and process in one call; the answer describes the whole batch."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    sent = _read_sent_rows(gateway, req)
    if dry_run is not DryRun.NO:
        call = await _read(gateway, req, sent)
        return await dry_run_call(gateway, caller, call, dry_run, is_whole=True)
    preferences = requests.preferences(req, gateway.settings.wait_seconds)

    async def run(call_id: str) -> func.HttpResponse:
        async with gateway.shares.accepting(caller.tenant):
            call = await _read(gateway, req, sent)
            if not call.commit:
                gateway.dry_run_budget.spend(caller.tenant, caller.name, len(call.rows))
            staged = await gateway.authdata.staging.stage(caller.tenant, call, call_id)
            if not staged.is_staged:
                return await json_response(staged.answer)
            sender = await sender_of(gateway, caller, req)
            try:
                record = await gateway.authdata.processing.begin(
                    caller.tenant, staged.file_log_id, sender
                )
            except AcceptanceUnknownError:
                raise
            except StorageUnavailableError as error:
                # The records are staged; after "nothing was accepted" the caller would stage them
                # twice.
                raise StagingUnknownError(staged.file_log_id) from error
        return await _processed(gateway, record, staged.file_log_id, preferences)

    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)
    return await answer_once(gateway, keyed, run)


async def process_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """Process a staged batch; a batch that was processed before gets its first answer again."""
    caller = await _authenticated(gateway, req)
    dry_run = _check(gateway, req)
    if dry_run is not DryRun.NO:
        return await dry_run_batch(gateway, caller, _file_log_id(req), dry_run)
    preferences = requests.preferences(req, gateway.settings.wait_seconds)

    async def run(_call_id: str) -> func.HttpResponse:
        file_log_id = _file_log_id(req)
        batch = await gateway.authdata.staging.find(caller.tenant, file_log_id)
        async with AsyncExitStack() as stack:
            # A batch that is already an import is answered however many imports are open.
            if batch.state is BatchState.STAGED:
                await stack.enter_async_context(gateway.shares.accepting(caller.tenant))
            sender = await sender_of(gateway, caller, req)
            record = await gateway.authdata.processing.begin(caller.tenant, file_log_id, sender)
        return await _processed(gateway, record, file_log_id, preferences)

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
        return await json_response(await gateway.authdata.staging.review(batch))
    if not batch.import_id:
        return await json_response(_empty_answer(batch))
    record = await gateway.authdata.processing.get_import(batch)
    if record is None:
        return await json_response(_empty_answer(batch))
    if record.is_open:
        return await answer_pending(gateway, record)
    return await authdata_answer(gateway, record)


async def list_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The batches of the tenant, without their records."""
    caller = await _authenticated(gateway, req)
    query = query_names.AUTHDATA_LIST.read(req)
    requests.check_accepts_json(req)
    size = requests.whole_number(query, "pageSize", _PAGE, _LARGEST_PAGE)
    since = read_moment("since", query.get("since"))
    text = query.get("continuation")
    after = requests.from_opaque(text) if text else ""
    if text and not _ROW.fullmatch(after):
        raise requests.wrong_continuation()
    batches, following = await gateway.authdata.staging.page(
        caller.tenant, after, to_iso(since) if since else "", size
    )
    return json_answer(
        {
            "items": [_batch_view(batch) for batch in batches],
            "continuation": requests.to_opaque(following) if following else None,
        }
    )


def _batch_view(batch: Batch) -> dict[str, Any]:
    return {
        "fileLogId": batch.file_log_id,
        "state": batch.state.value,
        "records": batch.rows,
        "openedAt": batch.opened_at,
        "changedAt": batch.changed_at,
        "importId": batch.import_id or None,
        "thresholdExceptions": list(batch.exceeded),
    }


async def authdata_answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    """The answer to the batch of an ended import, made from its results."""
    answer = await gateway.authdata.processing.answer(record)
    await gateway.authdata.processing.note_end(record)
    return await json_response(answer, {"X-Import-Id": record.import_id})


async def _processed(
    gateway: Gateway, record: ImportRecord | None, file_log_id: str, preferences: Preferences
) -> func.HttpResponse:
    if record is None:
        return await json_response(vendor_answer(file_log_id, ()))

    async def render(accepted: ImportRecord) -> func.HttpResponse:
        ended = await gateway.imports.read(accepted.tenant, accepted.number)
        return await authdata_answer(gateway, ended or accepted)

    return await answer_when_ended(gateway, record, preferences, render=render)


async def _authenticated(gateway: Gateway, req: func.HttpRequest) -> AnyCaller:
    return await gateway.callers.authenticate_for(
        req.headers, import_permission(AUTHDATA.name), Scope.IMPORT_AUTHDATA
    )


def _check(gateway: Gateway, req: func.HttpRequest) -> DryRun:
    """Check the request before its body is read; returns its dry run mode."""
    query = query_names.AUTHDATA.read(req)
    requests.check_size(req, gateway.settings.max_body_bytes)
    requests.check_accepts_json(req)
    return requests.dry_run(query)


def _read_sent_rows(gateway: Gateway, req: func.HttpRequest) -> SentRows:
    """The body of a call: a file of records, or JSON with the options of the call."""
    sent = sent_rows(req, AUTHDATA.rules, gateway.settings.max_body_bytes)
    if sent.format is None:
        requests.check_is_json(req)
    return sent


async def _read(gateway: Gateway, req: func.HttpRequest, sent: SentRows) -> BatchCall:
    query, max_rows = query_names.query_of(req), gateway.settings.max_rows
    if sent.format is None:
        check_no_options(query)
        body = await sent.unpacked()
        return await to_thread_if_large(len(body), read_call, body, max_rows)
    body = await sent.content()
    return await to_thread_if_large(len(body), read_file_call, body, sent.reader, query, max_rows)


def _file_log_id(req: func.HttpRequest) -> str:
    """The id in the address. Raises NotFoundError for all zeros, which is no batch."""
    file_log_id = read_file_log_id(req.route_params["fileLogId"])
    if file_log_id is None:
        raise NotFoundError(NO_SUCH_BATCH)
    return file_log_id


def _empty_answer(batch: Batch) -> dict[str, Any]:
    """The answer to a batch without records, or one that was cancelled while it was staged."""
    return vendor_answer(batch.file_log_id, (), batch.exceeded)
