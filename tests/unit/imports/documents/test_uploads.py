"""An upload as the row of its import, ids that follow from what is uploaded, paths of drops."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from shared.imports.documents.model import (
    DropPath,
    Upload,
    WorkerKey,
    derived_id,
    path_fault,
    read_path,
    tenant_of,
)
from shared.imports.messages import Message

UPLOAD = Upload(
    "hr-1", "2026-01", 'ä "1".pdf', "2026-01-31T00:00:00.000Z", 7, "pdf", WorkerKey("E1", "P1")
)


@pytest.mark.parametrize("upload", [UPLOAD, replace(UPLOAD, worker=None, fault=Message(4010))])
def test_a_row_says_all_that_was_found_out(upload: Upload) -> None:
    line = upload.to_line()
    assert line.count(b"\n") == 1
    assert Upload.from_lines(line) == upload


def test_an_id_is_a_guid_that_depends_on_every_part_and_on_where_parts_end() -> None:
    ids = [UPLOAD.document_id("acme"), UPLOAD.document_id("other")]
    for change in (
        {"round_code": "2026-02"},
        {"file_name": "Ä.pdf"},
        {"worker": WorkerKey("E1", "P2")},
        {"worker": WorkerKey("E1P", "1")},
    ):
        ids.append(replace(UPLOAD, **change).document_id("acme"))
    assert len(set(ids)) == len(ids)
    form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(form.fullmatch(each) for each in ids)
    assert derived_id("a", "b") != derived_id("ab")


def test_how_a_worker_was_named_and_what_was_sent_makes_no_other_document() -> None:
    same = replace(UPLOAD, worker_ref="P1", size=8, generation_time="2025-01-01T00:00:00.000Z")
    assert same.document_id("acme") == UPLOAD.document_id("acme")


def test_a_path_has_four_segments_percent_encoded() -> None:
    found = read_path("acme/Q1%2F2026/%C3%84 1/a%25b.pdf")
    assert found == DropPath("acme", "Q1/2026", "Ä 1", "a%b.pdf")


@pytest.mark.parametrize(
    "name",
    [
        "acme/r/w", "acme/r/w/f/more", "acme//w/f.pdf", "acme/r/w/", "Acme/r/w/f.pdf",
        "ac/r/w/f.pdf", "/acme/r/w/f.pdf", "acme/r/%zz/f.pdf", "acme/r/%C3/f.pdf", "acme/r/%/f.pdf",
        "f.pdf", "",
    ],
)  # fmt: skip
def test_any_other_path_is_none(name: str) -> None:
    assert read_path(name) is None


def test_the_tenant_is_known_where_the_rest_is_not() -> None:
    assert tenant_of("acme/x") == "acme"
    assert tenant_of("../x") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acme/r/w/f/more.pdf", "it has 5 parts and 4 are expected"),
        ("a.pdf", "it has 1 parts and 4 are expected"),
        ("acme//w/f.pdf", "its round is empty"),
        ("acme/r//f.pdf", "its worker is empty"),
        ("acme/r/w/", "its file name is empty"),
        ("acme/r/100%/f.pdf", "its worker has a percent sign that encodes nothing; write it as"),
        ("acme/%FC/w/f.pdf", "its round is not UTF-8 once it is decoded"),
        ("Acme Ltd/r/w/f.pdf", "its tenant is no id of a tenant"),
    ],
)
def test_a_path_that_is_none_is_told_which_part_of_it_is_wrong(name: str, said: str) -> None:
    assert path_fault(name).startswith(said)
    assert read_path(name) is None
