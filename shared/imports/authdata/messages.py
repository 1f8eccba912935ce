"""The messages that only authentication data has.

Faults of a record from 5001 on, the class of a record from 5101 on.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from shared.imports.messages import CatalogueEntry, Severity, declare_messages


class AuthdataMessageId(IntEnum):
    """The ids of the messages."""

    NO_AUTHENTICATION_VALUE = 5001
    VALUES_OF_OTHER_EMPLOYEE = 5002
    VALUES_CLAIMED_TWICE = 5003
    VALUES_LEFT_TWICE = 5004
    VALUES_NOT_COMPLETABLE = 5005
    STOPPED_BY_THRESHOLD = 5006
    DUPLICATE_RECORD = 5101
    EMPTY_RECORD = 5102
    VALUES_CHANGED = 5103
    EMPLOYEE_ID_CHANGED = 5104
    STATUS_CHANGED = 5105


def _entries() -> tuple[CatalogueEntry, ...]:
    error, info = Severity.ERROR, Severity.INFO
    return tuple(
        CatalogueEntry(id_, severity, text, advice, "docs/contracts.md#3")
        for id_, severity, text, advice in (
            (
                AuthdataMessageId.NO_AUTHENTICATION_VALUE,
                error,
                "Record has no authentication value",
                "Send a value, or set allowNoAuth where employees may have none.",
            ),
            (
                AuthdataMessageId.VALUES_OF_OTHER_EMPLOYEE,
                error,
                "Another employee has the same authentication values",
                "Correct the values or the employeeId; first change the other employee if both "
                "are right.",
            ),
            (
                AuthdataMessageId.VALUES_CLAIMED_TWICE,
                error,
                "Authentication values belong to an employee whose own id is in the batch too",
                "Send the employee under one id, the old one, or the new one to rename it.",
            ),
            (
                AuthdataMessageId.VALUES_LEFT_TWICE,
                error,
                "Another record of the batch leaves the same authentication values",
                "Send all values of both records and correct those that are equal.",
            ),
            (
                AuthdataMessageId.VALUES_NOT_COMPLETABLE,
                error,
                "Stored authentication values cannot be completed",
                "Send all values of the employee, since the key of the stored ones is configured "
                "no longer.",
            ),
            (
                AuthdataMessageId.STOPPED_BY_THRESHOLD,
                error,
                "A threshold of the tenant has stopped the batch",
                "Check the batch; if it is right, ask the operator of the gateway to change the "
                "threshold, and stage it again.",
            ),
            (
                AuthdataMessageId.DUPLICATE_RECORD,
                info,
                "Duplicate of another record of the batch",
                "Nothing has to be done; the record with more data, or the last one, was taken.",
            ),
            (
                AuthdataMessageId.EMPTY_RECORD,
                info,
                "Record without data",
                "Nothing has to be done; leave such records out.",
            ),
            (
                AuthdataMessageId.VALUES_CHANGED,
                info,
                "Authentication values changed",
                "Nothing has to be done.",
            ),
            (
                AuthdataMessageId.EMPLOYEE_ID_CHANGED,
                info,
                "Employee id changed",
                "Nothing has to be done.",
            ),
            (
                AuthdataMessageId.STATUS_CHANGED,
                info,
                "Employee status changed",
                "Nothing has to be done.",
            ),
        )
    )


AUTHDATA_MESSAGES: Final = declare_messages(*_entries())
