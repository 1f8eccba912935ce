"""Licenses v1 over HTTP: the samples, formats, importAction, deletion, refusals, retries."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from lxml import etree

from shared.imports.licenses.xml_reader import ENTITY_KEY, OUTPUT, VALUE
from tests.contract.calls import (
    GUID,
    LICENSES,
    MAX_BODY_BYTES,
    a_license,
    check_refusal,
    counted,
    send_licenses,
    stored_licenses,
)
from tests.e2e.gateway_process import Answer, GatewayProcess
from tests.tenants import Sender
from tests.unit.imports.licenses.license_bodies import (
    KEY,
    golden,
    license_form,
    license_xml,
    sample_rows,
)

pytestmark = pytest.mark.e2e


# Licenses v1 over HTTP: the vendor's samples, formats, importAction, deletion, refusals.

SAMPLE_COMPANY = "sample string 9"
XML, FORM = "text/xml", "application/x-www-form-urlencoded"
BAD = [
    a_license(documents=[{"content": "?"}, {"content": "?", "mimeType": 5}]),
    a_license("L2", companyCode=None),
    a_license("L3"),
]


def shape(value: Any) -> Any:
    """Names and kinds of a JSON value; of a list, of its elements together."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value)


def outline(element: etree._Element) -> list[str]:
    """The way to each element, each once, in order of appearance."""
    paths: dict[str, None] = {}

    def walk(item: etree._Element, path: str) -> None:
        here = f"{path}/{item.tag}"
        paths[here] = None
        for child in item:
            walk(child, here)

    walk(element, "")
    return list(paths)


def test_the_vendors_json_sample(gateway: GatewayProcess, sender: Sender) -> None:
    answer = send_licenses(gateway, sender, golden("request.json"))
    assert answer.status == 200, answer.body
    assert answer.json == {
        "newRecords": 1,
        "updatedRecords": 1,
        "errors": [],
        "newRecordKeys": [{"index": 0, "key": KEY}],
        "updatedRecordKeys": [{"index": 1, "key": KEY}],
        "importKey": answer.headers["x-import-id"],
    }


@pytest.mark.parametrize("media_type", ["text/xml", "application/xml", "Text/XML; charset=utf-8"])
def test_the_vendors_xml_sample_leaves_what_the_json_sample_leaves(
    gateway: GatewayProcess,
    sender: Sender,
    unused_senders: Iterator[Sender],
    storage: str,
    media_type: str,
) -> None:
    other = next(unused_senders)
    headers = {"Content_Type": media_type, "Accept": "application/json"}
    answer = send_licenses(gateway, sender, golden("request.xml"), **headers)
    assert (
        counted(answer)
        == counted(send_licenses(gateway, other, golden("request.json")))
        == (1, 1, 0)
    )
    [license_] = stored_licenses(storage, sender, SAMPLE_COMPANY)
    [as_json] = stored_licenses(storage, other, SAMPLE_COMPANY)
    assert _without_blobs(license_) == _without_blobs(as_json)
    [sent, _] = sample_rows()
    [document] = license_.pop("documents")
    [described, _] = sent.pop("documents")
    del sent["serializableLicenseKey"], described["content"]
    assert license_ == sent
    assert document | described == document


def _without_blobs(license_: dict[str, Any]) -> dict[str, Any]:
    documents = [{**each, "blob": ""} for each in license_["documents"]]
    return license_ | {"documents": documents}


def _failing(gateway: GatewayProcess, sender: Sender, accept: str) -> Answer:
    """An answer with something in every list."""
    send_licenses(gateway, sender, [a_license("L0")])
    return send_licenses(gateway, sender, [*BAD, a_license("L0", notes="x")], Accept=accept)


