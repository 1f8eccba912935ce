"""Idempotency-Key over HTTP: the call that a key belongs to, and repeated answers.

See docs/contracts.md#0.

Every import endpoint calls `keyed_call` after the checks that precede it in the order of refusals,
and passes the work to `answer_once` (for an import of rows, `shared.web.import_call.answer_import`
does this).

`run(import_id)` does the work under that id and returns the answer, or raises a refusal. It may be
called again with the same id, in another process, after the first call crashed or while it is still
running. It must then find the existing import. Data that was stored under its own id must not cause
a refusal.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import azure.functions as func
from werkzeug.http import parse_options_header

from shared import log
from shared.clock import RandomIds
from shared.errors import (
    AcceptanceUnknownError,
    GoneError,
    InvalidRequestError,
    RefusedError,
    RepeatUnknownError,
    StorageUnavailableError,
)
from shared.gateway import Gateway
from shared.services.background import to_thread_if_large
from shared.services.idempotency import FingerprintKeys, IdempotencyKeys, KeyClaim, KeyedCall
from shared.storage.idempotency_records import KeptAnswer
from shared.storage.import_records import ImportRecord
from shared.web.query_names import query_of
from shared.web.requests import JSON, is_utf8

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY = 255

Run = Callable[[str], Awaitable[func.HttpResponse]]
# Renders the answer of an ended import again, from its id and the media type of the first answer.
Render = Callable[[str, str], Awaitable[func.HttpResponse]]


async def keyed_call(
    req: func.HttpRequest,
    tenant: str,
    content: Sequence[bytes],
    keys: FingerprintKeys,
) -> KeyedCall | None:
    """The call's key and the fingerprint of the call; None if the call has no key.

    `content` is the body, or the parts of a multipart body with their headers, so that another
    boundary does not make another call. Fingerprints are hashed with `keys`. Raises
    InvalidRequestError for an invalid key, and StorageUnavailableError.
    """
    if HEADER not in req.headers:
        return None
    key = req.headers[HEADER].strip()
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidRequestError(f"{HEADER} must have 1 to {MAX_KEY} characters.")
    size = sum(map(len, content))
    bound_values = [part.encode() for part in _bound_to(req)]
    secrets = await keys.secrets()
    fingerprints = await to_thread_if_large(size, _fingerprints, [*bound_values, *content], secrets)
    return KeyedCall(tenant, key, fingerprints)


class RepeatableWork(Protocol):
    """The work of an endpoint for a call with a key."""

    @property
    def seconds(self) -> float:
        """The seconds for which a call that joins another one waits for an accepted import."""

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:
        """Do the work under this id and answer, or raise a refusal.

        `is_repeat`: another call began the work under the same id, and may have completed any part
        of it, or still be running. Existing data must be found, not written again.
        """

    async def find(self, import_id: str) -> ImportRecord | None:
        """The import of this id; None if there is none."""

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        """The present answer for an import that another call has had accepted.

        It is the final answer if the import has ended.
        """


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """The answer to a call with a key. `is_replayed`: another call did the work."""

    answer: KeptAnswer
    import_id: str
    is_replayed: bool


async def answer_keyed(keys: IdempotencyKeys, call: KeyedCall, work: RepeatableWork) -> KeyedAnswer:
    """Claim the key, do the work, and finish the claim. All calls with the key get one answer.

    If another call has the claim, this one waits for its answer. Raises KeyReusedError if the key
    belongs to another call, RepeatUnknownError if storage cannot be read, and the errors of the
    work. A refusal removes the record; after any other error the next call takes over immediately.
    """
    is_over = keys.make_timeout(work.seconds)
    while True:
        try:
            claim = await keys.claim(call)
            kept = None if claim.is_mine else await _join(keys, claim, work, is_over)
        except AcceptanceUnknownError:
            raise
        except StorageUnavailableError as error:
            raise RepeatUnknownError("an Idempotency-Key cannot be read") from error
        if kept is not None:
            return kept
        if claim.is_mine:
            try:
                return await _run(keys, claim, work, is_repeat=False)
            except RefusedError:
                await keys.remove(claim)
                raise


async def _join(
    keys: IdempotencyKeys, claim: KeyClaim, work: RepeatableWork, is_over: Callable[[], bool]
) -> KeyedAnswer | None:
    """The answer of the call that has the key; None if that call has released the key."""
    async with aclosing(keys.follow(claim)) as changes:
        async for current in changes:
            import_id = current.import_id
            if current.answer is not None:
                log.event("repeat.replayed", import_id=import_id, tenant=current.record.tenant)
                return KeyedAnswer(current.answer, import_id, is_replayed=True)
            record = await work.find(import_id)
            if record is not None and not record.is_open:
                answer = await keys.finish(current, await work.answer_found(record))
                return KeyedAnswer(answer, import_id, is_replayed=True)
            if record is not None and is_over():
                return KeyedAnswer(await work.answer_found(record), import_id, is_replayed=True)
            if record is None and keys.is_abandoned(current):
                with_answer = await _take_over(keys, current, work)
                if with_answer is not None:
                    return with_answer
    return None


async def _take_over(
    keys: IdempotencyKeys, claim: KeyClaim, work: RepeatableWork
) -> KeyedAnswer | None:
    """Take over the work of another call and answer.

    None if a third call was faster, or if the work is refused now although the slow call before had
    its import accepted.
    """
    own_claim = await keys.take_over(claim)
    if own_claim is None:
        return None
    try:
        return await _run(keys, own_claim, work, is_repeat=True)
    except RefusedError:
        if await work.find(own_claim.import_id) is not None:
            return None
        await keys.remove(own_claim)
        raise


async def _run(
    keys: IdempotencyKeys, claim: KeyClaim, work: RepeatableWork, *, is_repeat: bool
) -> KeyedAnswer:
    async with keys.working(claim):
        answer = await work.run(claim.import_id, is_repeat=is_repeat)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        await keys.give_up(claim)
    else:
        answer = await keys.finish(claim, answer)
    return KeyedAnswer(answer, claim.import_id, is_replayed=False)


async def answer_once(gateway: Gateway, keyed: KeyedCall | None, run: Run) -> func.HttpResponse:
    """The answer of `run`, or the stored first answer to a call with the same key."""
    if keyed is None:
        return await run(RandomIds().new())
    return await answer_repeatable(gateway, keyed, _Inside(run), _never_rendered)


async def answer_repeatable(
    gateway: Gateway, keyed: KeyedCall, work: RepeatableWork, render: Render
) -> func.HttpResponse:
    """`answer_once` for work that others can follow. `render` makes bodies that are not stored."""
    answer = await answer_keyed(gateway.idempotency, keyed, work)
    try:
        response = await _response(answer.answer, answer.import_id, render)
    except RefusedError:
        raise
    except Exception as error:
        # The answer for an accepted import cannot be made now.
        log.failure("repeat.not_rendered", error, import_id=answer.import_id)
        raise AcceptanceUnknownError(answer.import_id) from error
    if answer.is_replayed:
        response.headers[REPLAYED] = "true"
    return response


def to_kept_answer(response: func.HttpResponse, *, is_rendered: bool = False) -> KeptAnswer:
    """The stored form of an answer; see `KeptAnswer` for `is_rendered`."""
    return KeptAnswer(
        status=response.status_code,
        headers=dict(response.headers.items()),
        media_type=response.mimetype,
        body=response.get_body(),
        is_rendered=is_rendered,
    )


class _Inside:
    """Work that ends with the call, so that other calls can only wait for its answer."""

    seconds = math.inf

    def __init__(self, run: Run) -> None:
        self._run = run

    async def run(self, import_id: str, *, is_repeat: bool) -> KeptAnswer:  # noqa: ARG002
        """Do the work, even if another call began it."""
        return to_kept_answer(await self._run(import_id))

    async def find(self, import_id: str) -> ImportRecord | None:  # noqa: ARG002
        """None, since the work is no import that others can follow."""
        return None

    async def answer_found(self, record: ImportRecord) -> KeptAnswer:
        """Never called."""
        raise LookupError(f"nothing is found of {record.import_id} before it is answered")


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
    """The normalised method, address, query, media type and charset of a call."""
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
    """One hash for each secret, over the parts and their lengths."""
    hashes = [hmac.new(secret, digestmod=hashlib.sha256) for secret in secrets]
    for part in parts:
        for each in hashes:
            each.update(len(part).to_bytes(8, "big"))
            each.update(part)
    return tuple(each.hexdigest() for each in hashes)
