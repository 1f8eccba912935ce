"""What a row of licenses does to the shelf of its employee (CONTRACTS 2, importAction).

    Insert    a license that is there is an error
    Update    one that is missing is an error; absent properties keep their value
    Merge     either; absent properties keep their value
    Override  either; the license becomes what the row says
    Replace   like Override, and the employee has no others afterwards; all of its rows or none
    Delete    one that is missing is an error

A blank text clears in all, null in those that replace (`silent_values`). A row that names nobody
speaks of the license of its key, whosever it is: the license stays with its employee.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from shared.imports.definition import Document, ReadRow
from shared.imports.folding import Noticed
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.filing import filed, without_blobs
from shared.imports.licenses.identity import (
    NATURAL_KEY_FIELDS,
    NOBODY,
    Employee,
    can_be_found,
    given_key,
    kept_of_employee,
    made_keys,
    natural_key,
    shown_key,
)
from shared.imports.licenses.model import License
from shared.imports.licenses.row_results import NOTHING_DONE, Done, Results
from shared.imports.licenses.shelf import Held, Shelf
from shared.imports.merging import NO_CHANGE, merge
from shared.imports.messages import COULD_NOT_BE_PROCESSED, TOO_LARGE_RECORD, Message
from shared.imports.outcomes import Outcome, RowResult, failed

EXISTS: Final = 3004
UNKNOWN_TO_UPDATE: Final = 3005
UNKNOWN_TO_DELETE: Final = 3006
SIBLING_FAILED: Final = 3007
NATURAL_KEY_TAKEN: Final = 3008
CHANGED_SINCE: Final = 1101
TOO_LONG: Final = 1003
MOVED_TOO_OFTEN: Final = "its license changes employees too often in one import"
MAX_DOCUMENT: Final = 240_000
"""Characters of a license as JSON: four bytes each fit into an entity."""


class RowFailedError(Exception):
    """The row cannot be applied; `messages` say why, beside the row's own."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*(message.id for message in messages))
        self.messages = messages


Whose = Callable[[ReadRow], Employee | None]
"""The employee that a row belongs to, also of one that cannot be read."""


