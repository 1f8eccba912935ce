"""What a form says of its size, before it is read."""

from __future__ import annotations

import pytest

from shared.errors import TooLargeError
from shared.web.document_form import check_form_size
from shared.web.multipart import MAX_FIELD_BYTES


def test_a_body_that_must_hold_too_large_a_file_is_told_its_own_size() -> None:
    check_form_size(100 + MAX_FIELD_BYTES, most=100)
    with pytest.raises(TooLargeError, match=f"The body has {101 + MAX_FIELD_BYTES} bytes"):
        check_form_size(101 + MAX_FIELD_BYTES, most=100)
