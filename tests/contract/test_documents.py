"""Documents by call: refusals in their order, replacing, dry runs, repeats, reading back."""

from __future__ import annotations

import base64
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pytest

from shared.auth.clients import Scope
from tests.builders import a_worker
from tests.contract.calls import (
    CLOSED,
    GUID,
    MAX_BODY_BYTES,
    MAX_DOCUMENT_BYTES,
    UPLOAD,
    check_refusal,
    item_of,
    send_document,
)
from tests.documents import (
    BOUNDARY,
    JPEG,
    PDF,
    PNG,
    ROUND,
    Form,
    a_part,
    an_archive,
    upload_headers,
)
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender, a_token_client

pytestmark = pytest.mark.e2e


# Documents by call: every refusal in its order, replacing, what is an import.

GONE_PAST_THE_FORM = (404, 409)


@dataclass(frozen=True)
class Fault:
    """Something wrong with an upload, and how it is refused; only one `about` a thing fits."""

    name: str
    status: int
    wording: str
    about: str = ""


FAULTS = (
    Fault("no credential", 401, "X-Functions-Key"),
    Fault("feature off", 403, "ask the operator of the gateway"),
    Fault("body too large", 413, str(MAX_BODY_BYTES), about="form"),
    Fault("another media type", 415, "multipart/form-data", about="form"),
    Fault("encoded", 415, "Content-Encoding", about="form"),
    Fault("file too large", 413, str(MAX_DOCUMENT_BYTES), about="content"),
    Fault("cut off", 400, "cut off", about="form"),
    Fault("a field twice", 400, "twice"),
    Fault("two files", 400, "exactly one", about="file"),
    Fault("no file", 400, "no file", about="file"),
    Fault("empty file", 400, "empty", about="content"),
    Fault("no name", 400, "no name", about="file"),
    Fault("unsafe name", 400, "not safe", about="file"),
    Fault("a summary", 400, "isSummary"),
    Fault("no worker id", 400, "workerexternalId", about="worker"),
    Fault("no round code", 400, "communicationRoundCode", about="round"),
    Fault("made in the future", 400, "generationTime"),
    Fault("unknown round", 404, "round was not found", about="round"),
    Fault("closed round", 409, "takes no documents", about="round"),
    Fault("unknown worker", 404, "Worker was not found", about="worker"),
    Fault("ambiguous worker", 409, "Several workers", about="worker"),
    Fault("type not allowed", 415, "type", about="content"),
)
"""In the order in which they are refused."""
UNSEEN = {("file too large", "cut off"), ("file too large", "no file")}
"""The first of these cannot be seen where the second one is."""


def faulty(gateway: GatewayProcess, ready: Sender, off: Sender, faults: set[str]) -> Answer:
    """An upload with these faults and no other."""
    sender = off if "feature off" in faults else ready
    headers = upload_headers(sender)
    if "no credential" in faults:
        headers = {"Content-Type": headers["Content-Type"]}
    if "encoded" in faults:
        headers["Content-Encoding"] = "gzip"
    if "another media type" in faults:
        headers["Content-Type"] = "application/pdf"
    return gateway.call("POST", UPLOAD, _body(faults), headers)


def _body(faults: set[str]) -> bytes:
    form = Form()
    changes: dict[str, tuple[str, Any]] = {
        "no file": ("file_name", None),
        "no name": ("file_name", ""),
        "unsafe name": ("file_name", "../payslip.pdf"),
        "empty file": ("content", b""),
        "file too large": ("content", PDF + b" " * MAX_DOCUMENT_BYTES),
        "type not allowed": ("content", b"MZ\x90\x00"),
        "no worker id": ("worker", None),
        "unknown worker": ("worker", "nobody"),
        "ambiguous worker": ("worker", "P2"),
        "no round code": ("round_code", None),
        "unknown round": ("round_code", "1999-01"),
        "closed round": ("round_code", CLOSED),
        "made in the future": ("generation_time", "2999-01-01"),
    }
    for name in faults & {*changes}:
        setattr(form, *changes[name])
    if "a summary" in faults:
        form.more.append(("isSummary", "true"))
    if "a field twice" in faults:
        form.more.append(("WORKEREXTERNALID", "P1"))
        form.more.append(("workerexternalid", "P1"))
    body = form.body()
    end = f"--{BOUNDARY}--\r\n".encode()
    if "two files" in faults:
        other = a_part('name="file"; filename="other.pdf"', PDF)
        body = body.removesuffix(end) + other + end
    if "cut off" in faults:
        body = body[: -len(end)]
    if "body too large" in faults:
        body += b" " * MAX_BODY_BYTES
    return body


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_refused_in_its_own_words(
    gateway: GatewayProcess, ready: Sender, sender: Sender, fault: Fault
) -> None:
    check(faulty(gateway, ready, sender, {fault.name}), fault)


