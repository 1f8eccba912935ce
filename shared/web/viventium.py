"""The contract of Licenses: Viventium (docs/contracts.md#2).

From a request in JSON, XML or as a form to an accepted import, and from the results to the vendor's
answer in JSON or XML.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.errors import (
    NotAcceptableError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from shared.gateway import Gateway
from shared.imports.json_rows import MAX_ROW_BYTES, Payload, payload_of, read_payload
from shared.imports.licenses.actions import LicenseAction, import_action
from shared.imports.licenses.attachments import content_bytes
from shared.imports.licenses.definition import LICENSES
from shared.imports.messages import Message, MessageId
from shared.imports.planning import Plan
from shared.imports.results import RowResult, failed
from shared.services.status import ImportReport
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.charsets import charset_of, marked_utf16
from shared.web.idempotency import keyed_call
from shared.web.import_call import ImportCall, answer_import
from shared.web.imports import import_view, judged_rows, not_yet
from shared.web.requests import DryRun
from shared.web.responses import refusal
from shared.web.sender import sender_of

# The bodies of licenses calls in their three formats, as payloads (docs/contracts.md#2).

_DOCUMENTS_OF_A_ROW = 2
"""Documents of the largest size, in base64, that a row in JSON has room for beside its fields."""

Place = Callable[[Mapping[str, Any]], str | None]


class BodyFormat(StrEnum):
    """How the rows of a call are written."""

    JSON = "JSON"
    XML = "XML"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads bodies of one format; a document may have so many bytes."""

    format: BodyFormat
    max_document_bytes: int

    def __call__(self, body: bytes, place: Place, max_rows: int) -> Payload:
        """The payload. Raises InvalidRequestError, UnsupportedPayloadError, TooLargeError."""
        looked_at = self._looking_at_documents(place)
        match self.format:
            case BodyFormat.JSON:
                most = MAX_ROW_BYTES + _DOCUMENTS_OF_A_ROW * self.max_document_bytes * 4 // 3
                return read_payload(body, looked_at, max_rows, most)
            case BodyFormat.XML:
                # lxml is slow to import, and most callers send JSON.
                from shared.imports.licenses.xml_reader import read_license_xml

                return payload_of(read_license_xml(body, max_rows), looked_at)
            case BodyFormat.FORM:
                from shared.imports.licenses.form_reader import read_license_form

                return payload_of(read_license_form(body, max_rows), looked_at)

    def _looking_at_documents(self, place: Place) -> Place:
        def look(row: Mapping[str, Any]) -> str | None:
            size = content_bytes(row.get("documents"))
            if size > self.max_document_bytes:
                raise TooLargeError(
                    f"A document has about {size} bytes and the limit is "
                    f"{self.max_document_bytes}: leave it out, or send a smaller one."
                )
            return place(row)

        return look


_FORMATS: Mapping[str, BodyFormat] = {
    requests.JSON: BodyFormat.JSON,
    "text/json": BodyFormat.JSON,
    "text/xml": BodyFormat.XML,
    "application/xml": BodyFormat.XML,
    "application/x-www-form-urlencoded": BodyFormat.FORM,
}
_CHARSETS = frozenset(("", "utf-8", "utf8", "us-ascii", "utf-16", "utf-16le", "utf-16be"))
_IN_JSON = (requests.JSON, "text/json")
_IN_XML = ("application/xml", "text/xml")