def test_an_answer_in_json_has_the_fields_of_the_vendors_sample(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = _failing(gateway, sender, "application/json")
    assert answer.headers["content-type"] == "application/json"
    assert shape(answer.json) == shape(json.loads(golden("result.json")))
    assert list(answer.json) == list(json.loads(golden("result.json")))
    assert counted(answer) == (1, 1, 2)
    [first, second] = answer.json["errors"]
    assert [(each["propertyName"], each["arrayIndex"]) for each in first["details"]] == [
        ("Documents.Content", 0),
        ("Documents.Content", 1),
        ("Documents.MimeType", 1),
    ]
    assert second == {
        "index": 1,
        "details": [
            {"propertyName": "CompanyCode", "errorMessages": ["Required field missing or empty"]}
        ],
    }


@pytest.mark.parametrize("accept", ["text/xml", "application/xml"])
def test_an_answer_in_xml_has_the_elements_of_the_vendors_sample(
    gateway: GatewayProcess, sender: Sender, accept: str
) -> None:
    answer = _failing(gateway, sender, accept)
    assert answer.headers["content-type"].startswith(accept)
    root = etree.fromstring(answer.body)
    assert outline(root) == outline(etree.fromstring(golden("result.xml")))
    key = root.findtext(f"{{{OUTPUT}}}ImportKey/{ENTITY_KEY}/{VALUE}")
    assert key == answer.import_id
    later = gateway.call(
        "GET",
        f"/api/imports/{answer.import_id}/answer",
        None,
        {**sender.headers, "Accept": accept},
    )
    assert (later.status, later.body) == (200, answer.body)


def test_a_form_says_the_same_as_json(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    [row, _] = sample_rows()
    for in_brackets in (False, True):
        body = license_form([row], in_brackets=in_brackets)
        answer = send_licenses(gateway, sender, body, "importAction=merge", Content_Type=FORM)
        assert counted(answer) == ((0, 1, 0) if in_brackets else (1, 0, 0))
    [license_] = stored_licenses(storage, sender, SAMPLE_COMPANY)
    assert license_["reminder"] == row["reminder"]
    assert license_["employeePersonalId"] == 1


def test_faults_of_rows_are_the_same_in_all_formats(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_license(issuedDate="2021-02-29"), a_license(employee="x" * 201), {"notes": "x"}]
    bodies = {
        "application/json": json.dumps(rows).encode(),
        XML: license_xml(rows),
        FORM: license_form(rows),
    }
    answers = [
        send_licenses(gateway, sender, body, Content_Type=kind, Accept="application/json").json[
            "errors"
        ]
        for kind, body in bodies.items()
    ]
    assert answers[0] == answers[1] == answers[2]
    assert [error["index"] for error in answers[0]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/json"),
        ("application/xml;q=0.9, application/json;q=0.8", "application/xml"),
        ("application/json;q=0.5, text/xml", "text/xml"),
        ("text/html, application/xml;q=0.9, */*;q=0.8", "application/xml"),
        ("application/xml;q=0, */*", "application/json"),
    ],
)
def test_the_answer_has_the_form_that_the_caller_likes_best(
    gateway: GatewayProcess, sender: Sender, accept: str, chosen: str
) -> None:
    answer = send_licenses(gateway, sender, [], Accept=accept)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, chosen)
    assert "x-import-id" not in answer.headers


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0, application/xml;q=0"])
def test_an_accept_header_without_a_usable_type_is_406(
    gateway: GatewayProcess, sender: Sender, accept: str
) -> None:
    refusal = check_refusal(send_licenses(gateway, sender, [a_license()], Accept=accept), 406)
    assert "application/json" in refusal
    assert "text/xml" in refusal


@pytest.mark.parametrize(
    ("media_type", "encoding"),
    [
        ("text/plain", ""),
        ("multipart/form-data", ""),
        ("text/xml; charset=latin1", ""),
        ("application/json", "br"),
    ],
)
def test_a_content_type_that_cannot_be_read_is_415(
    gateway: GatewayProcess, sender: Sender, media_type: str, encoding: str
) -> None:
    sent = {"Content_Type": media_type} | ({"Content_Encoding": encoding} if encoding else {})
    refusal = check_refusal(send_licenses(gateway, sender, [a_license()], **sent), 415)
    assert encoding or "text/xml" in refusal