@dataclass
class LicenseImport:
    """One import of licenses of one company at work on a shelf.

    `pending` holds the results since they were last taken, `contents` the bytes of new documents by
    the name of their blob, `content_bytes` in all; `weight` counts the characters that the licenses
    which were put together take in a transaction. `unknown` are rows that failed only because the
    shelf does not have the licenses of the employee whose their license would become.
    `is_overtaken(index, number)` tells whether a row must not be applied where import `number` has
    changed its license (a row of a retry that was not corrected). `unforeseen` is told of an error
    that no rule foresaw, and says what the row's result is to say; `noticed` of each row that
    takes effect.
    """

    tenant: str
    company: str
    action: LicenseAction
    number: int
    import_id: str
    shelf: Shelf
    unforeseen: Callable[[Exception], Message]
    noticed: Noticed | None = None
    is_overtaken: Callable[[int, int], bool] = lambda _index, _number: False
    contents: dict[str, bytes] = field(default_factory=dict)
    content_bytes: int = 0
    pending: Results = field(init=False)
    done: Done = field(default_factory=lambda: NOTHING_DONE)
    weight: int = 0
    unknown: dict[int, Employee] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    _replaced: _Replaced | None = None

    def __post_init__(self) -> None:
        self.pending = Results(self.done.results)

    def steps(self, rows: Sequence[ReadRow], whose: Whose) -> Iterator[None]:
        """Apply the rows of a unit, in the order they were sent; after each step is a good moment
        to write down what has changed: Replace takes all rows of an employee in one.
        """
        if self.action is not LicenseAction.REPLACE:
            for row in rows:
                self.pending.add(self._result(row, self.pending))
                yield
            return
        for employee, of_employee in _by_employee(rows, whose, self.shelf):
            self._replace(employee, of_employee)
            yield

    def _result(self, row: ReadRow, results: Results) -> RowResult:
        try:
            return self._applied(row, results)
        except RowFailedError as error:
            return failed(row.index, row.key, *row.messages, *error.messages)
        except Exception as error:
            own = () if row.is_readable else row.messages
            return failed(row.index, row.key, *own, self.unforeseen(error))

    def _replace(self, employee: Employee, rows: Sequence[ReadRow]) -> None:
        """All of an employee's rows or none; what it has beyond them goes."""
        mark = self.shelf.mark()
        results = Results()
        self._replaced = _Replaced(employee, {key for row in rows if (key := row.key[-1])})
        for row in rows:
            result = self._result(row, results)
            results.add(result)
            self._replaced.keys.add(result.key[-1] or "")
        if any(result.outcome is Outcome.FAILED for result in results.in_order()):
            self.shelf.go_back(mark)
            results.fail_others(Message(SIBLING_FAILED))
            results.elsewhere.clear()
        elif employee.is_named:
            named = {result.key[-1] for result in results.in_order()}
            for held in self.shelf.held_by(employee):
                if held.key not in named:
                    self.shelf.remove(held.key, self.number)
        self.shelf.keep()
        self.pending.add(*results.in_order())
        for index in results.elsewhere:
            self.pending.overwritten(index)

    def _applied(self, row: ReadRow, results: Results) -> RowResult:
        """Raises RowFailedError, with all that is wrong beside the row's own messages.

        A row that could not be read fails; it is judged as far as its license can be found.
        """
        if not can_be_found(row):
            raise RowFailedError
        held, key = self._found(row)
        faults = self._faults_of_found(row, held, key)
        if self.action is LicenseAction.DELETE:
            if faults or held is None or not row.is_readable:
                raise RowFailedError(*faults)
            self.shelf.remove(held.key, self.number)
            self._notice(row, held, None)
            return self._took_effect(row, held.key, held.document or {}, Outcome.UPDATED, results)
        is_taken = held is not None and self.action is LicenseAction.INSERT
        document, contents = self._document(row, None if is_taken else held, key)
        text = json.dumps(document, ensure_ascii=False)
        if len(text) > MAX_DOCUMENT:
            faults.append(Message(TOO_LONG, detail=TOO_LARGE_RECORD))
        if row.unreadable.isdisjoint(NATURAL_KEY_FIELDS):
            faults += self._faults_of_natural_key(row, document, key)
        if faults or not row.is_readable:
            raise RowFailedError(*faults)
        self.weight += len(json.dumps(text))
        self._take_contents(contents)
        if held is not None and held.document == document:
            shown = shown_key(document, key)
            return RowResult(
                row.index, shown, Outcome.UNCHANGED, (*row.messages, Message(NO_CHANGE))
            )
        self.shelf.put(key, document, self.number)
        self._notice(row, held, document)
        outcome = Outcome.NEW if held is None else Outcome.UPDATED
        return self._took_effect(row, key, document, outcome, results)

    def _took_effect(
        self, row: ReadRow, key: str, document: Document, outcome: Outcome, results: Results
    ) -> RowResult:
        before = self._last.get(key, self.done.last.get(key))
        if before is not None:
            results.overwritten(before)
        self.shelf.on_go_back(partial(self._set_last, key, self._last.get(key)))
        self._last[key] = row.index
        return RowResult(row.index, shown_key(document, key), outcome, row.messages)

    def _set_last(self, key: str, index: int | None) -> None:
        if index is None:
            self._last.pop(key, None)
        else:
            self._last[key] = index

    def _notice(self, row: ReadRow, held: Held | None, after: Document | None) -> None:
        if self.noticed is not None:
            before = held.document if held is not None else None
            self.noticed(row.index, without_blobs(before), without_blobs(after))

    def _found(self, row: ReadRow) -> tuple[Held | None, str]:
        """The license that the row speaks of, and its key, which a new one gets here."""
        given = given_key(row.values)
        if given is not None:
            held = self.shelf.by_key(given)
            if held is None and self.action is LicenseAction.UPDATE:
                raise RowFailedError(Message(UNKNOWN_TO_UPDATE, "licenseKey", given))
            return held, given
        natural = natural_key(row.values)
        assert natural is not None, "can_be_found has seen to it"
        held = self.shelf.by_natural(natural)
        if held is None and self.action is LicenseAction.UPDATE:
            raise RowFailedError(Message(UNKNOWN_TO_UPDATE))
        if held is not None:
            return held, held.key
        made = made_keys(self.tenant, self.company, natural, self.import_id)
        return None, next(key for key in made if not self.shelf.is_taken(key))

    def _faults_of_found(self, row: ReadRow, held: Held | None, key: str) -> list[Message]:
        """What is wrong with the license that the row speaks of, as it is on the shelf."""
        faults: list[Message] = []
        if held is None and self.action is LicenseAction.DELETE:
            faults.append(Message(UNKNOWN_TO_DELETE, "licenseKey", given_key(row.values)))
        if held is not None and self.action is LicenseAction.INSERT:
            faults.append(Message(EXISTS))
        # A row that is sent again as it was must not undo what a later import did.
        natural = natural_key(row.values) if given_key(row.values) is None else None
        last = held or self.shelf.grave(key, natural)
        changed_by = self.number if last is None else last.number
        if changed_by != self.number and self.is_overtaken(row.index, changed_by):
            faults.append(Message(CHANGED_SINCE))
        return faults

    def _document(
        self, row: ReadRow, held: Held | None, key: str
    ) -> tuple[Document, dict[str, bytes]]:
        """The license as the row leaves it, and the bytes of its new documents by blob name."""
        stored = held.document if held is not None else None
        sent = {name: value for name, value in row.values.items() if name not in _APART}
        keeps = self.action.keeps_what_is_absent
        document = merge(_kept(stored, sent, keeps), sent, License)
        document["licenseKey"] = key
        before = (stored or {}).get("documents", [])
        if "documents" not in row.values:
            if keeps and before:
                document["documents"] = before
            return document, {}
        documents = row.values["documents"]
        found = filed(
            documents or [],
            before,
            keeps=keeps and documents is not None,
            blob=lambda digest: f"{key}/{self.number}-{digest}",
        )
        if found.documents:
            document["documents"] = found.documents
        return document, found.contents

    def _faults_of_natural_key(self, row: ReadRow, document: Document, key: str) -> list[Message]:
        """Whether another license has the natural key, or might have it."""
        natural = natural_key(document)
        if natural is None:
            return []
        if not self.shelf.knows(natural.employee):
            if not row.is_readable:
                return []
            self.unknown[row.index] = natural.employee
            return [Message(COULD_NOT_BE_PROCESSED, detail=MOVED_TOO_OFTEN)]
        other = self.shelf.by_natural(natural)
        if other is None or other.key == key:
            return []
        if self._replaced is None or not self._replaced.would_remove(other):
            return [Message(NATURAL_KEY_TAKEN)]
        self.shelf.remove(other.key, self.number)
        return []

    def _take_contents(self, contents: dict[str, bytes]) -> None:
        for name, data in contents.items():
            if name not in self.contents:
                self.contents[name] = data
                self.content_bytes += len(data)
                self.shelf.on_go_back(partial(self._drop_content, name))

    def _drop_content(self, name: str) -> None:
        self.content_bytes -= len(self.contents.pop(name))


