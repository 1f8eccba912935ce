"""Retry and cancel over HTTP (docs/contracts.md#5).

Both wait like a call that sends rows, and answer with the import object: 200 if the import has
ended, else 202 with its address.
"""

from __future__ import annotations

from functools import partial

import azure.functions as func

from shared.auth.callers import AnyCaller, check_database
from shared.gateway import Gateway
from shared.imports.registry import IMPORT_TYPES
from shared.services.status import ImportState
from shared.storage.import_records import ImportRecord
from shared.web import requests
from shared.web.idempotency import keyed_call
from shared.web.import_call import ImportCall, answer_import, answer_when_ended
from shared.web.imports import address, import_view, json_answer
from shared.web.sender import sender_of


async def retry_call(
    gateway: Gateway, caller: AnyCaller, parent: ImportRecord, req: func.HttpRequest
) -> func.HttpResponse:
    """POST …/retry: accept the child import, wait, answer with it."""
    kind = IMPORT_TYPES.get(parent.type_name)
    if kind is not None:
        check_database(caller, kind.contract)
    requests.check_size(req, gateway.settings.max_body_bytes)
    requests.check_accepts_json(req)
    requests.check_sends_json(req)
    body = req.get_body()
    keyed = await keyed_call(req, caller.tenant, [body], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        sender = await sender_of(gateway, caller, req)
        return await gateway.retrying.retry(parent, body, import_id, sender)

    async def render(record: ImportRecord | None, _media_type: str) -> func.HttpResponse:
        assert record is not None, "a retry has rows"
        return await _ended(gateway, record)

    wait_preferences = requests.preferences(req, gateway.settings.wait_seconds)
    call = ImportCall(caller.tenant, accept, render, wait_preferences, is_lasting=False)
    return await answer_import(gateway, call, keyed)


async def cancel_call(
    gateway: Gateway, record: ImportRecord, req: func.HttpRequest
) -> func.HttpResponse:
    """POST …/cancel: ask the handlers to stop, wait until they have, answer with the import."""
    requests.check_accepts_json(req)
    wait_preferences = requests.preferences(req, gateway.settings.wait_seconds)
    cancelled = await gateway.cancelling.cancel(record)
    # From here on the import is cancelled, even if a later request to storage fails.
    return await answer_when_ended(
        gateway,
        cancelled,
        wait_preferences,
        render=partial(_ended, gateway),
        state=ImportState.PROCESSING,
    )


async def _ended(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    report = await gateway.reporting.find(record.tenant, record.import_id)
    headers = {"X-Import-Id": record.import_id, "Location": address(record)}
    return json_answer(import_view(report), 200, headers)
