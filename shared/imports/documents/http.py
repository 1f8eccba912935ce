"""The contract of documents over HTTP: from the form to the vendor's envelope.

See docs/contracts.md#4.

Calls are refused in the order of docs/contracts.md#0. A call with a valid form becomes an import,
even if it is then refused for its round, its worker or its type.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import IO, Any, TypeVar
from urllib.parse import quote

import azure.functions as func

from shared import log
from shared.auth.callers import AnyCaller
from shared.auth.clients import Scope
from shared.auth.integrations import READ, import_permission
from shared.clock import to_iso
from shared.errors import (
    ConflictError,
    GatewayError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from shared.gateway import Gateway
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import (
    FILE_TYPES,
    HEAD_BYTES,
    Upload,
    file_type_of,
    past_moment,
)
from shared.imports.documents.uploads import ImportedDocument
from shared.imports.file_names import MAX_NAME_LENGTH, name_fault, safe_name
from shared.imports.import_type import Document
from shared.imports.messages import CATALOGUE, MessageId
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.imports.results import Outcome, RowResult
from shared.imports.sender import Sender, source_name
from shared.imports.text_checks import escaped, is_like_dry_run
from shared.storage.import_records import ImportRecord
from shared.web import query_names, requests
from shared.web.idempotency import HEADER, answer_once, keyed_call
from shared.web.imports import json_answer, judged_rows, just_accepted, not_yet
from shared.web.media_types import check_md5
from shared.web.requests import (
    FILE,
    MAX_FIELD_BYTES,
    NO_FILE_NAME,
    DryRun,
    Form,
    SentFile,
    check_media_type,
    from_opaque,
    read_form,
    to_opaque,
    whole_number,
    wrong_continuation,
)
from shared.web.responses import refusal

# Reads a document's form, its fields and its one file, into an upload (docs/contracts.md#4).

_T = TypeVar("_T")

# Documents of a page of the list.
_PAGE = 100
_LARGEST_PAGE = 1_000


def read_upload(form: Form, now: datetime, types: AbstractSet[str], max_bytes: int) -> Upload:
    """The upload in a form; its file is `the_file(form)`.

    Raises TooLargeError for the file, else InvalidRequestError, which names all faults of the form.
    """
    for sent_file in form.files:
        check_file_size(_size(sent_file.content), max_bytes)
    faults: list[str] = []

    def collect_fault(read: Callable[[], _T], default: _T) -> _T:
        try:
            return read()
        except InvalidRequestError as error:
            faults.append(error.message.rstrip("."))
            return default

    for check in (_check_repeated, _check_no_dry_run, _check_no_summary):
        collect_fault(partial(check, form), None)
    file = collect_fault(lambda: the_file(form), None)
    upload = Upload(
        worker_ref=collect_fault(lambda: _reference(form, "workerexternalId"), ""),
        round_code=collect_fault(lambda: _reference(form, "communicationRoundCode"), ""),
        file_name="" if file is None else collect_fault(lambda: _name(file), ""),
        generation_time=collect_fault(lambda: _generation_time(form, now), ""),
        size=0 if file is None else collect_fault(lambda: _filled_size(file), 0),
    )
    if faults or file is None:
        raise InvalidRequestError(f"{'; '.join(faults)}.")
    kind = file_type_of(upload.file_name, file.content.read(HEAD_BYTES), types)
    file.content.seek(0)
    return replace(upload, file_type=kind.name if kind else "")


def _check_repeated(form: Form) -> None:
    if form.repeated:
        names = ", ".join(escaped(name) for name in sorted(form.repeated))
        raise InvalidRequestError(f"A field of the form comes twice: send {names} once.")


def _check_no_dry_run(form: Form) -> None:
    if any(map(is_like_dry_run, form.fields)):
        raise InvalidRequestError(
            "A form cannot ask for a dry run, and nothing was done: send dryRun=true in the query."
        )


def _check_no_summary(form: Form) -> None:
    if (form.text("isSummary") or "false").lower() != "false":
        raise InvalidRequestError("isSummary must be false: summaries cannot be imported.")


def _filled_size(file: SentFile) -> int:
    size = _size(file.content)
    if size == 0:
        raise InvalidRequestError("The file is empty: send one with content.")
    return size


def the_file(form: Form) -> SentFile:
    """The one file of the form. Raises InvalidRequestError."""
    if FILE in form.fields:
        raise InvalidRequestError(NO_FILE_NAME)
    if not form.files:
        raise InvalidRequestError("The form has no file: send one in the part `file`.")
    if len(form.files) > 1 or form.files[0].field != FILE:
        raise InvalidRequestError("Send exactly one file, in the part `file`.")
    return form.files[0]


def content_of(form: Form) -> list[bytes]:
    """The content that distinguishes two forms: fields by name, and the file with its name."""
    file = the_file(form)
    file.content.seek(0)
    fields = [part.encode() for pair in sorted(form.fields.items()) for part in pair]
    return [*fields, file.name.encode(), file.content.read()]


def check_file_size(size: int, limit: int) -> None:
    """Raises TooLargeError where a file is over the limit."""
    if size > limit:
        raise TooLargeError(
            f"The file has {size} bytes and the limit is {limit}: send a smaller one."
        )


def check_form_size(size: int, limit: int) -> None:
    """Raises TooLargeError where a body is too long for a form with a file within the limit."""
    if size > limit + MAX_FIELD_BYTES:
        raise TooLargeError(
            f"The body has {size} bytes and the limit of its file is {limit}: send a smaller one."
        )


def _name(file: SentFile) -> str:
    if not file.name.strip():
        raise InvalidRequestError("The file has no name: send it with the name it should have.")
    fault = name_fault(file.name)
    if fault:
        raise InvalidRequestError(
            f"The file name is not safe: {fault}, and send a plain name of at most "
            f"{MAX_NAME_LENGTH} characters, without a path."
        )
    return safe_name(file.name) or ""


def _reference(form: Form, field: str) -> str:
    reference = normal_reference(form.text(field) or "")
    if reference is None:
        raise InvalidRequestError(
            f"{field} is missing or too long: send 1 to {MAX_REFERENCE} characters."
        )
    return reference


def _generation_time(form: Form, now: datetime) -> str:
    moment = past_moment(form.text("generationTime") or "", now)
    if moment is None:
        raise InvalidRequestError(
            "generationTime must be YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS and not in the future; "
            "without an offset it is UTC."
        )
    return to_iso(moment)


def _size(content: IO[bytes]) -> int:
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    return size


_REFUSED = 400
_BLOCK_SIZE = 4 * 1024 * 1024
_ROW = re.compile(r"[rx]\|[A-Za-z0-9._=|-]{1,500}")
# The error for a document that was not imported, by the message of its row.
_ERRORS: Mapping[int, type[RefusedError]] = {
    DocumentMessageId.ROUND_NOT_FOUND: NotFoundError,
    DocumentMessageId.ROUND_NOT_OPEN: ConflictError,
    DocumentMessageId.WORKER_NOT_FOUND: NotFoundError,
    DocumentMessageId.AMBIGUOUS_WORKER: ConflictError,
    DocumentMessageId.WRONG_FILE_TYPE: UnsupportedMediaTypeError,
    MessageId.CANCELLED: ConflictError,
}


class _NotImportedError(RefusedError):
    """An import that ended without a document; `response` is the answer with the reason."""

    def __init__(self, response: func.HttpResponse) -> None:
        super().__init__("the document was not taken")
        self.response = response


async def upload_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """POST of a document: check in the order of docs/contracts.md#0, accept, process, answer.

    A document that was not imported does not use its Idempotency-Key, as no refusal does.
    """
    caller = await gateway.callers.authenticate_for(
        req.headers, import_permission(DOCUMENTS.name), Scope.IMPORT_INBOX
    )
    await gateway.documents.intake.check_enabled(caller.tenant)
    query = query_names.DOCUMENT_UPLOAD.read(req)
    form = await _read(gateway, req)
    try:
        return await _upload_once(gateway, caller, req, query, form)
    except _NotImportedError as refused:
        return refused.response
    finally:
        form.close()


async def _upload_once(
    gateway: Gateway,
    caller: AnyCaller,
    req: func.HttpRequest,
    query: Mapping[str, str],
    form: Form,
) -> func.HttpResponse:
    settings, now = gateway.settings, gateway.clock.now()
    upload = read_upload(form, now, settings.document_types, settings.max_document_bytes)
    mode = requests.dry_run(query)
    if mode is not DryRun.NO:
        return await _answer_dry_run(gateway, caller.tenant, upload, mode)
    content = content_of(form) if HEADER in req.headers else ()
    keyed = await keyed_call(req, caller.tenant, content, gateway.fingerprint_keys)

    async def run(import_id: str) -> func.HttpResponse:
        response = await _import_upload(gateway, caller, import_id, upload, form)
        if response.status_code >= _REFUSED:
            raise _NotImportedError(response)
        return response

    return await answer_once(gateway, keyed, run)


async def _import_upload(
    gateway: Gateway, caller: AnyCaller, import_id: str, upload: Upload, form: Form
) -> func.HttpResponse:
    """Import the upload; a repeated call with the same id returns the same import."""
    intake, tenant = gateway.documents.intake, caller.tenant
    async with gateway.shares.acceptance.place(tenant):
        resolved = await intake.resolve(tenant, upload)
        digest = await intake.keep(tenant, import_id, _blocks(the_file(form).content), upload.size)
        body_hash = await gateway.fingerprint_keys.keyed(digest)
        sender = Sender(caller.named, source_name(upload.file_name), body_hash)
        record = await intake.accept(tenant, import_id, resolved, caller.options, sender)
        try:
            imported = await intake.finish(record)
        except Exception as error:
            log.failure("call.left_running", error, import_id=import_id)
            imported = None
    return _answer(record, imported)


async def _answer_dry_run(
    gateway: Gateway, tenant: str, upload: Upload, mode: DryRun
) -> func.HttpResponse:
    """The answer that the upload would get; nothing is imported."""
    async with gateway.dry_runs.place(tenant, 1):
        evaluation = await gateway.documents.dry_runs.evaluate(tenant, upload)
    if mode is DryRun.ROWS:
        return await judged_rows(DOCUMENTS, evaluation)
    [result] = evaluation.results
    if result.outcome is Outcome.FAILED:
        return refusal(_fault(result))
    return _envelope(result, to_iso(gateway.clock.now()))


async def document_answer(gateway: Gateway, record: ImportRecord) -> func.HttpResponse:
    """The vendor's answer or refusal for an ended import, the same as the call's own."""
    return _answer(record, await gateway.documents.intake.find(record))


async def _read(gateway: Gateway, req: func.HttpRequest) -> Form:
    """The form of a call. Raises TooLargeError, UnsupportedMediaTypeError, InvalidRequestError."""
    settings = gateway.settings
    requests.check_size(req, settings.max_body_bytes)
    body = req.get_body()
    check_form_size(len(body), settings.max_document_bytes)
    content_type = req.headers.get("Content-Type", "")
    check_media_type(content_type, req.headers.get("Content-Encoding", ""))
    check_md5(req.headers.get("Content-MD5"), body, "The body")
    return await asyncio.to_thread(read_form, content_type, body)


def _blocks(content: IO[bytes]) -> Iterator[bytes]:
    content.seek(0)
    return iter(lambda: content.read(_BLOCK_SIZE), b"")


def _answer(record: ImportRecord, imported: ImportedDocument | None) -> func.HttpResponse:
    if imported is None:
        return not_yet(just_accepted(record))
    response = (
        _envelope(imported.result, record.accepted_at)
        if imported.is_imported
        else refusal(_fault(imported.result))
    )
    response.headers["X-Import-Id"] = record.import_id
    return response


def _envelope(result: RowResult, import_time: str) -> func.HttpResponse:
    item = {
        "documentId": result.key[-1],
        "overridden": result.outcome is Outcome.UPDATED,
        "importTime": import_time,
    }
    return json_answer(
        {"pageNumber": 1, "pageSize": 1, "totalPages": 1, "totalCount": 1, "items": [item]}
    )


def _fault(result: RowResult) -> GatewayError:
    """The error for a document that was not imported; an unexpected fault is an internal error."""
    fault = result.messages[0]
    kind = _ERRORS.get(fault.id)
    if kind is None:
        return GatewayError(fault.text)
    return kind(f"{fault.finding}: {CATALOGUE[fault.id].advice_clause}.")


async def documents_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The tenant's documents: of a worker, of a round, of both, or all."""
    caller = await gateway.callers.authenticate_for(req.headers, READ, Scope.IMPORT_INBOX)
    query = query_names.DOCUMENTS_LIST.read(req)
    size = whole_number(query, "pageSize", _PAGE, _LARGEST_PAGE)
    page = await gateway.documents.reading.page(
        caller.tenant,
        query.get("workerexternalid", ""),
        query.get("communicationroundcode", ""),
        row_from_text(query),
        size,
    )
    return json_answer(
        {
            "items": [document_view(document) for document in page.documents],
            "continuation": None if page.next_row is None else to_opaque(page.next_row),
        }
    )


