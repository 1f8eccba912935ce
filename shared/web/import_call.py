"""A call that becomes an import of rows: accept, wait, answer; once for each Idempotency-Key.

What every endpoint of that kind shares. What differs stays with the endpoint: how its payload is
accepted, and how the vendor's answer is rendered.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import azure.functions as func
from werkzeug.http import parse_options_header

from shared import log
from shared.clock import RandomIds
from shared.errors import AcceptanceUnknownError, GoneError, InvalidRequestError, RefusedError
from shared.gateway import Gateway
from shared.services.background import to_thread_if_large
from shared.services.fingerprint_keys import FingerprintKeys
from shared.services.idempotency import ImportSnapshot, KeyedCall, RepeatableWork
from shared.services.status import ImportReport
from shared.storage.idempotency_records import KeptAnswer
from shared.storage.import_records import ImportRecord
from shared.web.imports import just_accepted, not_yet
from shared.web.query_names import query_of
from shared.web.requests import JSON, Preferences, is_utf8

# Idempotency-Key over HTTP: what a key is bound to, and answers that come again (CONTRACTS 0).
#
# Every import endpoint asks `keyed_call` once everything that goes before it in the order of
# refusals has been checked, and hands the work to `answer_once` (or, where the work is an import
# of rows, to `shared.web.import_call.answer_import`, which does).
#
# `run(import_id)` does the work under that id and returns the answer; it raises refusals. It may
# be called again with the same id, in another process, after the first one died, or while the
# first one is still slowly at it: it must then find what is there. A refusal that depends on what
# is stored must not be provoked by what was stored under its own id.

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255

Run = Callable[[str], Awaitable[func.HttpResponse]]
Render = Callable[[str, str], Awaitable[func.HttpResponse]]
"""The answer of an ended import again, from its id and the media type of the first answer."""


async def keyed_call(
    req: func.HttpRequest,
    tenant: str,
    content: Sequence[bytes],
    keys: FingerprintKeys,
) -> KeyedCall | None:
    """The call's key and what it is bound to; None where the call has none.

    `content` is the body; of multipart the parts, each with what it says of itself, so that
    another boundary makes no other call. Fingerprints are hashed under `keys`. Raises
    InvalidRequestError for an unusable key, and StorageUnavailableError.
    """
    if HEADER not in req.headers:
        return None
    key = req.headers[HEADER].strip()
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidRequestError(f"{HEADER} must have 1 to {MAX_KEY} characters.")
    size = sum(map(len, content))
    bound = [part.encode() for part in _bound_to(req)]
    secrets = await keys.secrets()
    fingerprints = await to_thread_if_large(size, _fingerprints, [*bound, *content], secrets)
    return KeyedCall(tenant, key, fingerprints)


async def answer_once(gateway: Gateway, keyed: KeyedCall | None, run: Run) -> func.HttpResponse:
    """The answer of `run`, or the first answer to a call with the same key, kept as it was."""
    if keyed is None:
        return await run(RandomIds().new())
    return await answer_repeatable(gateway, keyed, _Inside(run), _never_rendered)


async def answer_repeatable(
    gateway: Gateway, keyed: KeyedCall, work: RepeatableWork, render: Render
) -> func.HttpResponse:
    """`answer_once` for work that others can follow; `render` makes bodies that are not kept."""
    given = await gateway.repeats.answer_once(keyed, work)
    try:
        response = await _response(given.answer, given.import_id, render)
    except RefusedError:
        raise
    except Exception as error:
        # The answer of an import that was accepted cannot be made just now.
        log.failure("repeat.not_rendered", error, import_id=given.import_id)
        raise AcceptanceUnknownError(given.import_id) from error
    if given.is_replayed:
        response.headers[REPLAYED] = "true"
    return response


def kept(response: func.HttpResponse, *, is_rendered: bool = False) -> KeptAnswer:
    """What is kept of an answer; see `KeptAnswer` for `is_rendered`."""
    return KeptAnswer(
        status=response.status_code,
        headers=dict(response.headers.items()),
        media_type=response.mimetype,
        body=response.get_body(),
        is_rendered=is_rendered,
    )


class _Inside:
    """Work that is done when the call is answered, so that others can only wait for its answer."""

    seconds = math.inf

    def __init__(self, run: Run) -> None:
        self._run = run

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:  # noqa: ARG002
        """See `RepeatableWork`."""
        return kept(await self._run(import_id))

    async def look(self, import_id: str) -> ImportSnapshot | None:  # noqa: ARG002
        """See `RepeatableWork`."""
        return None


async def _never_rendered(import_id: str, media_type: str) -> func.HttpResponse:
    raise LookupError(f"the answer of {import_id} is kept, not rendered as {media_type}")


async def _response(answer: KeptAnswer, import_id: str, render: Render) -> func.HttpResponse:
    body = answer.body
    if body is None and answer.is_rendered:
        body = (await render(import_id, answer.media_type)).get_body()
    if body is None:
        raise GoneError(f"The first answer to this {HEADER} has expired: send a new key.")
    return func.HttpResponse(
        body, status_code=answer.status, headers=answer.headers, mimetype=answer.media_type
    )


def _bound_to(req: func.HttpRequest) -> list[str]:
    """Method, address, query, media type and charset, in one spelling."""
    address = req.url.partition("?")[0].partition("://")[2].partition("/")[2]
    media_type, options = parse_options_header(req.headers.get("Content-Type", ""))
    charset = options.get("charset", "").lower()
    query = sorted(query_of(req).items())
    return [
        req.method,
        address.strip("/").lower(),
        (media_type.lower() or JSON) + ("" if is_utf8(options) else f";charset={charset}"),
        str(len(query)),
        *(text for pair in query for text in pair),
    ]


def _fingerprints(parts: Iterable[bytes], secrets: Sequence[bytes]) -> tuple[str, ...]:
    """One hash for each secret, over the parts with their lengths before them."""
    hashes = [hmac.new(secret, digestmod=hashlib.sha256) for secret in secrets]
    for part in parts:
        for each in hashes:
            each.update(len(part).to_bytes(8, "big"))
            each.update(part)
    return tuple(each.hexdigest() for each in hashes)


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
        """See `RepeatableWork`. An import that was accepted before is not accepted again."""
        record = await self._find(import_id) if is_repeat else None
        response = await (self.begin(import_id) if record is None else self._answer(record))
        has_ended = "X-Import-Id" in response.headers and response.status_code == 200
        return kept(response, is_rendered=has_ended and self._call.is_lasting)

    async def look(self, import_id: str) -> ImportSnapshot | None:
        """See `RepeatableWork`."""
        record = await self._find(import_id)
        if record is None:
            return None
        found = record

        async def answer() -> KeptAnswer:
            if not found.is_open:
                try:
                    response = self._named(await self._ended(found))
                    return kept(response, is_rendered=self._call.is_lasting)
                except Exception as error:
                    log.failure("call.left_running", error, import_id=import_id)
            return kept(self._named(await self._not_yet(found)))

        return ImportSnapshot(not record.is_open, answer)

    async def render_again(self, import_id: str, media_type: str) -> func.HttpResponse:
        """The answer of an ended import. Raises GoneError where its records are not there."""
        record = await self._find(import_id)
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

    async def _find(self, import_id: str) -> ImportRecord | None:
        return await self._gateway.imports.find(self._call.tenant, import_id)
