"""The results of a batch's records, and the vendor's answer made from them.

The answers to stage, review and Process calls and to ended imports are all made from `RowResult`s,
so they agree. The messages of a result tell the class of its record (docs/contracts.md#3,
employeeDetails).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.imports.authdata.messages import AuthdataMessageId
from shared.imports.authdata.model import EMPLOYEE_ID, VALUE_FIELDS
from shared.imports.authdata.rules import BatchClassification, Change, Classification, RecordClass
from shared.imports.messages import Message, MessageId
from shared.imports.results import Outcome, RowResult

CHANGES: Final = {
    Change.AUTH_VALUE: AuthdataMessageId.VALUES_CHANGED,
    Change.EMPLOYEE_ID: AuthdataMessageId.EMPLOYEE_ID_CHANGED,
    Change.STATUS: AuthdataMessageId.STATUS_CHANGED,
}

_SENT_WITH: Final = "sent with "
# Replaces an authentication value that was sent.
HIDDEN: Final = "***"

_OUTCOMES: Final = {
    RecordClass.EMPTY: Outcome.UNCHANGED,
    RecordClass.ERROR: Outcome.FAILED,
    RecordClass.DUPLICATE: Outcome.UNCHANGED,
    RecordClass.NEW: Outcome.NEW,
    RecordClass.UPDATE: Outcome.UPDATED,
    RecordClass.NO_CHANGE: Outcome.UNCHANGED,
}


def results_of(classified: BatchClassification) -> list[RowResult]:
    """The result of every record; all fail where a threshold stops the batch."""
    results = [_result(classification) for classification in classified.classifications]
    if not classified.exceeded:
        return results
    message = Message(AuthdataMessageId.STOPPED_BY_THRESHOLD)
    return [
        RowResult(result.index, result.key, Outcome.FAILED, (*result.messages, message))
        for result in results
    ]


def _result(classification: Classification) -> RowResult:
    record = classification.record
    messages = [
        *classification.messages,
        *(Message(CHANGES[change]) for change in classification.changes),
    ]
    match classification.record_class:
        case RecordClass.DUPLICATE:
            messages.append(
                Message(
                    AuthdataMessageId.DUPLICATE_RECORD, detail=_names(record.fingerprints.present)
                )
            )
        case RecordClass.EMPTY:
            messages.append(Message(AuthdataMessageId.EMPTY_RECORD))
        case RecordClass.NO_CHANGE:
            messages.append(Message(MessageId.NOTHING_TO_CHANGE))
        case _:
            pass
    outcome = _OUTCOMES[classification.record_class]
    removed = (classification.renamed_from,) if classification.renamed_from else ()
    return RowResult(record.position, (record.employee_id,), outcome, tuple(messages), removed)


def _names(present: Sequence[bool]) -> str:
    """The names of a duplicate's values for the answer; the values are not stored."""
    names = [name for name, is_present in zip(VALUE_FIELDS, present, strict=True) if is_present]
    return f"{_SENT_WITH}{', '.join(names)}" if names else "sent without values"


@dataclass(slots=True)
class _AnswerBuilder:
    """Collects the lists and counts of an answer."""

    counts: dict[str, int]
    empty: int = 0
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, str]] = field(default_factory=list)

    def add(self, result: RowResult, line: int) -> None:
        """Add one result; `line` is the line number of its errors."""
        errors = [
            message
            for message in result.messages
            if message.is_error and message.id != AuthdataMessageId.STOPPED_BY_THRESHOLD
        ]
        message_by_id = {message.id: message for message in result.messages}
        if errors:
            self._count("totalErrors", result, "Error")
            for message in errors:
                prefix = "" if message.field is None else f"{message.field}: "
                self.errors.append({"line": line, "value": f"{prefix}{message.text}"})
        elif AuthdataMessageId.EMPTY_RECORD in message_by_id:
            self.empty += 1
        elif AuthdataMessageId.DUPLICATE_RECORD in message_by_id:
            self.counts["totalDuplicates"] += 1
            self.duplicates.append(
                _duplicate(result, message_by_id[AuthdataMessageId.DUPLICATE_RECORD])
            )
        elif MessageId.NOTHING_TO_CHANGE in message_by_id:
            self._count("totalNoChange", result, "No Change")
        else:
            self._add_write(
                result, [change for change in Change if CHANGES[change] in message_by_id]
            )

    def _add_write(self, result: RowResult, changes: Sequence[Change]) -> None:
        if not changes:
            self._count("totalNew", result, "New Record")
            return
        self._count("totalUpdates", result, changes[0].value)
        for change in changes:
            self.counts[_CHANGE_COUNTS[change]] += 1

    def _count(self, name: str, result: RowResult, value: str) -> None:
        self.counts[name] += 1
        self.details.append({"Key": result.key[0] or "", "Value": value})


_CHANGE_COUNTS: Final = {
    Change.AUTH_VALUE: "totalAuthValueChange",
    Change.EMPLOYEE_ID: "totalEmpIdUpdate",
    Change.STATUS: "totalStatusChange",
}
_CLASS_COUNTS: Final = (
    "totalNew",
    "totalUpdates",
    "totalErrors",
    "totalNoChange",
    "totalDuplicates",
)
_COUNTS: Final = (*_CLASS_COUNTS, *_CHANGE_COUNTS.values())


def vendor_answer(
    file_log_id: str, results: Iterable[RowResult], exceeded: Sequence[str] = (), before: int = 0
) -> dict[str, Any]:
    """The answer to these results, in their order.

    Line numbers count after the `before` records of earlier calls.
    """
    builder = _AnswerBuilder(dict.fromkeys(_COUNTS, 0))
    submitted = 0
    for submitted, result in enumerate(results, start=1):  # noqa: B007 (counts what there is)
        builder.add(result, result.index - before + 1)
    counts, records = builder.counts, submitted - builder.empty
    assert sum(counts[name] for name in _CLASS_COUNTS) == records, "every record is in one class"
    return {
        "fileLogId": file_log_id,
        "totalNew": counts["totalNew"],
        "totalRecords": records,
        "totalUpdates": counts["totalUpdates"],
        "totalErrors": counts["totalErrors"],
        "totalNoChange": counts["totalNoChange"],
        "totalEmpIdUpdate": counts["totalEmpIdUpdate"],
        "totalAuthValueChange": counts["totalAuthValueChange"],
        "totalStatusChange": counts["totalStatusChange"],
        "totalDuplicates": counts["totalDuplicates"],
        "duplicateAuthValues": builder.duplicates,
        "thresholdExceptions": list(exceeded),
        "errorDetails": builder.errors,
        "employeeDetails": builder.details,
    }


def _duplicate(result: RowResult, message: Message) -> dict[str, Any]:
    sent = (message.detail or "").removeprefix(_SENT_WITH).split(", ")
    values = {name: HIDDEN if name in sent else None for name in VALUE_FIELDS}
    return {EMPLOYEE_ID: result.key[0] or "", **values}
