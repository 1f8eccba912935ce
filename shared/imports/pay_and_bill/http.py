"""The contract that Workers and Assignments share: Pay & Bill (docs/contracts.md#1).

From a request to an accepted import, and from the results to the vendor's answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Final

import azure.functions as func

from shared.auth.callers import Caller, check_database, check_database_version
from shared.auth.integrations import import_permission
from shared.errors import InvalidRequestError, UnknownMessageTypeError
from shared.gateway import Gateway
from shared.imports.import_type import ImportType
from shared.imports.json_rows import json_text
from shared.imports.messages import Message, MessageId, Severity
from shared.imports.registry import TYPE_CATALOGUE, Catalogue
from shared.imports.results import MAX_FULL_ANSWER, Outcome, RowResult
from shared.services.background import to_thread_if_large
from shared.services.import_views import message_view
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.idempotency import keyed_call
from shared.web.import_call import ImportCall, answer_import
from shared.web.imports import judged_rows
from shared.web.requests import DryRun
from shared.web.row_bodies import SentRows, sent_rows, with_profile_version
from shared.web.sender import sender_of

# `version=N` selects the version of a message type; without it the lowest version is used.

# About the text of a result.
_RESULT_BYTES: Final = 400
_VERSION: Final = re.compile(r"[0-9]{1,100}")


def version_in_query(catalogue: Catalogue, name: str, query: Mapping[str, str]) -> ImportType:
    """The version of the type that the query names; the type must be in the catalogue.

    Raises InvalidRequestError for a version that is not a number, UnknownMessageTypeError for one
    that the type does not have.
    """
    numbers = [str(kind.version) for kind in catalogue.versions(name)]
    text = query.get("version", numbers[0])
    if not _VERSION.fullmatch(text):
        raise InvalidRequestError(f"version must be a whole number: send {' or '.join(numbers)}.")
    import_type = catalogue.find(name, int(text))
    if import_type is None:
        available = f"version {numbers[0]}"
        if len(numbers) > 1:
            available = f"the versions {', '.join(numbers[:-1])} and {numbers[-1]}"
        raise UnknownMessageTypeError(
            f"Message Type not found/implemented: {name} has {available}."
        )
    return import_type


async def import_call(
    gateway: Gateway, lowest: ImportType, req: func.HttpRequest
) -> func.HttpResponse:
    """POST of a message type: check in the order of docs/contracts.md#0, accept, wait, answer.

    The query has the version of the type.
    """
    caller = await gateway.callers.authenticate(req.headers, import_permission(lowest.name))
    check_database(caller, lowest.contract)
    query = query_names.PAY_AND_BILL.read(req)
    kind = version_in_query(TYPE_CATALOGUE, lowest.name, query)
    check_database_version(caller, kind.contract)
    requests.check_size(req, gateway.settings.max_body_bytes)
    sent = sent_rows(req, kind.rules, gateway.settings.max_body_bytes)
    dry_run = requests.dry_run(query)
    if dry_run is not DryRun.NO:
        sent = await sent.with_profile(gateway, caller.tenant, kind, query)
        return await _answer_dry_run(gateway, kind, caller, sent, dry_run)
    keyed = await keyed_call(req, caller.tenant, [req.get_body()], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        body = await sent.content()
        sender = await sender_of(gateway, caller, req)
        rows = await sent.with_profile(gateway, caller.tenant, kind, query)
        return await gateway.intake.accept(
            kind, caller, body, import_id, sender, rows.reader, rows.profile
        )

    async def render(record: ImportRecord | None, _media_type: str) -> func.HttpResponse:
        if record is None:
            return _answer(())
        return await vendor_answer(gateway, kind, record)

    preferences = requests.preferences(req, gateway.settings.wait_seconds)
    call = ImportCall(caller.tenant, accept, render, preferences, is_small=sent.is_small)
    response = await answer_import(gateway, call, keyed)
    return await with_profile_version(response, gateway, caller.tenant, kind, query)


async def _answer_dry_run(
    gateway: Gateway, kind: ImportType, caller: Caller, sent: SentRows, mode: DryRun
) -> func.HttpResponse:
    """The answer that the call would get; nothing is imported."""
    is_by_row = mode is DryRun.ROWS
    async with gateway.shares.acceptance.place(caller.tenant):
        body = await sent.content()
        planned = await gateway.intake.read(kind, caller.tenant, body, sent.reader)
    draft = gateway.intake.draft(kind, caller.tenant, planned, caller.options)
    result = await gateway.dry_runs.judge(kind, draft, planned, with_changes=is_by_row)
    result = result.with_columns(sent.mapping, planned)
    if is_by_row:
        return await judged_rows(kind, result)
    return _answer(await asyncio.to_thread(rendered_rows, kind, result.in_order_sent()))


async def vendor_answer(
    gateway: Gateway, kind: ImportType, record: ImportRecord
) -> func.HttpResponse:
    """200 with the results of all rows, in the order of the payload; many are made in a thread.

    A row without a result (its payload was lost) gets 9001.
    """
    missing = RowResult(
        0,
        (None,) * len(kind.rules.key_fields),
        Outcome.FAILED,
        (Message(MessageId.COULD_NOT_BE_PROCESSED),),
    )
    rows = [_rendered(kind, missing, is_short=False)] * record.rows
    room = MAX_FULL_ANSWER
    async for results in gateway.reporting.result_chunks(record):
        size = _RESULT_BYTES * len(results)
        texts = await to_thread_if_large(size, rendered_rows, kind, results, room)
        room -= sum(map(len, texts))
        for result, text in zip(results, texts, strict=True):
            rows[result.index] = text
    size = _RESULT_BYTES * len(rows)
    return await to_thread_if_large(size, _answer, rows, {"X-Import-Id": record.import_id})


def _answer(rows: Sequence[str], headers: Mapping[str, str] | None = None) -> func.HttpResponse:
    body = f'{{"results":[{",".join(rows)}]}}'
    return func.HttpResponse(body, mimetype=requests.JSON, headers=headers)


def rendered_rows(
    kind: ImportType, results: Sequence[RowResult], room: int = MAX_FULL_ANSWER
) -> list[str]:
    """Each row as JSON; after `room` characters a row has only its first message."""
    texts: list[str] = []
    for result in results:
        texts.append(_rendered(kind, result, is_short=room <= 0))
        room -= len(texts[-1])
    return texts


def _rendered(kind: ImportType, result: RowResult, *, is_short: bool) -> str:
    # The counts are those of all messages, also where only the first one is shown.
    errors = warnings = infos = 0
    if result.messages:
        errors, warnings, infos = (result.count(severity) for severity in Severity)
    keys = dict(zip(kind.rules.key_fields, result.key, strict=True))
    shown = result.shortened() if is_short else result
    content = {
        "recordIds": [
            {"field": field, "value": keys[field]}
            for field in kind.rules.record_id_fields
            if keys[field] is not None
        ],
        "importStatus": "Error" if errors else "Warning" if warnings else "OK",
        "errorCount": errors,
        "warningCount": warnings,
        "infoCount": infos,
        "messages": [message_view(message) for message in shown.messages],
    }
    return json_text(content)
