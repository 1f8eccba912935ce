"""The message catalogue (docs/contracts.md#6): the one source of ids, severities and wording."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Final

# The start of the advice of a message that needs no action of the caller.
NOTHING = "Nothing has to be done"


class MessageId(IntEnum):
    """The ids of the catalogue. Storage and answers have them as plain numbers.

    So `Message.id` is an `int`.
    """

    # Faults of one field of a row.
    REQUIRED_FIELD_MISSING = 1001
    WRONG_TYPE = 1002
    WRONG_LENGTH = 1003
    WRONG_FORM = 1004
    VALUE_NOT_ALLOWED = 1005
    NOT_A_DATE = 1006
    UNKNOWN_FIELD = 1007
    OUT_OF_RANGE = 1008

    # Results of comparing a row with the stored records, and faults of its references.
    CHANGED_BY_LATER_IMPORT = 1101
    OVERWRITTEN_BY_LATER_ROW = 1102
    NOTHING_TO_CHANGE = 1103
    REFERENCE_NOT_FOUND = 2001
    VALUES_DISAGREE = 2002
    IMPLAUSIBLE_VALUE = 2003

    # Licenses.
    LICENSE_KEYS_DIFFER = 3001
    CONTENT_NOT_BASE64 = 3002
    LICENSE_NOT_IDENTIFIED = 3003
    LICENSE_EXISTS = 3004
    NO_LICENSE_TO_UPDATE = 3005
    NO_LICENSE_TO_DELETE = 3006
    OTHER_LICENSE_FAILED = 3007
    LICENSE_NUMBER_TAKEN = 3008

    # Reasons why a document is refused.
    DOCUMENTS_NOT_ENABLED = 4001
    WRONG_DROP_PATH = 4002
    WRONG_REFERENCE_LENGTH = 4003
    UNSAFE_FILE_NAME = 4004
    EMPTY_FILE = 4005
    FILE_TOO_LARGE = 4006
    WRONG_GENERATION_TIME = 4007
    ROUND_NOT_FOUND = 4008
    ROUND_NOT_OPEN = 4009
    WORKER_NOT_FOUND = 4010
    AMBIGUOUS_WORKER = 4011
    WRONG_FILE_TYPE = 4012
    UNKNOWN_TENANT = 4013
    FILE_ENCODED = 4014
    FILE_DAMAGED = 4015
    FILE_IS_PAGE_BLOB = 4016
    FILE_ARCHIVED = 4017
    TENANT_DISABLED = 4018

    # Records of authentication data: errors from 5001 on, changes from 5101 on.
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

    # The pipeline gives these two ids; no rule does.
    COULD_NOT_BE_PROCESSED = 9001
    CANCELLED = 9002

    # A key that is already stored, where the integration is configured to treat this as an error.
    WORKER_EXISTS = 10000
    ASSIGNMENT_EXISTS = 10001


class Severity(StrEnum):
    """How serious a message is. An `Error` makes its row fail."""

    # The `messageType` of docs/contracts.md#1. The docstring is published in the OpenAPI document.

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One message id: its meaning for the caller, and the source of the rule."""

    id: int
    severity: Severity
    text: str
    advice: str
    source: str

    @property
    def is_verbatim(self) -> bool:
        """Whether the text is the vendor's, which stays unchanged."""
        return self.source == "vendor"

    @property
    def asks_for_something(self) -> bool:
        """Whether the caller has to act."""
        return self.severity is not Severity.INFO or not self.advice.startswith(NOTHING)

    @property
    def advice_clause(self) -> str:
        """The advice as the end of a sentence, without its full stop."""
        return f"{self.advice[:1].lower()}{self.advice[1:].rstrip('.')}"


# The field of an upload that a message is about; other messages are about several or none.
FIELD_OF: Final[Mapping[int, str]] = {
    MessageId.UNSAFE_FILE_NAME: "fileName",
    MessageId.EMPTY_FILE: "file",
    MessageId.FILE_TOO_LARGE: "file",
    MessageId.WRONG_GENERATION_TIME: "generationTime",
    MessageId.ROUND_NOT_FOUND: "communicationRoundCode",
    MessageId.ROUND_NOT_OPEN: "communicationRoundCode",
    MessageId.WORKER_NOT_FOUND: "workerexternalId",
    MessageId.AMBIGUOUS_WORKER: "workerexternalId",
    MessageId.WRONG_FILE_TYPE: "fileName",
    MessageId.FILE_ENCODED: "file",
    MessageId.FILE_DAMAGED: "file",
    MessageId.FILE_IS_PAGE_BLOB: "file",
    MessageId.FILE_ARCHIVED: "file",
}