async def content_call(gateway: Gateway, req: func.HttpRequest) -> func.HttpResponse:
    """The file of a document, as a download under its name."""
    caller = await gateway.callers.authenticate_for(req.headers, READ, Scope.IMPORT_INBOX)
    query_names.NONE.read(req)
    reading = gateway.documents.reading
    document = await reading.find(caller.tenant, req.route_params["documentId"])
    return content_answer(document, await reading.content(caller.tenant, document))


def document_view(document: Document) -> dict[str, Any]:
    """A document in the list."""
    kind = FILE_TYPES[document["fileType"]]
    return {
        "documentId": document["documentId"],
        "workerexternalId": document["workerexternalId"],
        "communicationRoundCode": document["communicationRoundCode"],
        "fileName": document["fileName"],
        "contentType": kind.media_type,
        "size": document["size"],
        "generationTime": document["generationTime"],
        "importTime": document["importTime"],
        "importId": document["importId"],
        "links": {"content": f"/api/documents/{document['documentId']}/content"},
    }


def content_answer(document: Document, content: bytes) -> func.HttpResponse:
    """The file as a download, so that a browser does not run content from a sender."""
    name = document["fileName"]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", name)
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    return func.HttpResponse(
        content,
        headers={
            # The full value, because the library adds charset=utf-8 to every text.
            "Content-Type": FILE_TYPES[document["fileType"]].content_type(content),
            "Content-Disposition": disposition,
            "X-Content-Type-Options": "nosniff",
        },
    )


def row_from_text(query: Mapping[str, str]) -> str:
    """The row in a continuation; "" without one. Raises InvalidRequestError."""
    continuation = query.get("continuation")
    if not continuation:
        return ""
    row = from_opaque(continuation)
    if not _ROW.fullmatch(row):
        raise wrong_continuation()
    return row
