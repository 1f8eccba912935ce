"""Every place where text comes in, with what it is read by and the worst that it can be sent.

An entry of rows goes the whole way that needs no storage: the body is read and planned, its chunks
are read and decided on an empty store, and the answer is rendered.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import azure.functions as func

from cli.row_files import RowFileError, read_rows
from cli.tenant_rules import read_values
from shared.auth.bearer import BearerAuthenticator, TokenClaims, key_id_of, token_refusals
from shared.auth.callers import KeyPairAuthenticator
from shared.auth.clients import ClientLookups
from shared.auth.integrations import ROW
from shared.clock import SystemClock
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.hashing import Hasher, HashKey
from shared.imports.authdata.model import Formats, RecordReader, StoredEmployees, read_call
from shared.imports.authdata.rules import BatchOptions, classify
from shared.imports.documents.http import content_of, read_upload, row_from_text
from shared.imports.documents.model import FILE_TYPES, past_moment, read_path
from shared.imports.file_names import safe_name
from shared.imports.files.corrections import read_corrections
from shared.imports.files.text import utf8_body
from shared.imports.import_type import ImportType, Options
from shared.imports.json_rows import is_same_row, read_payload
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.answer import import_answer
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.http import BodyFormat, BodyReader, accepted_media_type
from shared.imports.licenses.license_set import LicenseSet
from shared.imports.licenses.processor import read_company_lines
from shared.imports.licenses.row_groups import group_rows
from shared.imports.licenses.rules import LicenseRules
from shared.imports.licenses.transactions import build_transactions
from shared.imports.merge_rules import (
    evaluate_without_key,
    listed_form,
    merge_rows,
    no_missing_references,
)
from shared.imports.messages import Message, MessageId
from shared.imports.model import normal_reference
from shared.imports.pay_and_bill.http import rendered_rows
from shared.imports.planning import plan
from shared.imports.results import RowResult
from shared.imports.workers.definition import WORKERS
from shared.services.idempotency import FingerprintKeys
from shared.services.record_processor import read_by_rules, read_slices, sort_key_reader
from shared.storage.entities import encode
from shared.storage.names import FUNCTION_KEYS
from shared.storage.ports import Entity
from shared.web import query_names, requests
from shared.web.idempotency import keyed_call
from shared.web.imports import place_from_text
from shared.web.media_types import charset_of
from shared.web.requests import check_media_type, from_opaque, read_form
from shared.web.tokens import FORM, read_token_request
from tests.budgets import texts
from tests.budgets.measuring import Entry
from tests.memory_storage import MemoryTables

MAX_ROWS = 100_000
_BOUNDARY = "boundary"
_NOW = datetime(2030, 1, 1, tzinfo=UTC)
_TENANT = "tenant"
_FORMATS = Formats({"authValue1": "(a+)+b", "authValue2": "(x|x)*y"})


_TINY_ROWS = {
    "rows that say nothing": (100.0, 1_000.0),
    "rows with an unknown name": (100.0, 1_000.0),
}


def _plan(kind: ImportType, body: bytes, reader: Callable[..., Any]) -> Any:
    payload = reader(body, sort_key_reader(kind, _TENANT), MAX_ROWS)
    return plan(payload, chunk_rows=1_000, chunk_bytes=4_194_304)


def _keyed_rows(kind: ImportType) -> Callable[[bytes], object]:
    """Workers and assignments: from the body to the answer."""

    def read(body: bytes) -> object:
        results: list[RowResult] = []
        for lines in _plan(kind, body, read_payload).lines():
            for part in read_slices(kind, _TENANT, lines, read_by_rules):
                for row in part.without_key:
                    results.append(
                        evaluate_without_key(
                            kind.record_rules, row, Options(), no_missing_references
                        )
                    )
                for key in part.keys:
                    results += merge_rows(kind.record_rules, key.rows, None, Options()).results
        return rendered_rows(kind, results)

    return read


def _license_rows(format_: BodyFormat, action: LicenseAction) -> Callable[[bytes], object]:
    """Licenses: from the body to the answer."""

    def read(body: bytes) -> object:
        reader = BodyReader(format_, 26_214_400)
        results: list[RowResult] = []
        for lines in _plan(LICENSES, body, reader).lines():
            groups = read_company_lines(_TENANT, lines, action)
            results += groups.without_company
            for company in groups.companies:
                rows = [
                    [(company.read(row), row.employee) for row in unit.rows]
                    for unit in group_rows(company.rows, {}, action)
                ]
                work = _license_import(company.name, action)
                for segment in build_transactions(work, "partition", rows, "now", 99):
                    results += segment.results
        return import_answer(results, "import")

    return read


def _license_import(company: str, action: LicenseAction) -> LicenseRules:
    return LicenseRules(
        tenant=_TENANT,
        company=company,
        action=action,
        number=1,
        import_id="import",
        license_set=LicenseSet(),
        describe_error=lambda _error: Message(MessageId.COULD_NOT_BE_PROCESSED),
    )


def _authdata(body: bytes) -> object:
    call = read_call(body, MAX_ROWS)
    hasher = Hasher([HashKey("k", b"x" * 32)], _TENANT)
    reader = RecordReader(hasher, _FORMATS.compiled(), allow_no_auth=False)
    records = [reader.read(at, row) for at, row in enumerate(call.rows)]
    return classify(records, StoredEmployees(), BatchOptions())


def _document_form(body: bytes) -> object:
    content_type = f"multipart/form-data; boundary={_BOUNDARY}"
    check_media_type(content_type, "")
    form = read_form(content_type, body)
    try:
        upload = read_upload(form, _NOW, frozenset(FILE_TYPES), 26_214_400)
        return upload, content_of(form)
    finally:
        form.close()


def _corrections(body: bytes) -> object:
    corrections = read_corrections(body, MAX_ROWS)
    return [is_same_row(row.text, '{"A":1}') for row in corrections.values()]


def _file_of_rows(ending: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"rows{ending}"
            path.write_text(text, "utf-8", newline="")
            return read_rows(path, ASSIGNMENTS.rules)

    return read


def _file_of_values(text: str) -> object:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "values.txt"
        path.write_text(text, "utf-8", newline="")
        return {encode(listed_form(value)) for value in read_values(path)}


class OneKey(MemoryTables):
    """Tables with one function key, whose software key is `K`."""

    async def get(self, table: str, partition: str, row: str) -> Entity | None:
        """The key, and an integration of the same name."""
        if table == FUNCTION_KEYS:
            values = {"Tenant": _TENANT, "Name": "K", "tenant": _TENANT, "name": "K"}
            return Entity(partition, ROW, values)
        return None


def _key_pair(name: str) -> Callable[[str], object]:
    authenticator = KeyPairAuthenticator(OneKey(), SystemClock(), 0)

    def read(text: str) -> object:
        headers = {"x-functions-key": "key", "x-software-key": "K", name: text}
        return asyncio.run(authenticator.authenticate(headers))

    return read


class _AnyKey:
    async def read(self, token: str) -> TokenClaims:
        with token_refusals():
            return TokenClaims(key_id_of(token, "ES256", "at+jwt"), frozenset())


def _bearer(text: str) -> object:
    lookups = ClientLookups(OneKey(), SystemClock(), 0)
    return asyncio.run(BearerAuthenticator(_AnyKey(), lookups).authenticate(f"Bearer {text}"))


def _bearer_of_json(text: str) -> object:
    return _bearer(base64.urlsafe_b64encode(text.encode()).decode().rstrip("=") + ".e30.AAAA")


def _request(
    body: bytes = b"", headers: dict[str, str] | None = None, params: dict[str, str] | None = None
) -> func.HttpRequest:
    return func.HttpRequest(
        "POST", "http://host/api/import/workers", headers=headers, params=params, body=body
    )


def _token_form(body: bytes) -> object:
    return read_token_request(_request(body, {"Content-Type": FORM}))


def _basic(text: str) -> object:
    pair = base64.b64encode(text.encode("utf-8", "replace")).decode()
    body = b"grant_type=client_credentials"
    headers = {"Content-Type": FORM, "Authorization": f"Basic {pair}"}
    return read_token_request(_request(body, headers))


def _accept(text: str) -> object:
    return accepted_media_type(_request(headers={"Accept": text}))


def _content_type(text: str) -> object:
    request = _request(headers={"Content-Type": f"application/json; {text}"})
    requests.check_sends_json(request)
    return utf8_body(b"[]", charset_of(text)), utf8_body(b"[]", text)


def _boundary(text: str) -> object:
    return read_form(f"multipart/form-data; boundary={text}", b"x")


def _prefer(text: str) -> object:
    return requests.preferences(_request(headers={"Prefer": text}), 200)


def _idempotency_key(text: str) -> object:
    request = _request(headers={"Idempotency-Key": text})
    keys = FingerprintKeys(MemoryTables(), ())
    return asyncio.run(keyed_call(request, _TENANT, [b""], keys))


def _query(text: str) -> object:
    request = _request(params={"version": text, "pageSize": text, text: "1"})
    query = query_names.VENDORS_NONE.read(request)
    query_names.IMPORTS_RESULTS.read(request)
    requests.boolean({"dryrun": text}, "dryRun", default=False)
    return requests.whole_number(query, "pageSize", 1, 1_000)


def _continuation(text: str) -> object:
    from_opaque(text)
    row_from_text({"continuation": text})
    return place_from_text({"continuation": text})


def _format_pattern(text: str) -> object:
    return Formats({"authValue1": text}).compiled()


def entries() -> Iterator[Entry]:
    """All of them."""
    body = 8_000
    for kind in (WORKERS, ASSIGNMENTS):
        yield Entry(
            f"JSON rows of {kind.name}",
            _keyed_rows(kind),
            texts.json_bodies(kind.name),
            body,
            dear=_TINY_ROWS,
        )
    yield Entry(
        "JSON rows of licenses",
        _license_rows(BodyFormat.JSON, LicenseAction.MERGE),
        texts.json_bodies("licenses"),
        body,
        dear=_TINY_ROWS,
    )
    yield Entry(
        "base64 of licenses",
        _license_rows(BodyFormat.JSON, LicenseAction.OVERRIDE),
        texts.license_document_bodies(),
        body,
    )
    yield Entry(
        "XML of licenses",
        _license_rows(BodyFormat.XML, LicenseAction.REPLACE),
        texts.xml_bodies(),
        body,
    )
    yield Entry(
        "forms of licenses",
        _license_rows(BodyFormat.FORM, LicenseAction.OVERRIDE),
        texts.form_bodies(),
        body,
    )
    yield Entry("authentication data", _authdata, texts.authdata_bodies(), body)
    yield Entry("forms of documents", _document_form, texts.multipart_bodies(_BOUNDARY), body)
    yield Entry("corrected rows of a retry", _corrections, texts.correction_bodies(), body)
    wrong_file = (RowFileError,)
    for name, ending, inputs in (
        ("CSV files", ".csv", texts.csv_texts()),
        ("NDJSON files", ".ndjson", texts.ndjson_texts()),
    ):
        yield Entry(name, _file_of_rows(ending), inputs, body, refused=wrong_file)
    yield Entry("reference lists", _file_of_values, texts.lists_of_values(), body)
    yield Entry("token requests", _token_form, texts.token_bodies(), body)
    header = 4_000
    for name, read in (
        ("X-Software-Key", _key_pair("x-software-key")),
        ("X-Functions-Key", _key_pair("x-functions-key")),
        ("bearer tokens", _bearer),
        ("headers of bearer tokens", _bearer_of_json),
        ("Basic credentials", _basic),
        ("Accept", _accept),
        ("Content-Type", _content_type),
        ("boundary", _boundary),
        ("Prefer", _prefer),
        ("Idempotency-Key", _idempotency_key),
        ("query strings", _query),
        ("continuations", _continuation),
        ("file names", safe_name),
        ("references", normal_reference),
        ("times", lambda text: past_moment(text, _NOW)),
        ("drop paths", lambda text: read_path(f"tenant/{text}/{text}/{text}")),
        ("formats of a tenant", _format_pattern),
    ):
        yield Entry(name, read, texts.TEXTS, header)
