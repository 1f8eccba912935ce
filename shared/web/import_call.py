"""A call that becomes an import of rows: accept, wait, answer; once for each Idempotency-Key.

What every endpoint of that kind shares. What differs stays with the endpoint: how its payload is
accepted, and how the vendor's answer is rendered.
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
from shared.web.idempotency import answer_repeatable, kept
from shared.web.imports import just_accepted, not_yet
from shared.web.requests import JSON, Preferences


def _not_yet_in_json(report: ImportReport, _media_type: str) -> func.HttpResponse:
    return not_yet(report)


@dataclass(frozen=True, slots=True)
class ImportCall:
    """What an endpoint says of a call.

    `accept(import_id)` has the payload accepted under that id, and returns None for a payload
    without rows, which is no import; it raises refusals, and may be called again with the same id.
    `render(record, media_type)` is the vendor's answer to an ended import, or to no rows (None);
    `media_type` is what the caller accepts, or what the first answer to its Idempotency-Key had.
    `pending(report, media_type)` is the 202. `is_lasting`: `render` says the same whenever it is
    asked, so that an answer need not be kept to be given again.
    """

    tenant: str
    accept: Callable[[str], Awaitable[ImportRecord | None]]
    render: Callable[[ImportRecord | None, str], Awaitable[func.HttpResponse]]
    preferences: Preferences
    media_type: str = JSON
    pending: Callable[[ImportReport, str], func.HttpResponse] = _not_yet_in_json
    is_lasting: bool = True


async def answer_import(
    gateway: Gateway, call: ImportCall, keyed: KeyedCall | None
) -> func.HttpResponse:
    """The rows' results, or 202 and where to find them."""
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
            record = await self._call.accept(import_id)
        if record is None:
            return await self._call.render(None, self._call.media_type)
        return await self._answer(record, self._call.preferences)

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:
        """The same for a call with a key: what was accepted before is not accepted again."""
        record = await self.find(import_id) if is_repeat else None
        if record is None:
            return self._kept(await self.begin(import_id))
        return self._kept(await self._answer(record, self._call.preferences))

    async def find(self, import_id: str) -> ImportRecord | None:
        """The import of that id, where it was accepted."""
        return await self._gateway.imports.find(self._call.tenant, import_id)

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        """What can be said now of an import that another call has had accepted."""
        return self._kept(await self._answer(record, replace(self._call.preferences, seconds=0)))

    async def render_again(self, import_id: str, media_type: str) -> func.HttpResponse:
        """The answer of an ended import. Raises GoneError where its records are not there."""
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
            render=lambda ended: call.render(ended, call.media_type),
            pending=lambda report: call.pending(report, call.media_type),
        )

    def _kept(self, response: func.HttpResponse) -> KeptAnswer:
        has_ended = "X-Import-Id" in response.headers and response.status_code == 200
        return kept(response, is_rendered=has_ended and self._call.is_lasting)


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

    What was accepted is never answered as refused: where something fails, the answer is a 202, and
    where storage does not even tell how far the import is, one with that `state` and no counts.
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
    """202 with how far the import is; see `answer_when_ended` for `state`."""
    try:
        report = await gateway.reporting.report(record)
    except Exception as error:
        log.failure("call.report_missing", error, import_id=record.import_id)
        report = just_accepted(record, state)
    return pending(report)
