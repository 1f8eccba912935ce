"""The contract of Licenses: Viventium (docs/contracts.md#2).

From a request in JSON, XML or as a form to an accepted import, and from the results to the vendor's
answer in JSON or XML.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

import azure.functions as func
from werkzeug.http import parse_options_header

from shared.auth.integrations import READ, import_permission
from shared.errors import (
    InvalidRequestError,
    NotAcceptableError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from shared.gateway import Gateway
from shared.imports.files.formats import FILE_TYPES
from shared.imports.files.mapping import ProfileMapping
from shared.imports.import_type import Document
from shared.imports.json_rows import (
    MAX_ROW_BYTES,
    Payload,
    Reader,
    SortKey,
    payload_from_rows,
    read_payload,
)
from shared.imports.licenses.actions import LicenseAction, import_action
from shared.imports.licenses.attachments import content_bytes
from shared.imports.licenses.definition import LICENSES
from shared.imports.messages import Message, MessageId
from shared.imports.planning import Plan
from shared.imports.results import RowResult, failed
from shared.services.import_views import import_view
from shared.services.status import ImportReport
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.idempotency import keyed_call
from shared.web.import_call import ImportCall, answer_import
from shared.web.imports import judged_rows, not_yet
from shared.web.media_types import charset_of, marked_utf16
from shared.web.requests import DryRun
from shared.web.responses import FaultAnswers, refusal
from shared.web.row_bodies import SentRows, sent_rows, with_profile_version
from shared.web.sender import sender_of

# The bodies of licenses calls in their three formats, as payloads (docs/contracts.md#2).

# Documents of the maximum size, in base64, that fit into a JSON row besides its fields.
_DOCUMENTS_PER_ROW = 2


class BodyFormat(StrEnum):
    """The vendor's formats of a call's rows."""

    JSON = "JSON"
    XML = "XML"
    FORM = "form"


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads bodies of one of the vendor's formats, or files by `reader`, and refuses documents over
    the limit.
    """

    format: BodyFormat | None
    max_document_bytes: int
    reader: Reader = read_payload

    @classmethod
    def of_rows(
        cls, rows: SentRows, body_format: BodyFormat | None, max_document_bytes: int
    ) -> BodyReader:
        """The reader of a call's rows: by their profile if they have one."""
        return cls(None if rows.mapping else body_format, max_document_bytes, rows.reader)

    def __call__(self, body: bytes, sort_key: SortKey, max_rows: int) -> Payload:
        """The payload. Raises InvalidRequestError, UnsupportedPayloadError, TooLargeError."""
        checked_sort_key = self._check_documents(sort_key)
        match self.format:
            case None:
                return self.reader(body, checked_sort_key, max_rows)
            case BodyFormat.JSON:
                max_row_bytes = (
                    MAX_ROW_BYTES + _DOCUMENTS_PER_ROW * self.max_document_bytes * 4 // 3
                )
                return read_payload(body, checked_sort_key, max_rows, max_row_bytes)
            case BodyFormat.XML:
                # lxml is slow to import, and most callers send JSON.
                from shared.imports.licenses.xml_reader import read_license_xml

                return payload_from_rows(read_license_xml(body, max_rows), checked_sort_key)
            case BodyFormat.FORM:
                from shared.imports.licenses.form_reader import read_license_form

                return payload_from_rows(read_license_form(body, max_rows), checked_sort_key)

    def _check_documents(self, sort_key: SortKey) -> SortKey:
        def check(row: Mapping[str, Any]) -> str | None:
            size = content_bytes(row.get("documents"))
            if size > self.max_document_bytes:
                raise TooLargeError(
                    f"A document has about {size} bytes and the limit is "
                    f"{self.max_document_bytes}: leave it out, or send a smaller one."
                )
            return sort_key(row)

        return check


_FORMATS: Mapping[str, BodyFormat] = {
    requests.JSON: BodyFormat.JSON,
    "text/json": BodyFormat.JSON,
    "text/xml": BodyFormat.XML,
    "application/xml": BodyFormat.XML,
    "application/x-www-form-urlencoded": BodyFormat.FORM,
}
_CHARSETS = frozenset(("", "utf-8", "utf8", "us-ascii", "utf-16", "utf-16le", "utf-16be"))
_JSON_TYPES = (requests.JSON, "text/json")
_XML_TYPES = ("application/xml", "text/xml")


