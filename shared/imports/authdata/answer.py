"""What is told of a batch: a result for each record, and the vendor's answer made of results.

The answer to a stage call, to a review and to Process, and the one of an ended import, all come
from `RowResult`s and so cannot tell different stories. A result says by its messages what class its
record is of (docs/contracts.md#3, employeeDetails).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from shared.imports.authdata.model import EMPLOYEE_ID, VALUE_FIELDS
from shared.imports.authdata.rules import Change, Classification, Classified, RecordClass
from shared.imports.messages import Message, MessageId
from shared.imports.results import Outcome, RowResult

CHANGES: Final = {
    Change.AUTH_VALUE: MessageId.VALUES_CHANGED,
    Change.EMPLOYEE_ID: MessageId.EMPLOYEE_ID_CHANGED,
    Change.STATUS: MessageId.STATUS_CHANGED,
}

_SENT_WITH: Final = "sent with "
HIDDEN: Final = "***"
"""Stands for an authentication value that was sent."""

_OUTCOMES: Final = {
    RecordClass.EMPTY: Outcome.UNCHANGED,
    RecordClass.ERROR: Outcome.FAILED,
    RecordClass.DUPLICATE: Outcome.UNCHANGED,
    RecordClass.NEW: Outcome.NEW,
    RecordClass.UPDATE: Outcome.UPDATED,
    RecordClass.NO_CHANGE: Outcome.UNCHANGED,
}


def results_of(classified: Classified) -> list[RowResult]:
    """The result of every record; all fail where a threshold stops the batch."""
    results = [_result(verdict) for verdict in classified.verdicts]
    if not classified.exceeded:
        return results
    stopped = Message(MessageId.STOPPED_BY_THRESHOLD)
    return [
        RowResult(each.index, each.key, Outcome.FAILED, (*each.messages, stopped))
        for each in results
    ]


def _result(verdict: Classification) -> RowResult:
    record = verdict.record
    marks = [*verdict.messages, *(Message(CHANGES[change]) for change in verdict.changes)]
    match verdict.standing:
        case RecordClass.DUPLICATE:
            marks.append(Message(MessageId.DUPLICATE_RECORD, detail=_names(record.prints.present)))
        case RecordClass.EMPTY:
            marks.append(Message(MessageId.EMPTY_RECORD))
        case RecordClass.NO_CHANGE:
            marks.append(Message(MessageId.NOTHING_TO_CHANGE))
        case _:
            pass
    outcome = _OUTCOMES[verdict.standing]
    removed = (verdict.renamed_from,) if verdict.renamed_from else ()
    return RowResult(record.position, (record.employee_id,), outcome, tuple(marks), removed)


def _names(present: Sequence[bool]) -> str:
    """Which values a duplicate had; the answer shows them, and nobody may keep the values."""
    names = [name for name, is_there in zip(VALUE_FIELDS, present, strict=True) if is_there]
    return f"{_SENT_WITH}{', '.join(names)}" if names else "sent without values"


@dataclass(slots=True)
class _Tally:
    """The lists and counts of an answer while they grow."""

    counts: dict[str, int]
    empty: int = 0
    duplicates: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    details: list[dict[str, str]] = field(default_factory=list)

    def add(self, result: RowResult, line: int) -> None:
        """Count one result; `line` is what its errors are told under."""
        errors = [
            each
            for each in result.messages
            if each.is_error and each.id != MessageId.STOPPED_BY_THRESHOLD
        ]
        said = {message.id: message for message in result.messages}
        if errors:
            self._count("totalErrors", result, "Error")
            self.errors += [{"line": line, "value": _sentence(message)} for message in errors]
        elif MessageId.EMPTY_RECORD in said:
            self.empty += 1
        elif MessageId.DUPLICATE_RECORD in said:
            self.counts["totalDuplicates"] += 1
            self.duplicates.append(_duplicate(result, said[MessageId.DUPLICATE_RECORD]))
        elif MessageId.NOTHING_TO_CHANGE in said:
            self._count("totalNoChange", result, "No Change")
        else:
            self._add_write(result, [change for change in Change if CHANGES[change] in said])

    def _add_write(self, result: RowResult, changes: Sequence[Change]) -> None:
        if not changes:
            self._count("totalNew", result, "New Record")
            return
        self._count("totalUpdates", result, changes[0].value)
        for change in changes:
            self.counts[_SIDE_COUNTS[change]] += 1

    def _count(self, name: str, result: RowResult, value: str) -> None:
        self.counts[name] += 1
        self.details.append({"Key": result.key[0] or "", "Value": value})


_SIDE_COUNTS: Final = {
    Change.AUTH_VALUE: "totalAuthValueChange",
    Change.EMPLOYEE_ID: "totalEmpIdUpdate",
    Change.STATUS: "totalStatusChange",
}
_PARTS: Final = ("totalNew", "totalUpdates", "totalErrors", "totalNoChange", "totalDuplicates")
_COUNTS: Final = (*_PARTS, *_SIDE_COUNTS.values())


def vendor_answer(
    file_log_id: str, results: Iterable[RowResult], exceeded: Sequence[str] = (), before: int = 0
) -> dict[str, Any]:
    """The answer to these results, in their order.

    `before` records were appended by earlier calls: lines count from there.
    """
    tally = _Tally(dict.fromkeys(_COUNTS, 0))
    submitted = 0
    for submitted, result in enumerate(results, start=1):  # noqa: B007 (counts what there is)
        tally.add(result, result.index - before + 1)
    counts, records = tally.counts, submitted - tally.empty
    assert sum(counts[name] for name in _PARTS) == records, "every record is in one class"
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
        "duplicateAuthValues": tally.duplicates,
        "thresholdExceptions": list(exceeded),
        "errorDetails": tally.errors,
        "employeeDetails": tally.details,
    }


def _duplicate(result: RowResult, message: Message) -> dict[str, Any]:
    sent = (message.detail or "").removeprefix(_SENT_WITH).split(", ")
    values = {name: HIDDEN if name in sent else None for name in VALUE_FIELDS}
    return {EMPLOYEE_ID: result.key[0] or "", **values}


def _sentence(message: Message) -> str:
    return message.text if message.field is None else f"{message.field}: {message.text}"
