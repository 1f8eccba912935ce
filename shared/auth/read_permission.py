"""What a caller may read of stored records (docs/contracts.md#7)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class ReadPermission(StrEnum):
    """How much of stored records a caller may read; the value is what `--read` takes."""

    NONE = "none"
    MASKED = "masked"
    FULL = "full"


# What each value says, for the documents.
READ_MEANINGS: Final[Mapping[ReadPermission, str]] = {
    ReadPermission.NONE: "The caller may not read records.",
    ReadPermission.MASKED: "The caller reads records; sensitive values are masked.",
    ReadPermission.FULL: "The caller reads records with their sensitive values.",
}