async def licenses_call(
    gateway: Gateway, req: func.HttpRequest, *, deletes: bool = False
) -> func.HttpResponse:
    """An import or a deletion: check in the order of docs/contracts.md#0, accept, wait, answer."""
    caller = await gateway.callers.authenticate(req.headers, import_permission(LICENSES.name))
    query = (query_names.LICENSE_DELETION if deletes else query_names.LICENSES).read(req)
    action = LicenseAction.DELETE
    if not deletes:
        action = import_action(query.get("importaction") or LicenseAction.OVERRIDE.value)
    allow_same = deletes or requests.boolean(query, "allowSameFile", default=True)
    requests.check_size(req, gateway.settings.max_body_bytes)
    dry_run = requests.dry_run(query)
    offered = _JSON_TYPES if dry_run is DryRun.ROWS else offered_types(_media_type(req))
    media_type = accepted_media_type(req, offered)
    sent = sent_rows(req, LICENSES.rules, gateway.settings.max_body_bytes)
    format_ = _body_format(req) if sent.format is None else None
    body = req.get_body()
    options = replace(caller.options, action=action.value)

    async def read_rows() -> tuple[SentRows, Plan]:
        text = await _text_body(req, sent, format_)
        rows = await _with_profile(gateway, caller.tenant, query, sent, format_)
        reader = BodyReader.of_rows(rows, format_, gateway.settings.max_document_bytes)
        return rows, await gateway.intake.read(LICENSES, caller.tenant, text, reader)

    if dry_run is not DryRun.NO:
        async with gateway.shares.acceptance.place(caller.tenant):
            rows, planned = await read_rows()
        gateway.dry_runs.check_rows(planned)
        if not allow_same:
            hashes = await gateway.fingerprint_keys.body_hashes(body)
            await gateway.files.check(caller.tenant, hashes)
        draft = gateway.intake.draft(LICENSES, caller.tenant, planned, options)
        return await _answer_dry_run(gateway, draft, planned, dry_run, media_type, rows.mapping)
    keyed = await keyed_call(req, caller.tenant, [body], gateway.fingerprint_keys)

    async def accept(import_id: str) -> ImportRecord | None:
        rows, planned = await read_rows()
        if not planned.rows:
            return None
        sender = await sender_of(gateway, caller, req)
        draft = gateway.intake.draft(LICENSES, caller.tenant, planned, options, import_id, sender)
        draft = replace(draft, media_type=media_type, profile=rows.profile)
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
            return _response((), None, media_type)
        return await licenses_answer(gateway, record, media_type)

    preferences = requests.preferences(req, gateway.settings.wait_seconds)
    call = ImportCall(
        caller.tenant,
        accept,
        render,
        preferences,
        media_type,
        licenses_pending,
        is_small=sent.is_small,
    )
    response = await answer_import(gateway, call, keyed)
    return await with_profile_version(response, gateway, caller.tenant, LICENSES, query)


async def _with_profile(
    gateway: Gateway,
    tenant: str,
    query: Mapping[str, str],
    sent: SentRows,
    body_format: BodyFormat | None,
) -> SentRows:
    """The rows, read by the profile that the query names. Raises InvalidRequestError."""
    rows = await sent.with_profile(gateway, tenant, LICENSES, query)
    if rows.mapping and body_format not in (None, BodyFormat.JSON):
        raise InvalidRequestError(
            "A profile maps rows of CSV, spreadsheets, JSON and NDJSON: send one of these, or "
            "leave profile out."
        )
    return rows


async def _answer_dry_run(
    gateway: Gateway,
    draft: ImportRecord,
    planned: Plan,
    mode: DryRun,
    media_type: str,
    mapping: ProfileMapping | None,
) -> func.HttpResponse:
    """The answer that the call would get, without an import key."""
    is_by_row = mode is DryRun.ROWS
    result = await gateway.dry_runs.judge(LICENSES, draft, planned, with_changes=is_by_row)
    result = result.with_columns(mapping, planned)
    if is_by_row:
        return await judged_rows(LICENSES, result, media_type)
    return await asyncio.to_thread(_response, result.in_order_sent(), None, media_type)


async def licenses_answer(
    gateway: Gateway, record: ImportRecord, media_type: str
) -> func.HttpResponse:
    """200 with the vendor's answer to an ended import.

    A row without a result (its payload was lost) gets 9001.
    """
    result_by_index = {
        result.index: result async for result in gateway.reporting.all_results(record)
    }
    no_key = (None,) * len(LICENSES.rules.key_fields)
    missing = Message(MessageId.COULD_NOT_BE_PROCESSED)
    results = [
        result_by_index.get(index) or failed(index, no_key, missing) for index in range(record.rows)
    ]
    return await asyncio.to_thread(_response, results, record.import_id, media_type)