@pytest.mark.parametrize("first", FAULTS, ids=lambda fault: fault.name)
def test_the_first_of_two_faults_decides_the_refusal(
    gateway: GatewayProcess, ready: Sender, sender: Sender, first: Fault
) -> None:
    for one, second in combinations(FAULTS, 2):
        is_apart = not one.about or one.about != second.about
        if one is first and is_apart and (one.name, second.name) not in UNSEEN:
            check(faulty(gateway, ready, sender, {one.name, second.name}), one)


def check(answer: Answer, fault: Fault) -> None:
    """Refused as it should be; with the id of an import where the form was in order."""
    is_import = fault.status in GONE_PAST_THE_FORM or fault.name == "type not allowed"
    headers = dict(answer.headers)
    import_id = headers.pop("x-import-id", "")
    assert bool(GUID.fullmatch(import_id)) is is_import, answer.body
    check_refusal(Answer(answer.status, headers, answer.body), fault.status, fault.wording)


def test_a_refusal_after_the_form_is_an_import_with_its_message_and_answer(
    gateway: GatewayProcess, ready: Sender, sender: Sender
) -> None:
    answer = faulty(gateway, ready, sender, {"closed round"})
    here = f"/api/imports/{answer.headers['x-import-id']}"
    shown = gateway.get(here, ready).json
    assert (shown["type"], shown["state"]) == ("documents", "CompletedWithErrors")
    assert (shown["rows"]["total"], shown["rows"]["failed"]) == (1, 1)
    [result] = gateway.get(f"{here}/results", ready).json["items"]
    assert result["key"] == {
        "workerexternalId": "P1",
        "communicationRoundCode": CLOSED,
        "fileName": "payslip.pdf",
    }
    assert [message["errorID"] for message in result["messages"]] == [4009]
    again = gateway.get(f"{here}/answer", ready)
    assert (again.status, again.json) == (answer.status, answer.json)
    [row] = gateway.get(f"{here}/failed-rows", ready).json
    assert row["row"]["communicationRoundCode"] == CLOSED
    assert "fault" not in row["row"]


def test_a_call_refused_before_the_form_is_no_import(
    gateway: GatewayProcess, ready: Sender
) -> None:
    before = gateway.get("/api/imports?pageSize=1000", ready).json["items"]
    for fault in FAULTS:
        if fault.status in (400, 413):
            faulty(gateway, ready, ready, {fault.name})
    assert gateway.get("/api/imports?pageSize=1000", ready).json["items"] == before


def test_an_upload_is_an_import_whose_answer_can_be_asked_for_again(
    gateway: GatewayProcess, ready: Sender
) -> None:
    answer = send_document(gateway, ready, Form(file_name="answer.pdf"))
    item = item_of(answer)
    assert GUID.fullmatch(item["documentId"])
    assert re.fullmatch(r"[0-9-]{10}T[0-9:.]{12}Z", item["importTime"])
    again = gateway.get(f"/api/imports/{answer.import_id}/answer", ready)
    assert (again.status, again.json) == (200, answer.json)
    assert again.headers["x-import-id"] == answer.import_id
    [result] = gateway.get(f"/api/imports/{answer.import_id}/results", ready).json["items"]
    assert (result["outcome"], result["key"]["documentId"]) == ("new", item["documentId"])


def test_the_same_worker_round_and_name_again_replaces(
    gateway: GatewayProcess, ready: Sender
) -> None:
    first, other_round, other_name, again = (
        item_of(send_document(gateway, ready, Form(file_name=name, round_code=code, worker=worker)))
        for name, code, worker in (
            ("a.pdf", ROUND, "P1"),
            ("a.pdf", "run", "P1"),
            ("A.pdf", ROUND, "P1"),
            ("a.pdf", ROUND, "hr-1"),
        )
    )
    assert len({item["documentId"] for item in (first, other_round, other_name)}) == 3
    assert not first["overridden"]
    assert (again["documentId"], again["overridden"]) == (first["documentId"], True)


