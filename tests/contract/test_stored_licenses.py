"""Licenses in storage: their documents, and calls at the same time (docs/contracts.md#2)."""

from __future__ import annotations

import base64
import json
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import unquote

import pytest

from tests.contract.calls import (
    MAX_DOCUMENT_BYTES,
    a_license,
    check_refusal,
    counted,
    send_licenses,
    stored_blobs,
    stored_licenses,
)
from tests.e2e.gateway_process import GatewayProcess
from tests.tenants import Sender
from tests.unit.imports.licenses.license_bodies import KEY, license_form, license_xml

pytestmark = pytest.mark.e2e


# Documents of licenses over HTTP: their bytes and metadata in blob storage, and their end.


def doc(name: str, data: bytes, **fields: Any) -> dict[str, Any]:
    return {"name": name, "content": base64.b64encode(data).decode(), **fields}


def test_a_document_is_stored_in_a_blob_with_its_metadata(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    name = "Lizenz \u00dc\u4e2d\U0001f4c4 100%/..\\a=b;c.pdf\u000b"
    sent = [
        doc(name, b"\0\xff", documentTypeCode=" T\u00e9 ", mimeType='a/b; c="d"'),
        {"name": "x"},
    ]
    rows = [a_license(licenseKey=KEY, documents=sent)]
    assert counted(send_licenses(gateway, sender, rows)) == (1, 0, 0)
    [license_] = stored_licenses(storage, sender)
    described, bare = license_["documents"]
    blobs = stored_blobs(storage, sender)
    assert list(blobs) == [described["blob"]]
    blob = blobs[described["blob"]]
    assert blob.data == b"\0\xff"
    assert {key: unquote(value) for key, value in blob.metadata.items()} == {
        "name": name,
        "documenttypecode": " T\u00e9 ",
        "mimetype": 'a/b; c="d"',
        "licensekey": KEY,
    }
    assert all(value.isascii() for value in blob.metadata.values())
    assert bare == {"name": "x"}


def test_metadata_have_room_for_the_longest_names(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    long = "\u4e2d" * 3_000
    sent = [doc(long, b"1", documentTypeCode=long, mimeType=long)]
    assert counted(send_licenses(gateway, sender, [a_license(documents=sent)])) == (1, 0, 0)
    [blob] = stored_blobs(storage, sender).values()
    for name in ("name", "documenttypecode", "mimetype"):
        assert long.startswith(unquote(blob.metadata[name]))


def test_the_same_bytes_keep_their_blob_and_other_bytes_get_one_of_their_own(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    both = [doc("a", b"1"), doc("b", b"2")]
    send_licenses(gateway, sender, [a_license(documents=both), a_license("L2", documents=both)])
    assert len(stored_blobs(storage, sender)) == 4

    send_licenses(gateway, sender, [a_license(documents=[doc("b", b"3")])], "importAction=Merge")
    first, _ = (each["documents"] for each in stored_licenses(storage, sender))
    blobs = stored_blobs(storage, sender)
    assert {each["name"]: blobs[each["blob"]].data for each in first} == {"a": b"1", "b": b"3"}
    assert len(blobs) == 5, "what was replaced stays for an undo"

    send_licenses(gateway, sender, [a_license(documents=[doc("b", b"3")], notes="x")])
    send_licenses(gateway, sender, [a_license("L3")], "importAction=Replace")
    assert stored_blobs(storage, sender) == blobs


def test_bytes_that_a_later_row_replaces_and_those_of_failed_rows_are_not_stored(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    rows = [
        a_license(documents=[doc("a", b"1")]),
        a_license(documents=[doc("a", b"2")]),
        a_license("L2", documents=[doc("a", b"3")], issuedDate="no date"),
        a_license("L3", "8", documents=[doc("a", b"4")]),
    ]
    send_licenses(gateway, sender, rows, "importAction=Merge")
    assert sorted(blob.data for blob in stored_blobs(storage, sender).values()) == [b"2", b"4"]


@pytest.mark.parametrize("kind", ["application/json", "text/xml", "form"])
def test_a_document_over_its_limit_of_bytes_is_refused(
    gateway: GatewayProcess, sender: Sender, storage: str, kind: str
) -> None:
    def sent(size: int) -> bytes:
        text = base64.encodebytes(b"x" * size).decode()
        rows = [a_license(documents=[{"name": "a", "content": text}])]
        if kind == "form":
            return license_form(rows)
        return license_xml(rows) if kind == "text/xml" else json.dumps(rows).encode()

    media_type = "application/x-www-form-urlencoded" if kind == "form" else kind
    headers = {"Content_Type": media_type, "Accept": "application/json"}
    too_large = send_licenses(gateway, sender, sent(MAX_DOCUMENT_BYTES + 1), **headers)
    refusal = check_refusal(too_large, 413)
    assert str(MAX_DOCUMENT_BYTES) in refusal
    assert stored_licenses(storage, sender) == []
    assert counted(send_licenses(gateway, sender, sent(MAX_DOCUMENT_BYTES), **headers)) == (1, 0, 0)
    [blob] = stored_blobs(storage, sender).values()
    assert len(blob.data) == MAX_DOCUMENT_BYTES


# Simultaneous calls store a natural key once, in any order (docs/contracts.md#2).

ACTIONS = ("Insert", "Merge", "Override", "Replace")


def _naturals(licenses: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    return Counter(
        (each.get("employeeNumber"), each.get("licenseTypeCode"), each.get("licenseNumber"))
        for each in licenses
    )


def test_no_two_licenses_with_one_natural_key_however_many_call_at_once(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    """Some calls leave the keys to the gateway, others bring some, always others."""
    calls = [
        [
            a_license(
                f"L{at}", str(at % 3), **({"licenseKey": str(uuid.uuid4())} if call % 2 else {})
            )
            for at in range(40)
        ]
        for call in range(6)
    ]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(partial(send_licenses, gateway, sender), calls))
    new, updated, errors = (sum(part) for part in zip(*map(counted, answers), strict=True))
    assert (new, new + updated + errors) == (40, 240)
    naturals = _naturals(stored_licenses(storage, sender))
    assert naturals == Counter({(str(at % 3), "RN", f"L{at}"): 1 for at in range(40)})


def test_a_license_that_is_moved_never_meets_another_of_its_natural_key(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    """Rows by key move licenses, by their number alone, to where another call makes them."""
    keys = [str(uuid.uuid4()) for _ in range(20)]
    here = [
        a_license(f"L{at}", "7", divisionCode="D1", licenseKey=key) for at, key in enumerate(keys)
    ]
    assert counted(send_licenses(gateway, sender, here)) == (20, 0, 0)
    move = [{"companyCode": "C1", "licenseKey": key, "employeeNumber": "8"} for key in keys]
    make = [a_license(f"L{at}", "8", divisionCode="D1") for at in range(20)]
    with ThreadPoolExecutor(2) as pool:
        moved, created = pool.map(
            lambda rows: send_licenses(gateway, sender, rows, "importAction=Merge"), (move, make)
        )
    assert (counted(moved), counted(created)) in (
        ((0, 20, 0), (0, 20, 0)),
        ((0, 0, 20), (20, 0, 0)),
    )
    assert max(_naturals(stored_licenses(storage, sender)).values()) == 1


def test_replace_and_others_at_once_leave_one_of_each(
    gateway: GatewayProcess, sender: Sender, storage: str
) -> None:
    rows = [a_license(f"L{at}", str(at % 2)) for at in range(10)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(
                lambda action: send_licenses(gateway, sender, rows, f"importAction={action}"),
                ACTIONS,
            )
        )
    assert all(sum(counted(answer)) == 10 for answer in answers)
    assert sorted(_naturals(stored_licenses(storage, sender)).values()) == [1] * 10
