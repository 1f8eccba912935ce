"""A call that becomes an import of rows: accept, wait, answer; once for each Idempotency-Key.

What every endpoint of that kind shares. What differs stays with the endpoint: how its payload is
accepted, and how the vendor's answer is rendered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import azure.functions as func

from shared import log
from shared.clock import RandomIds
from shared.errors import GoneError
from shared.gateway import Gateway
from shared.services.idempotency import KeyedCall
from shared.services.status import ImportReport
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
    wished: Preferences
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
        self.seconds = call.wished.seconds

    async def begin(self, import_id: str) -> func.HttpResponse:
        """Accept the payload, wait, answer."""
        async with self._gateway.shares.accepting(self._call.tenant):
            record = await self._call.accept(import_id)
        if record is None:
            return await self._call.render(None, self._call.media_type)
        return await self._answer(record)

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:
        """The same for a call with a key: what was accepted before is not accepted again."""
        record = await self.find(import_id) if is_repeat else None
        response = await (self.begin(import_id) if record is None else self._answer(record))
        has_ended = "X-Import-Id" in response.headers and response.status_code == 200
        return kept(response, is_rendered=has_ended and self._call.is_lasting)

    async def find(self, import_id: str) -> ImportRecord | None:
        """The import of that id, where it was accepted."""
        return await self._gateway.imports.find(self._call.tenant, import_id)

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        """What can be said now of an import that another call has had accepted."""
        if not record.is_open:
            try:
                response = self._named(await self._ended(record))
                return kept(response, is_rendered=self._call.is_lasting)
            except Exception as error:
                log.failure("call.left_running", error, import_id=record.import_id)
        return kept(self._named(await self._not_yet(record)))

    async def render_again(self, import_id: str, media_type: str) -> func.HttpResponse:
        """The answer of an ended import. Raises GoneError where its records are not there."""
        record = await self.find(import_id)
        if record is None:
            raise GoneError("The import of this Idempotency-Key has expired: send a new key.")
        return await self._call.render(record, media_type)

    async def _answer(self, record: ImportRecord) -> func.HttpResponse:
        """An accepted import is never answered as refused, whatever fails."""
        try:
            if await self._gateway.waiting.until_ended(record, self.seconds):
                return self._named(await self._ended(record))
        except Exception as error:
            log.failure("call.left_running", error, import_id=record.import_id)
        return self._named(await self._not_yet(record))

    async def _ended(self, record: ImportRecord) -> func.HttpResponse:
        return await self._call.render(record, self._call.media_type)

    async def _not_yet(self, record: ImportRecord) -> func.HttpResponse:
        try:
            report = await self._gateway.reporting.report(record)
        except Exception as error:
            log.failure("call.report_missing", error, import_id=record.import_id)
            report = just_accepted(record)
        return self._call.pending(report, self._call.media_type)

    def _named(self, response: func.HttpResponse) -> func.HttpResponse:
        """With the preferences that were followed."""
        if self._call.wished.applied:
            response.headers["Preference-Applied"] = self._call.wished.applied
        return response
