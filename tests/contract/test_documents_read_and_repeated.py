"""Documents: dry runs, repeated calls, reading back, and who may.

See docs/contracts.md#0 and docs/contracts.md#4.
"""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from shared.auth.clients import Scope
from tests.builders import a_worker
from tests.contract.document_calls import UPLOAD, item_of, send
from tests.contract.refusals import check_refusal
from tests.documents import BOUNDARY, PDF, Form, upload_headers
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender
from tests.tokens import a_token_client

pytestmark = pytest.mark.e2e


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
    document_id = item_of(send(gateway, ready, form))["documentId"]
    again = item_of(tried(form))
    assert (again["documentId"], again["overridden"]) == (document_id, True)
    [row] = tried(Form(file_name="tried.pdf", content=PDF + b" "), "&view=rows").json["items"]
    assert row["outcome"] == "updated"
    assert row["changes"] == [{"field": "size", "before": len(PDF), "after": len(PDF) + 1}]


def test_an_idempotency_key_stands_for_one_upload(gateway: GatewayProcess, ready: Sender) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    form = Form(file_name="once.pdf")
    first = send(gateway, ready, form, **key)
    body = form.body().replace(BOUNDARY.encode(), b"another-boundary")
    headers = upload_headers(ready, **key)
    headers["Content-Type"] = "multipart/form-data; boundary=another-boundary"
    again = gateway.call("POST", UPLOAD, body, headers)
    assert (again.json, again.import_id) == (first.json, first.import_id)
    assert again.headers["idempotent-replayed"] == "true"
    other = send(gateway, ready, Form(file_name="once.pdf", content=PDF + b" "), **key)
    assert other.status == 422


def test_a_refused_upload_does_not_use_up_its_key(gateway: GatewayProcess, ready: Sender) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    form = Form(worker="late", file_name="late.pdf")
    assert send(gateway, ready, form, **key).status == 404
    gateway.post(ready, [a_worker("late")])
    assert item_of(send(gateway, ready, form, **key))["overridden"] is False


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
    theirs = item_of(send(gateway, ready, Form(file_name="theirs.pdf")))["documentId"]
    messages = {
        check_refusal(gateway.get(f"/api/documents/{document_id}/content", sender), 404)
        for document_id in (theirs, str(uuid.uuid4()), "no-guid", "a%27b", "x" * 300)
    }
    assert len(messages) == 1
    assert gateway.get("/api/documents?workerexternalId=P1", sender).json["items"] == []
    assert gateway.get(f"/api/documents/{theirs.upper()}/content", ready).status == 200


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
        send(gateway, ready, Form(worker="P4", file_name=name, round_code="run"))
    query = "workerexternalId=P4&communicationRoundCode=run&pageSize=2"
    found, continuation = set(), ""
    while True:
        page = gateway.get(f"/api/documents?{query}{continuation}", ready).json
        found |= {item["fileName"] for item in page["items"]}
        if page["continuation"] is None:
            break
        continuation = f"&continuation={page['continuation']}"
    assert found == names


def test_no_value_of_an_upload_is_logged(gateway: GatewayProcess, ready: Sender) -> None:
    mark = "zqxjdoc"
    for form in (
        Form(worker=mark),
        Form(round_code=mark),
        Form(file_name=f"{mark}.pdf"),
        Form(file_name=f"{mark}.pdf", content=b"MZ"),
        Form(more=[(mark, mark)], generation_time=mark),
    ):
        send(gateway, ready, form)
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
    document_id = item_of(send(gateway, ready, form))["documentId"]
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