# Details of 9001: why a row could not be processed.
BROKEN_RECORD: Final = (
    "the stored record of this key cannot be read; ask the operator of the gateway to repair it, "
    "then send the row again"
)
UNREADABLE_ROW: Final = "the row is stored but cannot be read any more: send it again"
SEND_AGAIN: Final = (
    "send the row again, which is safe, and quote the correlation id {id} if it happens again"
)
LOST_ROW: Final = (
    "what was sent, or what became of it, cannot be read any more; compare what is stored, and "
    "send the row again"
)
UNREADABLE_LIST: Final = (
    "the list {kind} cannot be read; ask the operator of the gateway to load it again, then send "
    "the row again"
)
# The detail of 1003 for a record as a whole.
TOO_LARGE_RECORD: Final = "the record would take more than 1 MiB; send shorter texts"


def _entries() -> tuple[CatalogueEntry, ...]:
    return (
        *_field_entries(),
        *_record_entries(),
        *_license_entries(),
        *_document_entries(),
        *_authdata_entries(),
        *_processing_entries(),
    )


def _field_entries() -> tuple[CatalogueEntry, ...]:
    """1001 to 1008: faults of one field, which do not depend on stored records."""
    error, info = Severity.ERROR, Severity.INFO
    return (
        CatalogueEntry(
            MessageId.REQUIRED_FIELD_MISSING,
            error,
            "Required field missing or empty",
            "Send a value for the field; null and blank text count as empty.",
            "vendor",
        ),
        CatalogueEntry(
            MessageId.WRONG_TYPE,
            error,
            "Value has the wrong type",
            "Send the JSON type that the schema names; nothing is converted.",
            "docs/contracts.md#0",
        ),
        CatalogueEntry(
            MessageId.WRONG_LENGTH,
            error,
            "Value is too long or too short",
            "Keep to the length that the message and the schema name.",
            "docs/contracts.md#6",
        ),
        CatalogueEntry(
            MessageId.WRONG_FORM,
            error,
            "Value does not have the required form",
            "Match the whole value to the pattern of the schema, with ASCII digits. Where the "
            "value is a mask (`***6789`), send the value itself, or leave the field out.",
            "docs/contracts.md#1",
        ),
        CatalogueEntry(
            MessageId.VALUE_NOT_ALLOWED,
            error,
            "Value is not one of the allowed values",
            "Send one of the values that the schema lists.",
            "docs/contracts.md#6",
        ),
        CatalogueEntry(
            MessageId.NOT_A_DATE,
            error,
            "Value is not a calendar date",
            "Send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS with a day that exists.",
            "docs/contracts.md#0",
        ),
        CatalogueEntry(
            MessageId.UNKNOWN_FIELD,
            info,
            "Field is not known and was not stored",
            "Correct the name if it was meant for a field of the schema, or leave the field out.",
            "docs/contracts.md#0",
        ),
        CatalogueEntry(
            MessageId.OUT_OF_RANGE,
            error,
            "Number is out of range",
            "Keep to the range that the message and the schema name.",
            "docs/contracts.md#6",
        ),
    )


