"""What a form says of its size, before it is read."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO

import pytest

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.documents.http import check_form_size, read_upload
from shared.web.requests import MAX_FIELD_BYTES, Form, SentFile


def test_a_body_that_must_hold_too_large_a_file_is_told_its_own_size() -> None:
    check_form_size(100 + MAX_FIELD_BYTES, most=100)
    with pytest.raises(TooLargeError, match=f"The body has {101 + MAX_FIELD_BYTES} bytes"):
        check_form_size(101 + MAX_FIELD_BYTES, most=100)


def a_form(files: tuple[SentFile, ...] = (), **fields: str) -> Form:
    folded = {name.lower(): value for name, value in fields.items()}
    return Form(folded, files, frozenset())


def refusal_of(form: Form) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        read_upload(form, datetime(2026, 1, 1, tzinfo=UTC), frozenset({"txt"}), 100)
    return refused.value.message


def test_a_form_with_several_faults_is_refused_with_all_of_them() -> None:
    form = a_form((SentFile("file", "../a.txt", BytesIO(b"")),), isSummary="true")
    message = refusal_of(form)
    for fault in (
        "isSummary",
        "workerexternalId",
        "communicationRoundCode",
        "generationTime",
        "The file name",
        "The file is empty",
    ):
        assert message.count(fault) == 1
    assert message.endswith(".")
    assert "The form has no file" in refusal_of(a_form(workerexternalId="x"))
