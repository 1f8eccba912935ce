"""Documents of a license: by identity, with their bytes apart (docs/contracts.md#2)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from shared.imports.import_type import Document
from shared.imports.licenses.actions import IMPORT_ACTIONS, LicenseAction
from shared.imports.licenses.attachments import blobs_of, content_bytes, exported_documents
from tests.unit.imports.licenses.company import (
    UNCHANGED,
    UPDATED,
    Company,
    of_employee,
    told,
)

INSERT, UPDATE, MERGE, OVERRIDE, REPLACE = IMPORT_ACTIONS
KEEPING, SETTING = (UPDATE, MERGE), (OVERRIDE, REPLACE)


def doc(name: str | None, data: bytes | None = b"1", **fields: Any) -> dict[str, Any]:
    """A document as it is sent."""
    document = {} if name is None else {"name": name}
    if data is not None:
        document["content"] = base64.b64encode(data).decode()
    return document | fields


def _bytes(company: Company) -> dict[str | None, bytes | None]:
    """The bytes of each document of the one license, by name."""
    return {
        each.get("name"): company.contents.get(each.get("blob", "")) for each in _documents(company)
    }


def _documents(company: Company) -> list[Document]:
    found: list[Document] = company.only().get("documents", [])
    return found


def _with(*documents: dict[str, Any]) -> Company:
    return Company().holding(of_employee(documents=list(documents)))


def test_what_is_stored_of_a_document_is_all_but_its_bytes() -> None:
    described = {"sourcePath": "C:\\a", "mimeType": "odd", "documentTypeCode": "T"}
    company = _with(doc("a.pdf", b"bytes", **described))
    [stored] = _documents(company)
    blob = stored.pop("blob")
    assert stored == {
        "name": "a.pdf",
        **described,
        "sha256": hashlib.sha256(b"bytes").hexdigest(),
        "length": 5,
    }
    assert company.contents == {blob: b"bytes"}


def test_of_equal_documents_the_last_counts() -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"), doc("a", b"3"))
    assert _bytes(company) == {"a": b"3", "b": b"2"}
    assert sorted(company.contents.values()) == [b"2", b"3"]


@pytest.mark.parametrize(
    "other",
    [doc("A"), doc("a "), doc("a", documentTypeCode="T"), doc(None), doc(None, mimeType="x")],
)
def test_another_name_or_type_is_another_document(other: dict[str, Any]) -> None:
    assert len(_documents(_with(doc("a"), other))) == 2


def test_name_and_type_may_be_missing() -> None:
    company = _with(doc(None, b"1"), {"name": " ", "content": "Mg=="})
    assert _bytes(company) == {None: b"2"}


@pytest.mark.parametrize("action", KEEPING)
def test_documents_are_added_and_replaced_by_identity(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"))
    sent = of_employee(documents=[doc("b", b"3"), doc("c", b"4")])
    assert told(company.send(action, sent)) == [(UPDATED, [])]
    assert _bytes(company) == {"a": b"1", "b": b"3", "c": b"4"}


@pytest.mark.parametrize("action", SETTING)
def test_documents_are_set(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"), doc("b", b"2"))
    company.send(action, of_employee(documents=[doc("b", b"3"), doc("c", b"4")]))
    assert _bytes(company) == {"b": b"3", "c": b"4"}


@pytest.mark.parametrize(
    ("action", "sent", "left"),
    [
        *((action, {}, ["a"]) for action in KEEPING),
        *((action, {"documents": []}, ["a"]) for action in KEEPING),
        *((action, {"documents": None}, ["a"]) for action in KEEPING),
        *((action, {"documents": " "}, []) for action in KEEPING),
        *((action, {}, []) for action in SETTING),
        *((action, {"documents": []}, []) for action in SETTING),
        *((action, {"documents": None}, []) for action in SETTING),
    ],
)
def test_no_documents_an_empty_list_and_null(
    action: LicenseAction, sent: dict[str, Any], left: list[str]
) -> None:
    company = _with(doc("a"))
    company.send(action, of_employee(**sent))
    assert [each["name"] for each in _documents(company)] == left
    assert ("documents" in company.only()) is bool(left)


@pytest.mark.parametrize("action", [*KEEPING, *SETTING])
def test_the_same_bytes_again_change_nothing_and_keep_their_blob(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    before = company.only()
    assert told(company.send(action, of_employee(documents=[doc("a", b"1")]))) == [
        (UNCHANGED, [1103])
    ]
    assert company.only() == before
    changed = of_employee(notes="x", documents=[doc("a", b"1", sourcePath="p")])
    assert told(company.send(action, changed)) == [(UPDATED, [])]
    assert blobs_of(_documents(company)) == blobs_of(before["documents"])
    assert len(company.contents) == 1


@pytest.mark.parametrize("action", [*KEEPING, *SETTING])
def test_other_bytes_get_a_blob_of_their_own(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    [before] = _documents(company)
    company.send(action, of_employee(documents=[doc("a", b"2")]))
    company.send(action, of_employee(documents=[doc("a", b"1")]))
    [after] = _documents(company)
    assert after["sha256"] == before["sha256"]
    assert after["blob"] != before["blob"]
    assert len(company.contents) == 3


def test_a_blob_belongs_to_one_document() -> None:
    company = _with(doc("a", b"1"), doc("b", b"1"))
    assert len(blobs_of(_documents(company))) == 2


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": " "}])
@pytest.mark.parametrize("action", KEEPING)
def test_without_content_a_document_keeps_its_bytes_where_what_is_absent_is_kept(
    action: LicenseAction, content: dict[str, Any]
) -> None:
    company = _with(doc("a", b"1", mimeType="x", sourcePath="p"))
    company.send(action, of_employee(documents=[{"name": "a", "mimeType": "y", **content}]))
    [stored] = _documents(company)
    assert (stored["mimeType"], "sourcePath" in stored) == ("y", False)
    assert _bytes(company) == {"a": b"1"}


@pytest.mark.parametrize("action", SETTING)
def test_without_content_a_document_loses_its_bytes_where_the_list_is_set(
    action: LicenseAction,
) -> None:
    company = _with(doc("a", b"1"))
    company.send(action, of_employee(documents=[{"name": "a"}]))
    assert _documents(company) == [{"name": "a"}]


@pytest.mark.parametrize("action", [*KEEPING, *SETTING])
def test_what_was_read_back_can_be_sent_again_and_keeps_its_bytes(action: LicenseAction) -> None:
    company = _with(doc("a", b"1", sourcePath="p"), doc("b", b"2"), doc("c", None))
    before = company.only()
    sent = {**before, "documents": exported_documents(before["documents"])}
    assert [set(each) & {"content", "blob", "length"} for each in sent["documents"]] == [set()] * 3
    assert told(company.send(action, sent)) == [(UNCHANGED, [1103])]
    assert company.only() == before


@pytest.mark.parametrize("action", SETTING)
def test_the_digest_of_other_bytes_keeps_none(action: LicenseAction) -> None:
    company = _with(doc("a", b"1"))
    other = hashlib.sha256(b"2").hexdigest()
    company.send(action, of_employee(documents=[{"name": "a", "sha256": other}]))
    assert _documents(company) == [{"name": "a"}]


@pytest.mark.parametrize("action", [INSERT, MERGE, OVERRIDE, REPLACE])
def test_a_document_may_come_without_content(action: LicenseAction) -> None:
    company = Company()
    company.send(action, of_employee(documents=[doc("a", None), doc("b", b"")]))
    assert _documents(company) == [{"name": "a"}, {"name": "b"}]


def test_rows_of_one_license_file_their_documents_one_after_another() -> None:
    company = Company()
    rows = [
        of_employee(documents=[doc("a", b"1")]),
        of_employee(documents=[doc("a", b"2"), doc("b", b"3")]),
        of_employee(documents=[doc("b", b"4")]),
    ]
    company.send(MERGE, *rows)
    assert _bytes(company) == {"a": b"2", "b": b"4"}


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 100])
def test_the_size_of_a_document_is_that_of_its_bytes(length: int) -> None:
    text = base64.encodebytes(b"x" * length).decode()
    for content in (text, text.replace("\n", ""), text.replace("\n", "\r\n\t ")):
        assert content_bytes([{"content": content}, {"name": "a"}, 5]) == length


@pytest.mark.parametrize("documents", [None, {}, "x", [None], [{"content": 5}], [["content"]]])
def test_what_holds_no_document_has_no_size(documents: object) -> None:
    assert content_bytes(documents) == 0