async def licenses_export_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The licenses of the division or the employee in the address, in the accepted format."""
    # Imported late, because the models are slow to import and indexing does not need them.
    from shared.imports.licenses.export import Holder
    from shared.web.records import check_read_permission

    caller = await gateway.callers.authenticate(req.headers, READ)
    check_read_permission(caller)
    query_names.VENDORS_NONE.read(req)
    media_type = accepted_media_type(req)
    has_employee = "employeeNumber" in req.route_params
    holder = Holder(
        _reference(req, "companyCode"),
        _reference(req, "divisionCode"),
        _reference(req, "employeeNumber") if has_employee else None,
    )
    async with gateway.shares.exports.place(caller.tenant):
        licenses = await gateway.license_export.licenses(caller.tenant, holder)
        body = await asyncio.to_thread(_export_body, licenses, media_type)
    return func.HttpResponse(body, mimetype=media_type)


def _reference(req: func.HttpRequest, name: str) -> str:
    from shared.imports.model import MAX_LICENSE_REFERENCE
    from shared.services.records.sources import reference_filter

    return reference_filter(name, req.route_params[name], MAX_LICENSE_REFERENCE)


def _export_body(licenses: Sequence[Document], media_type: str) -> bytes:
    if _is_json(media_type):
        return json.dumps(licenses, ensure_ascii=False, separators=(",", ":")).encode()
    # lxml is slow to import, and most callers read JSON.
    from shared.imports.licenses.answer import licenses_xml

    return licenses_xml(licenses)


def accepted_media_type(
    req: func.HttpRequest, offered: Sequence[str] = (*_JSON_TYPES, *_XML_TYPES)
) -> str:
    """The media type that the caller prefers; the first one offered where it prefers none.

    Raises NotAcceptableError.
    """
    return requests.accepted_type(req, *offered)


def offered_types(media_type: str) -> list[str]:
    """The media types of answers; `media_type` first, if it is one of them."""
    offered = (
        (*_XML_TYPES, *_JSON_TYPES) if media_type in _XML_TYPES else (*_JSON_TYPES, *_XML_TYPES)
    )
    return sorted(offered, key=lambda offer: offer != media_type)


def licenses_refusal(req: func.HttpRequest, error: BaseException) -> func.HttpResponse:
    """A refusal as JSON, or as XML for a caller that accepts only XML."""
    response = refusal(error)
    if _accepts(req, _JSON_TYPES) or not _accepts(req, _XML_TYPES):
        return response
    return _refusal_in_xml(response, accepted_media_type(req))


def licenses_accepted(req: func.HttpRequest, report: ImportReport) -> func.HttpResponse:
    """202 for a call whose import was accepted before the call failed."""
    return licenses_pending(report, accepted_media_type(req))


FAULT_ANSWERS = FaultAnswers(licenses_refusal, licenses_accepted)


def _accepts(req: func.HttpRequest, media_types: Sequence[str]) -> bool:
    try:
        requests.accepted_type(req, *media_types)
    except NotAcceptableError:
        return False
    return True


def _refusal_in_xml(response: func.HttpResponse, media_type: str) -> func.HttpResponse:
    from shared.imports.licenses.answer import refusal_xml

    message = json.loads(response.get_body())["message"]
    return func.HttpResponse(
        refusal_xml(message),
        status_code=response.status_code,
        headers=dict(response.headers),
        mimetype=media_type,
    )


def licenses_pending(report: ImportReport, media_type: str) -> func.HttpResponse:
    """202 with the address of the import."""
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


def _response(
    results: Sequence[RowResult], import_id: str | None, media_type: str
) -> func.HttpResponse:
    # Imported late, because the models are slow to import and indexing does not need them.
    from shared.imports.licenses.answer import import_answer

    answer = import_answer(results, import_id)
    headers = {} if import_id is None else {"X-Import-Id": import_id}
    if _is_json(media_type):
        body: str | bytes = json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    else:
        from shared.imports.licenses.answer import answer_xml

        body = answer_xml(answer)
    return func.HttpResponse(body, headers=headers, mimetype=media_type)


def _is_json(media_type: str) -> bool:
    return media_type.endswith("json")


def _body_format(req: func.HttpRequest) -> BodyFormat:
    """The format of the body. Raises UnsupportedMediaTypeError."""
    media_type = _media_type(req)
    body_format = _FORMATS.get(media_type or requests.JSON)
    if body_format is None and media_type.endswith("+json"):
        body_format = BodyFormat.JSON
    charset = charset_of(req.headers.get("Content-Type", "")).lower()
    if body_format is None or charset not in _CHARSETS:
        names = ", ".join((*_FORMATS, *FILE_TYPES))
        raise UnsupportedMediaTypeError(f"Send {names}; text in UTF-8 or UTF-16.")
    return body_format


def _media_type(req: func.HttpRequest) -> str:
    return parse_options_header(req.headers.get("Content-Type", ""))[0].lower()


async def _text_body(req: func.HttpRequest, sent: SentRows, format_: BodyFormat | None) -> bytes:
    """The body in UTF-8; an XML body keeps its encoding, which its mark or declaration names."""
    if format_ is BodyFormat.XML:
        body = await sent.unpacked()
        return marked_utf16(body, charset_of(req.headers.get("Content-Type", "")))
    return await sent.content()