@pytest.mark.parametrize("media_type", ["text/json", "application/problem+json"])
def test_other_media_types_of_json_are_read_as_json(
    gateway: GatewayProcess, sender: Sender, media_type: str
) -> None:
    assert counted(send_licenses(gateway, sender, [a_license()], Content_Type=media_type)) == (
        1,
        0,
        0,
    )


def check_xml_refusal(answer: Answer, status: int) -> str:
    """A refusal in XML, with everything else that a refusal has; returns the message."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"].startswith(("text/xml", "application/xml"))
    assert GUID.fullmatch(answer.headers["x-correlation-id"])
    root = etree.fromstring(answer.body)
    assert [child.tag for child in root] == ["Message"]
    message = root.findtext("Message")
    assert message
    return message


@pytest.mark.parametrize(
    ("body", "query", "media_type", "status"),
    [
        (b"<a", "", XML, 400),
        (b"[", "", "application/json", 400),
        (b"[1]", "", "application/json", 501),
        (b"[]", "importAction=Upsert", "application/json", 400),
        (b"[]", "allowSameFile=maybe", "application/json", 400),
        (b"[]", "", "text/plain", 415),
        (b"[" + b" " * MAX_BODY_BYTES + b"]", "", "application/json", 413),
    ],
)
def test_a_caller_that_reads_only_xml_is_refused_in_xml(
    gateway: GatewayProcess, sender: Sender, body: bytes, query: str, media_type: str, status: int
) -> None:
    sent = {"Content_Type": media_type}
    refusal = check_xml_refusal(
        send_licenses(gateway, sender, body, query, Accept="application/xml", **sent), status
    )
    as_json = check_refusal(send_licenses(gateway, sender, body, query, **sent), status)
    both = send_licenses(
        gateway, sender, body, query, Accept="text/xml, application/json;q=0.1", **sent
    )
    assert refusal == as_json == check_refusal(both, status)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_an_unknown_caller_is_refused_in_xml_too(gateway: GatewayProcess, method: str) -> None:
    headers = {"Content-Type": XML, "Accept": "text/xml", "X-Functions-Key": "x"}
    check_xml_refusal(gateway.call(method, LICENSES, b"<a/>", headers), 401)
    check_refusal(gateway.call(method, LICENSES, b"[]", {"X-Functions-Key": "x"}), 401)


@pytest.mark.parametrize(
    ("content_type", "accept", "chosen"),
    [
        (XML, "", XML),
        (XML, "*/*", XML),
        (XML, "*; q=.2", XML),
        (XML, "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", XML),
        ("application/xml; charset=utf-8", "*/*", "application/xml"),
        ("APPLICATION/XML", "", "application/xml"),
        (XML, "application/*", "application/xml"),
        (XML, "application/json", "application/json"),
        (XML, "application/json, */*;q=0.1", "application/json"),
        ("text/json", "", "text/json"),
        ("application/problem+json", "", "application/json"),
        ("application/json", "*", "application/json"),
        ("application/json", "text/xml", XML),
        (FORM, "", "application/json"),
        (FORM, "*/*", "application/json"),
        (FORM, XML, XML),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_without_a_preference_the_answer_comes_in_the_type_of_the_request(
    gateway: GatewayProcess,
    sender: Sender,
    content_type: str,
    accept: str,
    chosen: str,
    method: str,
) -> None:
    rows = [a_license()]
    body = json.dumps(rows).encode()
    if "xml" in content_type.lower():
        body = license_xml(rows)
    elif content_type == FORM:
        body = license_form(rows)
    headers = {"Content_Type": content_type} | ({"Accept": accept} if accept else {})
    answer = send_licenses(gateway, sender, body, method=method, **headers)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, chosen)
    waiting = send_licenses(gateway, sender, body, method=method, Prefer="respond-async", **headers)
    assert waiting.status == 202
    media_type = waiting.headers["content-type"].partition(";")[0]
    assert media_type == (chosen if "xml" in chosen else "application/json")


@pytest.mark.parametrize(
    ("content_type", "accept", "later"),
    [
        (XML, "", XML),
        ("application/xml", "*/*", "application/xml"),
        (XML, "text/json", "text/json"),
    ],
)
def test_the_answer_that_is_fetched_later_has_the_form_that_the_call_had(
    gateway: GatewayProcess, sender: Sender, content_type: str, accept: str, later: str
) -> None:
    headers = {"Content_Type": content_type} | ({"Accept": accept} if accept else {})
    answer = send_licenses(gateway, sender, license_xml([a_license()]), **headers)
    path = f"/api/imports/{answer.import_id}/answer"
    fetched = gateway.call("GET", path, None, sender.headers)
    assert fetched.headers["content-type"].partition(";")[0] == later
    assert fetched.body == answer.body
    chosen = gateway.call("GET", path, None, {**sender.headers, "Accept": "application/json"})
    assert chosen.json["newRecords"] == 1


@pytest.mark.parametrize("content_type", [XML, FORM, "application/json"])
def test_the_rows_of_a_dry_run_are_json_whatever_was_sent(
    gateway: GatewayProcess, sender: Sender, content_type: str
) -> None:
    rows = [a_license()]
    bodies = {XML: license_xml(rows), FORM: license_form(rows)}
    body = bodies.get(content_type) or json.dumps(rows).encode()
    query = "dryRun=true&view=rows"
    answer = send_licenses(gateway, sender, body, query, Content_Type=content_type)
    assert [item["outcome"] for item in answer.json["items"]] == ["new"]
    refused = send_licenses(
        gateway, sender, body, query, Content_Type=content_type, Accept="text/xml"
    )
    assert refused.status == 406


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("content_type", [XML, "application/json", "text/json"])
def test_utf_16_is_read_with_and_without_its_mark(
    gateway: GatewayProcess, sender: Sender, storage: str, codec: str, content_type: str
) -> None:
    rows = [a_license(notes="B\u00e4r \u5c71")]
    text = (license_xml(rows) if content_type == XML else json.dumps(rows).encode()).decode()
    if content_type == XML:
        text = '<?xml version="1.0" encoding="utf-16"?>' + text
    headers = {"Content_Type": f"{content_type}; charset=utf-16", "Accept": "application/json"}
    assert counted(send_licenses(gateway, sender, text.encode(codec), **headers)) == (1, 0, 0)
    [license_] = stored_licenses(storage, sender)
    assert license_["notes"] == "B\u00e4r \u5c71"


def test_a_control_character_in_xml_fails_its_row(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [a_license("L1"), a_license("L2", notes="a@b"), a_license("L3")]
    body = license_xml(rows).replace(b"a@b", b"a&#x1;b")
    answer = send_licenses(gateway, sender, body, Content_Type=XML, Accept="application/json")
    assert counted(answer) == (2, 0, 1)
    [error] = answer.json["errors"]
    assert (error["index"], error["details"][0]["propertyName"]) == (1, "Notes")
    assert "remove it" in error["details"][0]["errorMessages"][0]
    in_xml = send_licenses(gateway, sender, body, Content_Type=XML)
    assert b"<Index>1</Index>" in in_xml.body
    etree.fromstring(in_xml.body)


@pytest.mark.parametrize("action", ["Update", "Merge"])
def test_an_unset_value_of_a_dotnet_client_keeps_the_stored_one(
    gateway: GatewayProcess, sender: Sender, storage: str, action: str
) -> None:
    full = a_license(notes="n", employeePersonalId=5, issuedDate="2020-01-02")
    send_licenses(gateway, sender, [full])
    [before] = stored_licenses(storage, sender)
    unset: dict[str, Any] = {
        "notes": None,
        "employeePersonalId": 0,
        "issuedDate": None,
        "stateCode": None,
    }
    query = f"importAction={action}"
    for key in ("<empty>", "00000000-0000-0000-0000-000000000000", None):
        row = a_license(licenseKey=key, **unset)
        assert counted(send_licenses(gateway, sender, [row], query)) == (0, 1, 0)
    assert stored_licenses(storage, sender) == [before]
    send_licenses(gateway, sender, [a_license(notes="")], query)
    [after] = stored_licenses(storage, sender)
    assert "notes" not in after


def test_an_unknown_action_is_refused_with_the_known_actions(
    gateway: GatewayProcess, sender: Sender
) -> None:
    answer = send_licenses(gateway, sender, [a_license()], "importAction=Delete")
    check_refusal(answer, 400, "Insert, Update, Merge, Override, Replace")


@pytest.mark.parametrize("action", ["Insert", "update", "MERGE", "Override", "Replace", ""])
def test_every_action_is_known_in_any_case(
    gateway: GatewayProcess, sender: Sender, action: str
) -> None:
    send_licenses(gateway, sender, [a_license()])
    query = f"ImportACTION={action}" if action else ""
    answer = send_licenses(gateway, sender, [a_license(notes="x")], query)
    assert counted(answer) == ((0, 0, 1) if action == "Insert" else (0, 1, 0))


@pytest.mark.parametrize("accept", ["application/json", "text/xml"])
def test_an_import_that_is_not_waited_for_is_followed(
    gateway: GatewayProcess, sender: Sender, accept: str
) -> None:
    accepted = send_licenses(gateway, sender, [a_license()], Prefer="respond-async", Accept=accept)
    assert accepted.status == 202
    assert accepted.headers["location"] == f"/api/imports/{accepted.import_id}"
    assert accepted.headers["content-type"].startswith(accept)
    if accept == "text/xml":
        assert etree.fromstring(accepted.body).findtext("ImportId") == accepted.import_id
    gateway.ended(sender, accepted.import_id)
    path = f"/api/imports/{accepted.import_id}/answer"
    later = gateway.call("GET", path, None, {**sender.headers, "Accept": accept})
    assert later.status == 200
    assert later.headers["content-type"].startswith(accept)
    if accept == "application/json":
        assert counted(later) == (1, 0, 0)


@pytest.mark.parametrize(("method", "path"), [("DELETE", LICENSES), ("POST", f"{LICENSES}/delete")])
def test_licenses_are_deleted(
    gateway: GatewayProcess, sender: Sender, storage: str, method: str, path: str
) -> None:
    send_licenses(
        gateway, sender, [a_license("L1", licenseKey=KEY), a_license("L2"), a_license("L3")]
    )
    rows = [
        {"companyCode": "C1", "licenseKey": KEY},
        a_license("L2"),
        a_license("L2"),
        {"licenseKey": KEY},
        {"companyCode": "C1"},
    ]
    answer = send_licenses(gateway, sender, rows, method=method, path=path)
    assert counted(answer) == (0, 2, 3)
    assert answer.json["updatedRecordKeys"][0] == {"index": 0, "key": KEY}
    assert [error["index"] for error in answer.json["errors"]] == [2, 3, 4]
    assert [each["licenseNumber"] for each in stored_licenses(storage, sender)] == ["L3"]
    body = license_xml([a_license("L3")])
    sent = send_licenses(
        gateway, sender, body, method=method, path=path, Content_Type=XML, Accept=XML
    )
    assert etree.fromstring(sent.body).findtext(f"{{{OUTPUT}}}UpdatedRecords") == "1"
    assert stored_licenses(storage, sender) == []


def test_a_license_of_another_tenant_is_not_there(
    gateway: GatewayProcess, sender: Sender, unused_senders: Iterator[Sender], storage: str
) -> None:
    stranger = next(unused_senders)
    first = send_licenses(gateway, sender, [a_license(licenseKey=KEY)])
    assert counted(
        send_licenses(gateway, stranger, [a_license(licenseKey=KEY)], "importAction=Update")
    ) == (
        0,
        0,
        1,
    )
    assert counted(send_licenses(gateway, stranger, [a_license()], method="DELETE")) == (0, 0, 1)
    assert counted(send_licenses(gateway, stranger, [a_license(licenseKey=KEY)])) == (1, 0, 0)
    assert gateway.get(f"/api/imports/{first.import_id}/answer", stranger).status == 404
    assert len(stored_licenses(storage, sender)) == 1


def test_a_key_is_unique_within_its_company(gateway: GatewayProcess, sender: Sender) -> None:
    rows = [a_license(licenseKey=KEY), a_license(licenseKey=KEY, companyCode="C2")]
    assert counted(send_licenses(gateway, sender, rows)) == (2, 0, 0)


def test_an_idempotency_key_gives_the_first_answer_again(
    gateway: GatewayProcess, sender: Sender
) -> None:
    key = f"key {uuid.uuid4()}"
    rows = [a_license("L1"), a_license("L2", issuedDate="no date")]
    first = send_licenses(gateway, sender, rows, "allowSameFile=false", Idempotency_Key=key)
    again = send_licenses(gateway, sender, rows, "allowSameFile=false", Idempotency_Key=key)
    assert counted(first) == (1, 0, 1)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    other = send_licenses(gateway, sender, rows, "importAction=Merge", Idempotency_Key=key)
    check_refusal(other, 422)
    check_refusal(send_licenses(gateway, sender, rows, method="DELETE", Idempotency_Key=key), 422)


# Retrying licenses: under the action of the first import, whatever format its rows came in.


def _retried(
    gateway: GatewayProcess, sender: Sender, import_id: str, rows: list[Any]
) -> list[tuple[str, list[int]]]:
    """Outcome and message ids of each row of the child import."""
    path = f"/api/imports/{import_id}/retry"
    child = gateway.call("POST", path, json.dumps(rows).encode(), sender.headers)
    assert child.status == 200, child.body
    items = gateway.get(f"{child.json['links']['results']}", sender).json["items"]
    return [
        (item["outcome"], [message["errorID"] for message in item["messages"]])
        for item in sorted(items, key=lambda item: item["index"])
    ]


def test_a_license_as_it_was_sent_does_not_undo_a_later_import(
    gateway: GatewayProcess, sender: Sender
) -> None:
    rows = [a_license("L1", notes="first"), a_license("L2")]
    parent = send_licenses(gateway, sender, rows, "importAction=Update").import_id
    assert _retried(gateway, sender, parent, []) == [("failed", [3005])] * 2
    assert send_licenses(gateway, sender, [a_license("L1", notes="later")]).json["newRecords"] == 1
    assert _retried(gateway, sender, parent, [])[0] == ("failed", [1101])
    corrected = [{"index": 0, "row": a_license("L1", notes="corrected")}]
    assert _retried(gateway, sender, parent, corrected) == [("updated", []), ("failed", [3005])]


def test_rows_that_came_as_xml_are_shown_and_retried_as_json(
    gateway: GatewayProcess, sender: Sender
) -> None:
    sent = send_licenses(
        gateway, sender, golden("request.xml"), "importAction=Update", Content_Type="text/xml"
    )
    failed = gateway.get(f"/api/imports/{sent.import_id}/failed-rows", sender).json
    assert [item["index"] for item in failed] == [0, 1]
    assert all(item["row"]["companyCode"] for item in failed)
    results = _retried(gateway, sender, sent.import_id, failed)
    assert [(outcome, codes[-1]) for outcome, codes in results] == [("failed", 3005)] * 2