@pytest.mark.parametrize(
    ("reference", "personnel"), [("hr-1", "P1"), ("P1", "P1"), ("P2x", "P3"), ("P4", "P4")]
)
def test_a_worker_is_found_by_its_external_reference_and_else_by_its_own(
    gateway: GatewayProcess, ready: Sender, reference: str, personnel: str
) -> None:
    """Whichever way it was named, it is one document."""
    name = f"{personnel}.pdf"
    item = item_of(send_document(gateway, ready, Form(worker=f" {reference} ", file_name=name)))
    aliases = {"P1": "hr-1", "P3": "P3", "P4": "P4"}
    again = item_of(send_document(gateway, ready, Form(worker=aliases[personnel], file_name=name)))
    assert again["documentId"] == item["documentId"]
    assert again["overridden"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Ünïcode näme (1).pdf", PDF),
        ("photo.JPEG", JPEG),
        ("photo.png", PNG),
        ("letter.docx", an_archive()),
        ("list.xlsx", an_archive("xl/workbook.xml")),
        ("list.csv", "name;sum\r\nÅsa;1,5\r\n".encode("latin-1")),
        ("note.txt", "\ufeffnote".encode("utf-16")),
    ],
)
def test_every_allowed_file_type_is_stored_and_read_back_unchanged(
    gateway: GatewayProcess, ready: Sender, name: str, content: bytes
) -> None:
    item = item_of(send_document(gateway, ready, Form(file_name=name, content=content)))
    answer = gateway.get(f"/api/documents/{item['documentId']}/content", ready)
    assert answer.body == content
    assert answer.headers["content-type"].partition(";")[0] in (
        "application/pdf",
        "image/jpeg",
        "image/png",
        "text/csv",
        "text/plain",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    )


def test_names_of_fields_match_in_any_case_and_unknown_ones_are_passed_over(
    gateway: GatewayProcess, ready: Sender
) -> None:
    form = Form(worker=None, round_code=None)
    form.more = [("WorkerExternalID", "P1"), ("COMMUNICATIONROUNDCODE", ROUND), ("other", "x")]
    form.more.append(("isSummary", "False"))
    assert send_document(gateway, ready, form).status == 200


def test_uploads_of_one_name_at_once_are_one_document_and_every_answer_is_true(
    gateway: GatewayProcess, ready: Sender
) -> None:
    contents = [b"%PDF-1.7 " + bytes([65 + number]) * 4_000 for number in range(8)]
    with ThreadPoolExecutor(len(contents)) as pool:
        answers = list(
            pool.map(
                lambda content: send_document(
                    gateway, ready, Form(file_name="race.pdf", content=content)
                ),
                contents,
            )
        )
    items = [item_of(answer) for answer in answers]
    assert len({item["documentId"] for item in items}) == 1
    assert [item["overridden"] for item in items].count(False) == 1
    document = gateway.get(f"/api/documents/{items[0]['documentId']}/content", ready)
    imports = gateway.get("/api/imports?type=documents&pageSize=8", ready).json["items"]
    last = next(
        content
        for answer, content in zip(answers, contents, strict=True)
        if answer.import_id == imports[0]["importId"]
    )
    assert document.body == last, "what was accepted last is what stays"


# Documents: dry runs, repeated calls, reading back, and who may.


def test_a_dry_run_answers_as_the_run_and_leaves_no_trace(
    gateway: GatewayProcess, ready: Sender
) -> None:
    def imports() -> Any:
        return gateway.get("/api/imports?pageSize=1000", ready).json["items"]

    def tried(form: Form, view: str = "") -> Answer:
        address = f"{UPLOAD}?dryRun=true{view}"
        return gateway.call("POST", address, form.body(), upload_headers(ready))

    before = imports()
    form = Form(file_name="tried.pdf")
    item = item_of(tried(form))
    assert (item["documentId"], item["overridden"]) == (str(uuid.UUID(int=0)), False)
    check_refusal(tried(Form(worker="nobody")), 404, "Worker was not found")
    assert imports() == before
    document_id = item_of(send_document(gateway, ready, form))["documentId"]
    again = item_of(tried(form))
    assert (again["documentId"], again["overridden"]) == (document_id, True)
    [row] = tried(Form(file_name="tried.pdf", content=PDF + b" "), "&view=rows").json["items"]
    assert row["outcome"] == "updated"
    assert row["changes"] == [{"field": "size", "before": len(PDF), "after": len(PDF) + 1}]


def test_an_idempotency_key_belongs_to_one_upload(gateway: GatewayProcess, ready: Sender) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    form = Form(file_name="once.pdf")
    first = send_document(gateway, ready, form, **key)
    body = form.body().replace(BOUNDARY.encode(), b"another-boundary")
    headers = upload_headers(ready, **key)
    headers["Content-Type"] = "multipart/form-data; boundary=another-boundary"
    again = gateway.call("POST", UPLOAD, body, headers)
    assert (again.json, again.import_id) == (first.json, first.import_id)
    assert again.headers["idempotent-replayed"] == "true"
    other = send_document(gateway, ready, Form(file_name="once.pdf", content=PDF + b" "), **key)
    assert other.status == 422


