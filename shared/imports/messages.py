"""The message catalogue (docs/contracts.md#6): the one source of ids, severities and wording.

A type declares its own messages beside its definition (`declare_messages`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any, Final

# The start of the advice of a message that needs no action of the caller.
NOTHING = "Nothing has to be done"


class MessageId(IntEnum):
    """The ids that belong to no type; a type declares its own beside its definition.

    Storage and answers have ids as plain numbers, so `Message.id` is an `int`.
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
    NO_ENTRY = 1010

    # Results of comparing a row with the stored records, and faults of its references.
    CHANGED_BY_LATER_IMPORT = 1101
    OVERWRITTEN_BY_LATER_ROW = 1102
    NOTHING_TO_CHANGE = 1103
    CHANGED_SINCE_UNDONE_IMPORT = 1104
    STILL_REFERRED_TO = 1105
    FORMER_VALUES_NOT_KEPT = 1106
    REFERENCE_NOT_FOUND = 2001
    VALUES_DISAGREE = 2002
    IMPLAUSIBLE_VALUE = 2003

    # The pipeline gives these ids; no rule does.
    COULD_NOT_BE_PROCESSED = 9001
    CANCELLED = 9002
    ERASED = 9004


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


def _field_entries() -> tuple[CatalogueEntry, ...]:
    """1001 to 1010: faults of one field, which do not depend on stored records."""
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
            "Send YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS, or the form of dates that the mapping profile "
            "names, with a day that exists.",
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
        CatalogueEntry(
            MessageId.NO_ENTRY,
            error,
            "The mapping profile has no entry for the value",
            "Correct the value, or add an entry for it to the profile and send the file again.",
            "docs/contracts.md#6",
        ),
    )


def _record_entries() -> tuple[CatalogueEntry, ...]:
    """1101 to 2003: results of comparing a row with the stored records."""
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
            MessageId.CHANGED_SINCE_UNDONE_IMPORT,
            error,
            "A later import has changed this record, so the undo kept it",
            "Undo the later import first, or send the wanted values in a new import.",
            "docs/contracts.md#9",
        ),
        CatalogueEntry(
            MessageId.STILL_REFERRED_TO,
            error,
            "Another record refers to this record, so the undo kept it",
            "Undo the import of the record that refers to it, then retry the undo.",
            "docs/contracts.md#9",
        ),
        CatalogueEntry(
            MessageId.FORMER_VALUES_NOT_KEPT,
            error,
            "The values before the import are not kept, so the undo kept the record",
            "Send the wanted values in a new import.",
            "docs/contracts.md#9",
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
        CatalogueEntry(
            MessageId.ERASED,
            Severity.ERROR,
            "Row was erased with the data of its person, so it cannot be retried",
            "Send the person's data in a new import if the gateway may have them again.",
            "docs/contracts.md#10",
        ),
    )


# The messages of no type, and those of each type whose definition is loaded. Code that needs all of
# them takes `MESSAGE_CATALOGUE` of `shared.imports.registry`.
CATALOGUE: Final[dict[int, CatalogueEntry]] = {}


def declare_messages(*entries: CatalogueEntry) -> tuple[CatalogueEntry, ...]:
    """Add messages to the catalogue, when the module that declares them is loaded.

    Raises ValueError where an id or a text belongs to another message.
    """
    for entry in entries:
        known = CATALOGUE.get(entry.id, entry)
        if known != entry:
            raise ValueError(f"message {entry.id} is declared twice: {known}, {entry}")
        if any(other.text == entry.text for other in CATALOGUE.values() if other.id != entry.id):
            raise ValueError(f"message {entry.id} has the text of another message: {entry.text}")
        CATALOGUE[entry.id] = entry
    return entries


def existing_record_message(id_: int, noun: str, source: str) -> CatalogueEntry:
    """The message of a key that is already stored, where the integration refuses that."""
    return CatalogueEntry(
        id_,
        Severity.ERROR,
        f"{noun} already exists in the system",
        f"Leave the {noun.lower()} out, or ask the operator of the gateway to set onExisting to "
        "update.",
        source,
    )


declare_messages(*_field_entries(), *_record_entries(), *_processing_entries())
# Messages whose detail says what is expected, because the catalogue cannot.
DETAILED: Final = frozenset((MessageId.WRONG_TYPE, 1003, 1004, 1005, 1006, 1008, 2002, 2003))


@dataclass(frozen=True, slots=True)
class Message:
    """A message about a row.

    `field` is the path under contract names (`PrimaryBankDetails.BankSortCode`); `value` is the
    value as sent, None for secret and personal-identity fields; `detail` makes the catalogue's
    sentence specific and never contains a value. `column` is the field's column in the layout of
    the sender, of a message that is shown; it is not stored.
    """

    id: int
    field: str | None = None
    value: str | None = None
    detail: str | None = None
    column: str | None = None

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