def _record_entries() -> tuple[CatalogueEntry, ...]:
    """1101 to 2003, 10000 and 10001: results of comparing a row with the stored records."""
    error, warning, info = Severity.ERROR, Severity.WARNING, Severity.INFO
    return (
        CatalogueEntry(
            MessageId.CHANGED_BY_LATER_IMPORT,
            error,
            "A later import has changed this record",
            "Compare the record with the row, then send the row corrected instead of as it was.",
            "docs/contracts.md#5",
        ),
        CatalogueEntry(
            MessageId.OVERWRITTEN_BY_LATER_ROW,
            info,
            "A later row of the same import wrote this record again",
            "Nothing has to be done; send one row for each record to avoid this message.",
            "docs/contracts.md#0",
        ),
        CatalogueEntry(
            MessageId.NOTHING_TO_CHANGE,
            info,
            "Nothing to change",
            "Nothing has to be done; the stored record already says what the row says.",
            "docs/contracts.md#0",
        ),
        CatalogueEntry(
            MessageId.REFERENCE_NOT_FOUND,
            error,
            "Referenced record was not found",
            "Import the record that the field refers to first, or correct the reference.",
            "docs/contracts.md#1",
        ),
        CatalogueEntry(
            MessageId.VALUES_DISAGREE,
            warning,
            "Values do not agree with each other",
            "Check the named fields; the row was taken as it is.",
            "docs/contracts.md#1",
        ),
        CatalogueEntry(
            MessageId.IMPLAUSIBLE_VALUE,
            warning,
            "Value looks wrong",
            "Check the value; the row was taken as it is.",
            "docs/contracts.md#1",
        ),
        CatalogueEntry(
            MessageId.WORKER_EXISTS,
            error,
            "Worker already exists in the system",
            "Leave the worker out, or ask the operator of the gateway to set onExisting to update.",
            "vendor",
        ),
        CatalogueEntry(
            MessageId.ASSIGNMENT_EXISTS,
            error,
            "Assignment already exists in the system",
            "Leave the assignment out, or ask the operator of the gateway to set onExisting to "
            "update.",
            "docs/contracts.md#6",
        ),
    )


def _license_entries() -> tuple[CatalogueEntry, ...]:
    """3001 to 3008: faults that only licenses have, in the row or against stored licenses."""
    return tuple(
        CatalogueEntry(id_, Severity.ERROR, text, advice, "docs/contracts.md#2")
        for id_, text, advice in (
            (
                MessageId.LICENSE_KEYS_DIFFER,
                "License keys of the row differ",
                "Send licenseKey and serializableLicenseKey with the same value, or one of them.",
            ),
            (
                MessageId.CONTENT_NOT_BASE64,
                "Document content is not base64",
                "Send the file's bytes in base64 with its padding; line breaks are ignored.",
            ),
            (
                MessageId.LICENSE_NOT_IDENTIFIED,
                "License cannot be identified",
                "Send licenseKey, or employeeNumber or employeePersonalId with the license's own "
                "type and number.",
            ),
            (
                MessageId.LICENSE_EXISTS,
                "License already exists in the system",
                "Leave the license out, or import it with another importAction than Insert.",
            ),
            (
                MessageId.NO_LICENSE_TO_UPDATE,
                "License to update does not exist",
                "Correct the key of the license, or import it with Merge or Override.",
            ),
            (
                MessageId.NO_LICENSE_TO_DELETE,
                "License to delete does not exist",
                "Nothing has to be done if it was deleted before; else correct its key.",
            ),
            (
                MessageId.OTHER_LICENSE_FAILED,
                "Not applied, because another license of the employee failed",
                "Correct the employee's other rows; Replace takes all of an employee or none.",
            ),
            (
                MessageId.LICENSE_NUMBER_TAKEN,
                "Another license has the same employee, type and number",
                "Send the key of that license, or correct the type or the number.",
            ),
        )
    )