_APART: Final = ("documents", "licenseKey", "serializableLicenseKey")


def _kept(stored: Document | None, sent: Document, keeps: bool) -> Document | None:
    """What of the stored license stays where the row is silent."""
    if stored is None:
        return None
    if keeps:
        return {name: value for name, value in stored.items() if name != "documents"}
    return kept_of_employee(stored, sent, keeps=False)


@dataclass(frozen=True, slots=True)
class _Replaced:
    """The employee who is being replaced, and the keys that its rows speak of."""

    employee: Employee
    keys: set[str]

    def would_remove(self, held: Held) -> bool:
        """Whether the license goes in the end, and so cannot be in anybody's way."""
        return held.employee == self.employee and held.key not in self.keys


def _by_employee(
    rows: Sequence[ReadRow], whose: Callable[[ReadRow], Employee | None], shelf: Shelf
) -> Iterator[tuple[Employee, list[ReadRow]]]:
    """Rows by the employee they name; a row that names nobody goes with the first one of its key
    that does, else with the employee who holds the license.

    What the payload says comes first: it is the same when half of the rows are done.
    """
    named: dict[str, Employee] = {}
    for row in rows:
        employee, key = whose(row), row.key[-1]
        if employee is not None and employee.is_named and key is not None:
            named.setdefault(key, employee)
    groups: dict[Employee | int, tuple[Employee, list[ReadRow]]] = {}
    for row in rows:
        employee = whose(row)
        if employee is None or not employee.is_named:
            key = row.key[-1] or ""
            held = shelf.by_key(key)
            employee = named.get(key, NOBODY if held is None else held.employee)
        group = employee if employee.is_named else row.index
        groups.setdefault(group, (employee, []))[1].append(row)
    yield from groups.values()
