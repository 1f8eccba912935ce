"""The messages that only licenses have: faults in the row or against stored licenses."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from shared.imports.messages import CatalogueEntry, Severity, declare_messages


class LicenseMessageId(IntEnum):
    """The ids of the messages."""

    LICENSE_KEYS_DIFFER = 3001
    CONTENT_NOT_BASE64 = 3002
    LICENSE_NOT_IDENTIFIED = 3003
    LICENSE_EXISTS = 3004
    NO_LICENSE_TO_UPDATE = 3005
    NO_LICENSE_TO_DELETE = 3006
    OTHER_LICENSE_FAILED = 3007
    LICENSE_NUMBER_TAKEN = 3008


def _entries() -> tuple[CatalogueEntry, ...]:
    return tuple(
        CatalogueEntry(id_, Severity.ERROR, text, advice, "docs/contracts.md#2")
        for id_, text, advice in (
            (
                LicenseMessageId.LICENSE_KEYS_DIFFER,
                "License keys of the row differ",
                "Send licenseKey and serializableLicenseKey with the same value, or one of them.",
            ),
            (
                LicenseMessageId.CONTENT_NOT_BASE64,
                "Document content is not base64",
                "Send the file's bytes in base64 with its padding; line breaks are ignored.",
            ),
            (
                LicenseMessageId.LICENSE_NOT_IDENTIFIED,
                "License cannot be identified",
                "Send licenseKey, or employeeNumber or employeePersonalId with the license's own "
                "type and number.",
            ),
            (
                LicenseMessageId.LICENSE_EXISTS,
                "License already exists in the system",
                "Leave the license out, or import it with another importAction than Insert.",
            ),
            (
                LicenseMessageId.NO_LICENSE_TO_UPDATE,
                "License to update does not exist",
                "Correct the key of the license, or import it with Merge or Override.",
            ),
            (
                LicenseMessageId.NO_LICENSE_TO_DELETE,
                "License to delete does not exist",
                "Nothing has to be done if it was deleted before; else correct its key.",
            ),
            (
                LicenseMessageId.OTHER_LICENSE_FAILED,
                "Not applied, because another license of the employee failed",
                "Correct the employee's other rows; Replace takes all of an employee or none.",
            ),
            (
                LicenseMessageId.LICENSE_NUMBER_TAKEN,
                "Another license has the same employee, type and number",
                "Send the key of that license, or correct the type or the number.",
            ),
        )
    )


LICENSE_MESSAGES: Final = declare_messages(*_entries())