def _document_entries() -> tuple[CatalogueEntry, ...]:
    """4001 to 4018: reasons why a document is refused."""
    texts = (
        (
            MessageId.DOCUMENTS_NOT_ENABLED,
            "The feature Documents is not enabled",
            "Ask the operator of the gateway to enable it for the tenant.",
        ),
        (
            MessageId.WRONG_DROP_PATH,
            "Path of the dropped file is not understood",
            "Drop it as tenant/round/worker/file, each part percent-encoded.",
        ),
        (
            MessageId.WRONG_REFERENCE_LENGTH,
            "Reference is empty or too long",
            "Send workerexternalId and communicationRoundCode with 1 to 60 characters.",
        ),
        (
            MessageId.UNSAFE_FILE_NAME,
            "File name is missing or not safe",
            "Give the file a plain name of at most 200 characters, without a path.",
        ),
        (
            MessageId.EMPTY_FILE,
            "File is empty",
            "Send a file with content.",
        ),
        (
            MessageId.FILE_TOO_LARGE,
            "File is too large",
            "Send a smaller file.",
        ),
        (
            MessageId.WRONG_GENERATION_TIME,
            "generationTime is not a time in the past",
            "Send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS that is not after now; without an offset it is "
            "UTC.",
        ),
        (
            MessageId.ROUND_NOT_FOUND,
            "Communication round was not found",
            "Correct communicationRoundCode, or ask the operator of the gateway to add the round.",
        ),
        (
            MessageId.ROUND_NOT_OPEN,
            "Communication round takes no documents",
            "Send it to a round that is Open or In Progress, or ask the operator of the gateway to "
            "open this one.",
        ),
        (
            MessageId.WORKER_NOT_FOUND,
            "Worker was not found",
            "Import the worker first, or correct workerexternalId: an ExternalWorkerRef, or else a "
            "PersonnelRef.",
        ),
        (
            MessageId.AMBIGUOUS_WORKER,
            "Several workers have this id",
            "Give each of them an ExternalWorkerRef of its own and send that.",
        ),
        (
            MessageId.WRONG_FILE_TYPE,
            "File type is not allowed, or the content is of another type than the name says",
            "Send a file of a type that this gateway takes, under its own extension.",
        ),
        (
            MessageId.UNKNOWN_TENANT,
            "Tenant of the dropped file is not known",
            "Begin the path with the id of the tenant, which the operator of the gateway knows.",
        ),
        (
            MessageId.FILE_ENCODED,
            "Dropped file has a Content-Encoding",
            "Drop the file as it is, neither compressed nor with the property Content-Encoding.",
        ),
        (
            MessageId.FILE_DAMAGED,
            "Content of the dropped file does not match its Content-MD5",
            "Drop the file again; it was changed on the way, or its Content-MD5 is of "
            "another file.",
        ),
        (
            MessageId.FILE_IS_PAGE_BLOB,
            "Dropped file is a page blob",
            "Drop the file as a block blob; a page blob is filled up to a multiple of 512 bytes.",
        ),
        (
            MessageId.FILE_ARCHIVED,
            "Dropped file is in the archive tier and cannot be read",
            "Drop the file into the hot, cool or cold tier.",
        ),
        (
            MessageId.TENANT_DISABLED,
            "Tenant of the dropped file is disabled",
            "Ask the operator of the gateway to enable the tenant, then drop the file again.",
        ),
    )
    return tuple(
        CatalogueEntry(id_, Severity.ERROR, text, advice, "docs/contracts.md#4")
        for id_, text, advice in texts
    )


def _authdata_entries() -> tuple[CatalogueEntry, ...]:
    """5001 to 5006: faults of a record; 5101 to 5105: the class of a record."""
    error, info = Severity.ERROR, Severity.INFO
    return tuple(
        CatalogueEntry(id_, severity, text, advice, "docs/contracts.md#3")
        for id_, severity, text, advice in (
            (
                MessageId.NO_AUTHENTICATION_VALUE,
                error,
                "Record has no authentication value",
                "Send a value, or set allowNoAuth where employees may have none.",
            ),
            (
                MessageId.VALUES_OF_OTHER_EMPLOYEE,
                error,
                "Another employee has the same authentication values",
                "Correct the values or the employeeId; first change the other employee if both "
                "are right.",
            ),
            (
                MessageId.VALUES_CLAIMED_TWICE,
                error,
                "Authentication values belong to an employee whose own id is in the batch too",
                "Send the employee under one id, the old one, or the new one to rename it.",
            ),
            (
                MessageId.VALUES_LEFT_TWICE,
                error,
                "Another record of the batch leaves the same authentication values",
                "Send all values of both records and correct those that are equal.",
            ),
            (
                MessageId.VALUES_NOT_COMPLETABLE,
                error,
                "Stored authentication values cannot be completed",
                "Send all values of the employee, since the key of the stored ones is configured "
                "no longer.",
            ),
            (
                MessageId.STOPPED_BY_THRESHOLD,
                error,
                "A threshold of the tenant has stopped the batch",
                "Check the batch; if it is right, ask the operator of the gateway to change the "
                "threshold, and stage it again.",
            ),
            (
                MessageId.DUPLICATE_RECORD,
                info,
                "Duplicate of another record of the batch",
                "Nothing has to be done; the record with more data, or the last one, was taken.",
            ),
            (
                MessageId.EMPTY_RECORD,
                info,
                "Record without data",
                "Nothing has to be done; leave such records out.",
            ),
            (
                MessageId.VALUES_CHANGED,
                info,
                "Authentication values changed",
                "Nothing has to be done.",
            ),
            (MessageId.EMPLOYEE_ID_CHANGED, info, "Employee id changed", "Nothing has to be done."),
            (MessageId.STATUS_CHANGED, info, "Employee status changed", "Nothing has to be done."),
        )
    )


