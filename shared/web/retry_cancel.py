"""Retry, undo and cancel over HTTP (docs/contracts.md#5, docs/contracts.md#9).

All wait like a call that sends rows, and answer with the import object: 200 if the import has
ended, else 202 with its address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import azure.functions as func

from shared.auth.callers import AnyCaller, check_database
from shared.auth.integrations import import_permission
from shared.errors import GoneError, InvalidRequestError
from shared.gateway import Gateway
from shared.imports.files.corrections import corrections_reader
from shared.imports.files.formats import FileFormat
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.services.idempotency import KeyedCall
from shared.services.import_views import address, import_view
from shared.services.status import UNREADABLE, ImportState
from shared.storage.import_records import ImportRecord
from shared.web import requests
from shared.web.idempotency import keyed_call
from shared.web.import_call import ImportCall, answer_import, answer_when_ended
from shared.web.imports import (
    json_answer,
    judged_rows,
    judged_undo_view,
)
from shared.web.requests import DryRun
from shared.web.row_bodies import sent_rows
from shared.web.sender import sender_of

UNDO_HAS_NO_BODY: Final = (
    "An undo takes no body, and nothing was done: send an empty one to undo the whole import."
)
DRY_RUN_OR_ALL: Final = (
    "onlyIfAll belongs to an undo that is no dry run: leave one of the two out of the query."
)


async def retry_call(
    gateway: Gateway, caller: AnyCaller, parent: ImportRecord, req: func.HttpRequest
) -> func.HttpResponse:
    """POST …/retry: accept the child import, wait, answer with it."""
    _check_database(caller, parent)
    requests.check_size(req, gateway.settings.max_body_bytes)
    requests.check_accepts_json(req)
    body = req.get_body()
    if body.strip():
        # Corrected rows are imported, so an integration that may only operate cannot send them.
        caller.check(import_permission(parent.type_name))
    kind = TYPE_CATALOGUE.find(parent.type_name, parent.type_version)
    if kind is None:
        raise GoneError(UNREADABLE)
    sent = sent_rows(req, kind.rules, gateway.settings.max_body_bytes)
    if sent.format is None:
        requests.check_is_json(req)
    keyed = await keyed_call(req, caller.tenant, [body], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        sender = await sender_of(gateway, caller, req)
        # A body of JSON is read with its byte order mark.
        content = await (sent.content() if sent.format is not None else sent.unpacked())
        reader = corrections_reader(
            sent.format or FileFormat.JSON,
            kind.rules,
            sent.options,
            await gateway.reporting.mapping_of(parent),
        )
        return await gateway.retrying.retry(parent, content, import_id, sender, reader)

    return await _answer_child(gateway, caller, req, accept, keyed)


@dataclass(frozen=True, slots=True)
class UndoOptions:
    """What the query of an undo asks for."""

    dry_run: DryRun
    only_if_all: bool

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> UndoOptions:
        """Raises InvalidRequestError."""
        options = cls(requests.dry_run(query), requests.boolean(query, "onlyIfAll", default=False))
        if options.only_if_all and options.dry_run is not DryRun.NO:
            raise InvalidRequestError(DRY_RUN_OR_ALL)
        return options


async def undo_call(
    gateway: Gateway,
    caller: AnyCaller,
    parent: ImportRecord,
    req: func.HttpRequest,
    options: UndoOptions,
) -> func.HttpResponse:
    """POST …/undo: accept the child import, wait, answer with it; or answer a dry run."""
    _check_database(caller, parent)
    requests.check_size(req, gateway.settings.max_body_bytes)
    requests.check_accepts_json(req)
    if req.get_body().strip() not in (b"", b"{}", b"[]"):
        raise InvalidRequestError(UNDO_HAS_NO_BODY)
    if options.dry_run is not DryRun.NO:
        with_changes = options.dry_run is DryRun.ROWS
        async with gateway.shares.acceptance.place(caller.tenant):
            planned = await gateway.undoing.plan(parent)
        judgement = await gateway.undoing.judge(planned, with_changes=with_changes)
        if with_changes:
            return await judged_rows(judgement.kind, judgement.shown)
        return json_answer(judged_undo_view(judgement))
    keyed = await keyed_call(req, caller.tenant, [], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        sender = await sender_of(gateway, caller, req)
        return await gateway.undoing.undo(
            parent, import_id, sender, only_if_all=options.only_if_all
        )

    return await _answer_child(gateway, caller, req, accept, keyed)


def _check_database(caller: AnyCaller, parent: ImportRecord) -> None:
    kind = IMPORT_TYPES.get(parent.type_name)
    if kind is not None:
        check_database(caller, kind.contract)


async def _answer_child(
    gateway: Gateway,
    caller: AnyCaller,
    req: func.HttpRequest,
    accept: Callable[[str], Awaitable[ImportRecord | None]],
    keyed: KeyedCall | None,
) -> func.HttpResponse:
    async def render(record: ImportRecord | None, _media_type: str) -> func.HttpResponse:
        assert record is not None, "a child import has rows"
        return await ended_import(gateway, record)

    wait_preferences = requests.preferences(req, gateway.settings.wait_seconds)
    call = ImportCall(caller.tenant, accept, render, wait_preferences, is_lasting=False)
    return await answer_import(gateway, call, keyed)


async def cancel_call(
    gateway: Gateway, caller: AnyCaller, record: ImportRecord, req: func.HttpRequest
) -> func.HttpResponse:
    """POST …/cancel: ask the handlers to stop, wait until they have, answer with the import."""
    requests.check_accepts_json(req)
    wait_preferences = requests.preferences(req, gateway.settings.wait_seconds)
    cancelled = await gateway.cancelling.cancel(record, caller.named)
    # From here on the import is cancelled, even if a later request to storage fails.
    return await answer_when_ended(
        gateway,
        cancelled,
        wait_preferences,
        render=partial(ended_import, gateway),
        state=ImportState.PROCESSING,
    )


async def ended_import(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    """200 with the import object of an import that has ended."""
    report = await gateway.reporting.find(record.tenant, record.import_id)
    headers = {"X-Import-Id": record.import_id, "Location": address(record)}
    return json_answer(import_view(report), 200, headers)