def test_a_refused_upload_does_not_use_up_its_key(gateway: GatewayProcess, ready: Sender) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    form = Form(worker="late", file_name="late.pdf")
    assert send_document(gateway, ready, form, **key).status == 404
    gateway.post(ready, [a_worker("late")])
    assert item_of(send_document(gateway, ready, form, **key))["overridden"] is False


ENDPOINTS = [("POST", UPLOAD), ("GET", "/api/documents"), ("GET", "/api/documents/x/content")]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_every_endpoint_asks_for_credentials_and_a_token_for_its_scope(
    gateway: GatewayProcess, storage: str, method: str, path: str
) -> None:
    answer = gateway.call(method, path, b"", {})
    check_refusal(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    client = a_token_client(storage, gateway.url, "", Scope.IMPORT_AUTHDATA)
    answer = gateway.call(method, path, b"", {"Authorization": f"Bearer {client.token}"})
    check_refusal(answer, 403, "import_inbox")
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_a_document_of_another_tenant_is_not_found_like_one_that_does_not_exist(
    gateway: GatewayProcess, ready: Sender, sender: Sender
) -> None:
    other = item_of(send_document(gateway, ready, Form(file_name="theirs.pdf")))["documentId"]
    messages = {
        check_refusal(gateway.get(f"/api/documents/{document_id}/content", sender), 404)
        for document_id in (other, str(uuid.uuid4()), "no-guid", "a%27b", "x" * 300)
    }
    assert len(messages) == 1
    assert gateway.get("/api/documents?workerexternalId=P1", sender).json["items"] == []
    assert gateway.get(f"/api/documents/{other.upper()}/content", ready).status == 200


@pytest.mark.parametrize(
    "query", ["pageSize=0", "pageSize=1001", "continuation=!", "continuation=MQ"]
)
def test_a_list_that_is_asked_for_wrongly_is_refused(
    gateway: GatewayProcess, ready: Sender, query: str
) -> None:
    check_refusal(gateway.get(f"/api/documents?{query}", ready), 400)


def test_the_list_is_paged_and_limited_over_http(gateway: GatewayProcess, ready: Sender) -> None:
    names = {f"page {number}.pdf" for number in range(5)}
    for name in names:
        send_document(gateway, ready, Form(worker="P4", file_name=name, round_code="run"))
    query = "workerexternalId=P4&communicationRoundCode=run&pageSize=2"
    file_names, continuation = set(), ""
    while True:
        page = gateway.get(f"/api/documents?{query}{continuation}", ready).json
        file_names |= {item["fileName"] for item in page["items"]}
        if page["continuation"] is None:
            break
        continuation = f"&continuation={page['continuation']}"
    assert file_names == names


def test_no_value_of_an_upload_is_logged(gateway: GatewayProcess, ready: Sender) -> None:
    mark = "zqxjdoc"
    for form in (
        Form(worker=mark),
        Form(round_code=mark),
        Form(file_name=f"{mark}.pdf"),
        Form(file_name=f"{mark}.pdf", content=b"MZ"),
        Form(more=[(mark, mark)], generation_time=mark),
    ):
        send_document(gateway, ready, form)
    gateway.get(f"/api/documents?workerexternalId={mark}", ready)
    assert mark not in gateway.log()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Größe £ 5".encode("cp1252"), "text/plain"),
        ("hello".encode("utf-16"), "text/plain; charset=utf-16"),
        ("Größe".encode(), "text/plain; charset=utf-8"),
    ],
)
def test_a_text_comes_back_with_the_charset_that_it_has(
    gateway: GatewayProcess, ready: Sender, content: bytes, expected: str
) -> None:
    form = Form(file_name=f"{uuid.uuid4().hex}.txt", content=content)
    document_id = item_of(send_document(gateway, ready, form))["documentId"]
    answer = gateway.get(f"/api/documents/{document_id}/content", ready)
    assert (answer.body, answer.headers["content-type"]) == (content, expected)


def test_an_encoded_part_is_stored_decoded_and_a_changed_body_is_refused(
    gateway: GatewayProcess, ready: Sender
) -> None:
    form = Form(file_name="encoded.pdf", content=base64.encodebytes(PDF))
    marked = b'filename="encoded.pdf"\r\nContent-Transfer-Encoding: base64'
    body = form.body().replace(b'filename="encoded.pdf"', marked)
    item = item_of(gateway.call("POST", UPLOAD, body, upload_headers(ready)))
    answer = gateway.get(f"/api/documents/{item['documentId']}/content", ready)
    assert answer.body == PDF
    headers = upload_headers(ready, **{"Content-MD5": base64.b64encode(bytes(16)).decode()})
    check_refusal(gateway.call("POST", UPLOAD, form.body(), headers), 400, "Content-MD5")