def _processing_entries() -> tuple[CatalogueEntry, ...]:
    """9001 and 9002: rows that ended without a decision."""
    return (
        CatalogueEntry(
            MessageId.COULD_NOT_BE_PROCESSED,
            Severity.ERROR,
            "Row could not be processed",
            "Send the row again, which is safe; quote the correlation id if it happens again.",
            "docs/contracts.md#6",
        ),
        CatalogueEntry(
            MessageId.CANCELLED,
            Severity.ERROR,
            "Import was cancelled before this row was stored",
            "Retry the import if the row is wanted after all.",
            "docs/contracts.md#5",
        ),
    )


CATALOGUE = {entry.id: entry for entry in _entries()}
# Messages whose detail says what is expected, because the catalogue cannot.
DETAILED: Final = frozenset((MessageId.WRONG_TYPE, 1003, 1004, 1005, 1006, 1008, 2002, 2003))


@dataclass(frozen=True, slots=True)
class Message:
    """A message about a row.

    `field` is the path under contract names (`PrimaryBankDetails.BankSortCode`); `value` is the
    value as sent, None for secret and personal-identity fields; `detail` makes the catalogue's
    sentence specific and never contains a value.
    """

    id: int
    field: str | None = None
    value: str | None = None
    detail: str | None = None

    @property
    def severity(self) -> Severity:
        """The catalogue's severity."""
        return CATALOGUE[self.id].severity

    @property
    def is_error(self) -> bool:
        """Whether the row fails by this message."""
        return self.severity is Severity.ERROR

    @property
    def finding(self) -> str:
        """The fault, without the catalogue's advice."""
        text = CATALOGUE[self.id].text
        return text if self.detail is None else f"{text}: {self.detail}"

    @property
    def text(self) -> str:
        """The sentence for the caller: the fault, and what to do.

        A detail already says what is expected; the messages of DETAILED always have one. The
        vendor's sentences stay unchanged, and an Info that needs no action gets no advice.
        """
        entry = CATALOGUE[self.id]
        is_whole = self.detail is not None or self.id in DETAILED
        if is_whole or entry.is_verbatim or not entry.asks_for_something:
            return self.finding
        return f"{entry.text}: {entry.advice_clause}"

    def pack(self) -> list[Any]:
        """As a JSON list without trailing blanks."""
        packed: list[Any] = [self.id, self.field, self.value, self.detail]
        while packed[-1] is None:
            packed.pop()
        return packed

    @classmethod
    def unpack(cls, packed: list[Any]) -> Message:
        """The inverse of `pack`. Raises what a list of another shape makes it raise."""
        message = cls(*packed)
        if message.id not in CATALOGUE:
            raise ValueError("no message of the catalogue")
        return message


# Messages of a row that differ only in the index in a list; two bytes can cause one each.
MAX_ALIKE = 20
_LIST_INDEX = re.compile(r"\[[0-9]+\]")


def without_repeats(messages: Sequence[Message]) -> list[Message]:
    """At most MAX_ALIKE messages of a kind; the last one counts the others."""
    if len(messages) <= MAX_ALIKE:
        return list(messages)
    kinds = [(item.id, _LIST_INDEX.sub("[]", item.field or "")) for item in messages]
    total, counts = Counter(kinds), Counter[tuple[int, str]]()
    result: list[Message] = []
    for message, kind in zip(messages, kinds, strict=True):
        counts[kind] += 1
        if counts[kind] < MAX_ALIKE or total[kind] == MAX_ALIKE:
            result.append(message)
        elif counts[kind] == MAX_ALIKE:
            rest = f"and at {total[kind] - MAX_ALIKE} more places of the list"
            detail = rest if message.detail is None else f"{message.detail}, {rest}"
            result.append(replace(message, detail=detail))
    return result


def bounded(messages: Sequence[Message], limit: int, dropped: int = 0) -> tuple[Message, ...]:
    """At most `limit` messages; where there are more, the last one counts the others.

    `dropped` is the number of messages that the caller has left out already.
    """
    total = len(messages) + dropped
    if total <= limit:
        return tuple(messages)
    first = messages[: limit - 1]
    rest = f"and {total - len(first)} more messages that are left out"
    return (*first, Message(messages[len(first)].id, detail=rest))
