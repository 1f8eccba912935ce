"""Rows of one record within one import: applied in the order they were sent, written once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from shared.imports.definition import Document, Options, ReadRow, RecordRules
from shared.imports.merging import NO_CHANGE
from shared.imports.messages import Message, bounded
from shared.imports.outcomes import MAX_MESSAGES, RowResult, failed

OVERWRITTEN: Final = 1102
NO_REFUSALS: Final[Mapping[int, Message]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Folded:
    """What the rows of one record come to.

    `document` is the record they leave behind; None where it stays as it is. It is there whenever
    a row took effect, also where the rows cancel each other out: the record must then carry the
    stamp, or a redelivery would judge them by what they themselves left behind.
    `position` is the index of the row that had the last word (-1 without one).
    """

    document: Document | None
    position: int
    results: tuple[RowResult, ...]


Missing = Callable[[ReadRow, Document, Document | None], tuple[Message, ...]]
"""Messages for what a row refers to and what is not there. Asked with the row, the record that it
would leave (what it sent, where it leaves none), and the record before it."""


Noticed = Callable[[int, Document | None, Document | None], None]
"""Told of each row that takes effect: its index, the record before it, the record after it."""


def nothing_missing(
    _row: ReadRow, _document: Document, _before: Document | None
) -> tuple[Message, ...]:
    """For types without references."""
    return ()


def fold(
    rules: RecordRules,
    rows: Sequence[ReadRow],
    stored: Document | None,
    options: Options,
    missing: Missing = nothing_missing,
    noticed: Noticed | None = None,
    refusals: Mapping[int, Message] = NO_REFUSALS,
) -> Folded:
    """Apply the rows of one record in order, each to what the one before left behind.

    A failing row changes nothing; its result names everything that is wrong with it, as far as its
    fields could be read. A row that took effect and was overwritten by a later one keeps its
    outcome and says 1102 (CONTRACTS 0, order). Who wants to know what each row changed is told by
    `noticed`. `refusals` are Errors of rows, by index, that do not come from the row or the record.
    """
    document: Document | None = None
    last = -1
    results: list[RowResult] = []
    for row in rows:
        before = document if last >= 0 else stored
        result, left = _apply(rules, row, before, options, missing, refusals.get(row.index))
        if left is not None:
            if noticed is not None:
                noticed(row.index, before, left)
            if last >= 0:
                results[last] = results[last].with_message(Message(OVERWRITTEN))
            document, last = left, len(results)
        results.append(result)
    position = results[last].index if last >= 0 else -1
    return Folded(document, position, tuple(results))


def _apply(
    rules: RecordRules,
    row: ReadRow,
    stored: Document | None,
    options: Options,
    missing: Missing,
    refusal: Message | None,
) -> tuple[RowResult, Document | None]:
    decision = rules.decide(row, stored, options)
    messages = (*row.messages, *decision.messages)
    unknown: tuple[Message, ...] = ()
    document = decision.document or decision.failed_document
    if document is not None:
        unknown = missing(row, document, stored)
    if refusal is not None:
        unknown = (refusal, *unknown)
        messages = tuple(message for message in messages if message.id != NO_CHANGE)
    if unknown:
        room = max(1, MAX_MESSAGES - len(messages))
        return failed(row.index, row.key, *messages, *bounded(unknown, room)), None
    result = RowResult(row.index, row.key, decision.outcome, messages)
    return result, decision.document if decision.outcome.took_effect else None


def judge_without_key(
    rules: RecordRules, row: ReadRow, options: Options, missing: Missing
) -> RowResult:
    """The result of a row whose key cannot be read: it fails, with all that its fields have wrong.

    What is stored of its record cannot be known, so nothing is said that depends on it.
    """
    keyless = replace(row, unreadable=row.unreadable.union(rules.key_fields))
    result, _ = _apply(rules, keyless, None, options, missing, None)
    return failed(row.index, row.key, *result.messages)


def all_failed(rows: Sequence[ReadRow], message: Message) -> tuple[RowResult, ...]:
    """The same end for every row, whatever the rules would have said of it."""
    return tuple(failed(row.index, row.key, message) for row in rows)
