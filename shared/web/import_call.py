"""Calls that import rows: accept, wait, answer, once for each Idempotency-Key.

All endpoints that import rows share this. An endpoint itself knows how its payload is accepted and
how the vendor's answer is rendered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import azure.functions as func

from shared import log
from shared.clock import RandomIds
from shared.errors import GoneError
from shared.gateway import Gateway
from shared.services.idempotency import KeyedCall
from shared.services.status import ImportReport, ImportState
from shared.storage.idempotency_records import KeptAnswer
from shared.storage.import_records import ImportRecord
from shared.web.idempotency import answer_repeatable, to_kept_answer
from shared.web.imports import just_accepted, not_yet
from shared.web.requests import JSON, Preferences


def _not_yet_in_json(report: ImportReport, _media_type: str) -> func.HttpResponse:
    return not_yet(report)


@dataclass(frozen=True, slots=True)
class ImportCall:
    """The functions and options of an endpoint for one call.

    `accept(import_id)` accepts the payload under that id, or returns None for a payload without
    rows. It raises refusals, and may be called again with the same id. `render(record, media_type)`
    makes the vendor's answer for an ended import, or for no rows (None). `media_type` is the one
    that the caller accepts, or that of the first answer to its Idempotency-Key. `pending(report,
    media_type)` makes the 202. `is_lasting`: `render` always returns the same, so that the answer
    need not be stored. `is_small`: the body is so small that large work waits while it is accepted
    and answered.
    """

    tenant: str
    accept: Callable[[str], Awaitable[ImportRecord | None]]
    render: Callable[[ImportRecord | None, str], Awaitable[func.HttpResponse]]
    preferences: Preferences
    media_type: str = JSON
    pending: Callable[[ImportReport, str], func.HttpResponse] = _not_yet_in_json
    is_lasting: bool = True
    is_small: bool = False


async def answer_import(
    gateway: Gateway, call: ImportCall, keyed: KeyedCall | None
) -> func.HttpResponse:
    """Answer with the results of the rows, or with 202 and the address of the import."""
    work = _Work(gateway, call)
    if keyed is None:
        return await work.begin(RandomIds().new())
    return await answer_repeatable(gateway, keyed, work, work.render_again)


class _Work:
    """One call; a `RepeatableWork`."""

    def __init__(self, gateway: Gateway, call: ImportCall) -> None:
        self._gateway = gateway
        self._call = call
        self.seconds = call.preferences.seconds

    async def begin(self, import_id: str) -> func.HttpResponse:
        """Accept the payload, wait, answer."""
        async with self._gateway.shares.accepting(self._call.tenant):
            with self._gateway.small_first.working(is_small=self._call.is_small):
                record = await self._call.accept(import_id)
        if record is None:
            return await self._call.render(None, self._call.media_type)
        return await self._answer(record, self._call.preferences)

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:
        """Answer a call with a key. An import that was accepted before is not accepted again."""
        record = await self.find(import_id) if is_repeat else None
        if record is None:
            return self._to_kept_answer(await self.begin(import_id))
        return self._to_kept_answer(await self._answer(record, self._call.preferences))

    async def find(self, import_id: str) -> ImportRecord | None:
        """The import of that id; None if it was not accepted."""
        return await self._gateway.imports.find(self._call.tenant, import_id)

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        """The present answer for an import that another call has had accepted."""
        return self._to_kept_answer(
            await self._answer(record, replace(self._call.preferences, seconds=0))
        )

    async def render_again(self, import_id: str, media_type: str) -> func.HttpResponse:
        """Render the answer of an ended import. Raises GoneError if its records are missing."""
        record = await self.find(import_id)
        if record is None:
            raise GoneError("The import of this Idempotency-Key has expired: send a new key.")
        return await self._call.render(record, media_type)

    async def _answer(self, record: ImportRecord, preferences: Preferences) -> func.HttpResponse:
        call = self._call
        return await answer_when_ended(
            self._gateway,
            record,
            preferences,
            render=self._render,
            pending=lambda report: call.pending(report, call.media_type),
        )

    async def _render(self, record: ImportRecord) -> func.HttpResponse:
        with self._gateway.small_first.working(is_small=self._call.is_small):
            return await self._call.render(record, self._call.media_type)

    def _to_kept_answer(self, response: func.HttpResponse) -> KeptAnswer:
        has_ended = "X-Import-Id" in response.headers and response.status_code == 200
        return to_kept_answer(response, is_rendered=has_ended and self._call.is_lasting)


async def answer_when_ended(
    gateway: Gateway,
    record: ImportRecord,
    preferences: Preferences,
    *,
    render: Callable[[ImportRecord], Awaitable[func.HttpResponse]],
    pending: Callable[[ImportReport], func.HttpResponse] = not_yet,
    state: ImportState = ImportState.ACCEPTED,
) -> func.HttpResponse:
    """`render(record)` where the import ends within the seconds that are wished, else a 202.

    An accepted import is never answered with a refusal. If a later step fails, the answer is 202.
    If the progress cannot be read, the 202 has this `state` and no counts.
    """
    response = None
    try:
        if not record.is_open or await gateway.waiting.until_ended(record, preferences.seconds):
            response = await render(record)
    except Exception as error:
        log.failure("call.left_running", error, import_id=record.import_id)
    if response is None:
        response = await answer_pending(gateway, record, pending, state)
    if preferences.applied:
        response.headers["Preference-Applied"] = preferences.applied
    return response


async def answer_pending(
    gateway: Gateway,
    record: ImportRecord,
    pending: Callable[[ImportReport], func.HttpResponse] = not_yet,
    state: ImportState = ImportState.ACCEPTED,
) -> func.HttpResponse:
    """The 202 with the progress of the import; see `answer_when_ended` for `state`."""
    try:
        report = await gateway.reporting.report(record)
    except Exception as error:
        log.failure("call.report_missing", error, import_id=record.import_id)
        report = just_accepted(record, state)
    return pending(report)