async def licenses_call(
    gateway: Gateway, req: func.HttpRequest, *, deletes: bool = False
) -> func.HttpResponse:
    """An import or a deletion: refuse in the order of docs/contracts.md#0, accept, wait, answer."""
    caller = await gateway.callers.authenticate(req.headers)
    query = (query_names.LICENSE_DELETION if deletes else query_names.LICENSES).read(req)
    action = _action(query, deletes=deletes)
    allow_same = deletes or requests.boolean(query, "allowSameFile", default=True)
    requests.check_size(req, gateway.settings.max_body_bytes)
    dry_run = requests.dry_run(query)
    is_by_row = dry_run is DryRun.ROWS
    media_type = accepted_media_type(
        req, _IN_JSON if is_by_row else offered_first(_media_type(req))
    )
    format_ = _body_format(req)
    reader = BodyReader(format_, gateway.settings.max_document_bytes)
    body = req.get_body()
    options = replace(caller.options, action=action.value)
    if dry_run is not DryRun.NO:
        async with gateway.shares.acceptance.place(caller.tenant):
            text = await _text_body(req, format_)
            planned = await gateway.intake.read(LICENSES, caller.tenant, text, reader)
        gateway.dry_runs.check_rows(planned)
        if not allow_same:
            hashes = await gateway.fingerprint_keys.body_hashes(body)
            await gateway.files.check(caller.tenant, hashes)
        draft = gateway.intake.draft(LICENSES, caller.tenant, planned, options)
        return await _answer_dry_run(gateway, draft, planned, dry_run, media_type)
    keyed = await keyed_call(req, caller.tenant, [body], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        text = await _text_body(req, format_)
        planned = await gateway.intake.read(LICENSES, caller.tenant, text, reader)
        if not planned.rows:
            return None
        sender = await sender_of(gateway, caller, req)
        draft = gateway.intake.draft(LICENSES, caller.tenant, planned, options, import_id, sender)
        draft = replace(draft, media_type=media_type)
        hashes: tuple[str, ...] = ()
        if not deletes:
            hashes = await gateway.fingerprint_keys.body_hashes(body)
            draft = replace(draft, body_hash=hashes[0])
        if allow_same:
            return await gateway.intake.accept_planned(LICENSES, draft, planned)
        check = partial(gateway.files.check, caller.tenant, hashes, import_id)
        await check()  # before the payload is written, and once more with the record
        return await gateway.intake.accept_planned(LICENSES, draft, planned, check)

    async def render(record: ImportRecord | None, media_type: str) -> func.HttpResponse:
        if record is None:
            return _rendered((), None, media_type)
        return await licenses_answer(gateway, record, media_type)

    wished = requests.preferences(req, gateway.settings.wait_seconds)
    call = ImportCall(caller.tenant, accept, render, wished, media_type, licenses_not_yet)
    return await answer_import(gateway, call, keyed)


async def _answer_dry_run(
    gateway: Gateway, draft: ImportRecord, planned: Plan, wished: DryRun, media_type: str
) -> func.HttpResponse:
    """What the call would be answered, without a key of an import."""
    is_by_row = wished is DryRun.ROWS
    judgement = await gateway.dry_runs.judge(LICENSES, draft, planned, with_changes=is_by_row)
    if is_by_row:
        return await judged_rows(LICENSES, judgement, media_type)
    return await asyncio.to_thread(_rendered, judgement.in_order_sent(), None, media_type)


async def licenses_answer(
    gateway: Gateway, record: ImportRecord, media_type: str
) -> func.HttpResponse:
    """200 with the vendor's answer to an ended import.

    A row that no result tells of (its payload was lost) is answered as 9001.
    """
    found = {result.index: result async for result in gateway.reporting.all_results(record)}
    results = [found.get(index) or _lost(index) for index in range(record.rows)]
    return await asyncio.to_thread(_rendered, results, record.import_id, media_type)


def accepted_media_type(
    req: func.HttpRequest, offered: Sequence[str] = (*_IN_JSON, *_IN_XML)
) -> str:
    """The media type that the caller prefers; the first one offered where it does not say.

    Raises NotAcceptableError.
    """
    return requests.accepted_type(req, *offered)


def offered_first(media_type: str) -> list[str]:
    """What can be answered with; first that media type, where it is one of them."""
    offered = (*_IN_XML, *_IN_JSON) if media_type in _IN_XML else (*_IN_JSON, *_IN_XML)
    return sorted(offered, key=lambda each: each != media_type)


def licenses_refusal(req: func.HttpRequest, error: BaseException) -> func.HttpResponse:
    """A refusal as JSON, or as XML for a caller that accepts nothing else."""
    response = refusal(error)
    if _accepts(req, _IN_JSON) or not _accepts(req, _IN_XML):
        return response
    return _in_xml(response, accepted_media_type(req))


def licenses_accepted(req: func.HttpRequest, report: ImportReport) -> func.HttpResponse:
    """202 to a call whose import was accepted before something failed."""
    return licenses_not_yet(report, accepted_media_type(req))


def _accepts(req: func.HttpRequest, media_types: Sequence[str]) -> bool:
    try:
        requests.accepted_type(req, *media_types)
    except NotAcceptableError:
        return False
    return True


def _in_xml(response: func.HttpResponse, media_type: str) -> func.HttpResponse:
    from shared.imports.licenses.answer import refusal_xml

    message = json.loads(response.get_body())["message"]
    return func.HttpResponse(
        refusal_xml(message),
        status_code=response.status_code,
        headers=dict(response.headers),
        mimetype=media_type,
    )


def licenses_not_yet(report: ImportReport, media_type: str) -> func.HttpResponse:
    """202 with where to follow the import."""
    response = not_yet(report)
    if _is_json(media_type):
        return response
    from shared.imports.licenses.answer import import_xml

    return func.HttpResponse(
        import_xml(import_view(report)),
        status_code=response.status_code,
        headers=dict(response.headers),
        mimetype=media_type,
    )


def _rendered(
    results: Sequence[RowResult], import_id: str | None, media_type: str
) -> func.HttpResponse:
    # The models are slow to import, and the app is indexed without them.
    from shared.imports.licenses.answer import import_answer

    answer = import_answer(results, import_id)
    headers = {} if import_id is None else {"X-Import-Id": import_id}
    if _is_json(media_type):
        body: str | bytes = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    else:
        from shared.imports.licenses.answer import answer_xml

        body = answer_xml(answer)
    return func.HttpResponse(body, headers=headers, mimetype=media_type)


def _lost(index: int) -> RowResult:
    nothing = (None,) * len(LICENSES.rules.key_fields)
    return failed(index, nothing, Message(MessageId.COULD_NOT_BE_PROCESSED))


def _is_json(media_type: str) -> bool:
    return media_type.endswith("json")


def _action(query: Mapping[str, str], *, deletes: bool) -> LicenseAction:
    if deletes:
        return LicenseAction.DELETE
    return import_action(query.get("importaction") or LicenseAction.OVERRIDE.value)


def _body_format(req: func.HttpRequest) -> BodyFormat:
    """How the body is written. Raises UnsupportedMediaTypeError."""
    requests.check_encoding(req)
    media_type = _media_type(req)
    found = _FORMATS.get(media_type or requests.JSON)
    if found is None and media_type.endswith("+json"):
        found = BodyFormat.JSON
    charset = charset_of(req.headers.get("Content-Type", "")).lower()
    if found is None or charset not in _CHARSETS:
        raise UnsupportedMediaTypeError(f"Send {', '.join(_FORMATS)}, in UTF-8 or UTF-16.")
    return found


def _media_type(req: func.HttpRequest) -> str:
    return parse_options_header(req.headers.get("Content-Type", ""))[0].lower()


async def _text_body(req: func.HttpRequest, format_: BodyFormat) -> bytes:
    """The body in UTF-8; XML says itself what it is in, if it has its byte order mark."""
    if format_ is BodyFormat.XML:
        return marked_utf16(req.get_body(), charset_of(req.headers.get("Content-Type", "")))
    return await requests.text_body(req)
