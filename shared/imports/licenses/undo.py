"""How an undo takes back what an import did to licenses (docs/contracts.md#9).

A license goes back only while the undone import wrote it last: then what it was before is kept
with it, or with the tombstone that the import left. Licenses that one row changed go back together
or not at all; under Replace, all that the rows of an employee changed. A license whose employee,
type and number another license has by now stays as it is, unless that other license goes back too.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.imports.former_values import FormerRecord, FormerState
from shared.imports.import_type import Document
from shared.imports.licenses.attachments import without_blobs
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.messages import LicenseMessageId
from shared.imports.licenses.model import (
    IDENTITY_FIELDS,
    Employee,
    NaturalKey,
    employee_of_key,
    natural_key,
)
from shared.imports.licenses.row_groups import DisjointSets
from shared.imports.licenses.rules import Results
from shared.imports.merge_rules import ChangeListener
from shared.imports.messages import Message, MessageId
from shared.imports.results import MAX_REMOVED, Outcome, RowResult, failed

# What is known of a license before the undone import, by its key and the employee of its place.
FormerLicenses = Mapping[tuple[str, Employee], tuple[FormerState, FormerRecord | None]]

TAKEN_SINCE: Final = "another license has its employee, type and number by now"
TOO_MANY: Final = "its result does not name all licenses that the row removed"


@dataclass(frozen=True, slots=True)
class UndoneRow:
    """A row of an undo: the key of the row that it undoes, and the keys of the licenses that this
    row changed.

    `is_complete` is False where the result of that row could not name them all.
    """

    index: int
    key: tuple[str | None, ...]
    license_keys: tuple[str, ...]
    is_complete: bool = True

    @property
    def own_key(self) -> str:
        """The key of the license that the row was about; Replace may leave that as it was."""
        return self.key[-1] or ""

    @property
    def employee(self) -> Employee:
        """The employee of the license after the row."""
        return employee_of_key(self.key)


def read_undone_row(index: int, row: Mapping[str, Any]) -> UndoneRow:
    """The row of an undo in its payload. Raises what a row of another shape makes it raise."""
    key = tuple(row.get(name) for name in IDENTITY_FIELDS)
    others = [*row.get("removed", ()), *row.get("restored", ())]
    if not isinstance(key[-1], str) or not all(isinstance(other, str) for other in others):
        raise ValueError("no row of an undo of licenses")
    own = () if row.get("unchanged") else (key[-1],)
    is_complete = all(len(row.get(name, ())) <= MAX_REMOVED for name in ("removed", "restored"))
    return UndoneRow(index, key, tuple(dict.fromkeys((*own, *others))), is_complete)


@dataclass(frozen=True, slots=True)
class _Reversal:
    """What becomes of a license: `target` comes back, or the license goes where it is None.

    `fault` is why it stays as it is, `is_done` that the undo, or one that it retries, has done it.
    """

    present: StoredLicense | None
    target: FormerRecord | None = None
    fault: Message | None = None
    is_done: bool = False

    def leaves(self, natural: NaturalKey) -> bool:
        """Whether the license gives up its natural key."""
        if self.fault is not None or self.is_done:
            return False
        return self.target is None or natural_key(self.target.document) != natural

    @property
    def is_return(self) -> bool:
        """Whether a license that is not there comes back."""
        return self.present is None and self.target is not None


class LicenseUndo:
    """Undoes rows of an import in the licenses of one company; pure.

    `undoes` is the number of the undone import, `number` that of the undo. `stored` are the
    licenses and tombstones of all employees that the rows concern. `is_own(number)` is whether that
    import is the undo or one that it retries. Under `is_replace` the rows of an employee belong
    together. Like `LicenseRules` it has the results since they were last taken.
    """

    def __init__(
        self,
        *,
        undoes: int,
        number: int,
        import_id: str,
        stored: Sequence[StoredLicense],
        former: FormerLicenses,
        is_own: Callable[[int], bool],
        is_replace: bool,
        license_set: LicenseSet | None = None,
        on_change: ChangeListener | None = None,
    ) -> None:
        self.number = number
        self.import_id = import_id
        self.license_set = LicenseSet(stored) if license_set is None else license_set
        self.results = Results()
        self.contents: dict[str, bytes] = {}
        self.content_bytes = 0
        self.estimated_size = 0
        self._undoes = undoes
        self._former = former
        self._is_own = is_own
        self._is_replace = is_replace
        self._on_change = on_change
        self._tombstones: defaultdict[str, list[StoredLicense]] = defaultdict(list)
        for each in stored:
            if each.document is None:
                self._tombstones[each.key].append(each)

    def apply(self, rows: Sequence[UndoneRow]) -> Iterator[None]:
        """Undo rows. The caller can commit the changes at each yield: then nothing that belongs
        together is done in part.
        """
        reversals = {key: self._reversal(key) for row in rows for key in row.license_keys}
        units = DisjointSets()
        for row in rows:
            employee = [row.employee] if self._is_replace and row.employee.is_named else []
            units.union(row.index, [*row.license_keys, *employee])
        faults = {key: each.fault for key, each in reversals.items() if each.fault is not None}
        dependents = self._find_dependents(reversals, units, faults)
        failing = _fail_dependents(rows, units, faults, dependents)
        # A license may need the type and number that another one gives up, and the other way round.
        together = DisjointSets()
        for unit, keys in dependents.items():
            together.union(unit, [units.find(key) for key in keys])
        parts: dict[object, list[UndoneRow]] = {}
        for row in rows:
            parts.setdefault(together.find(units.find(row.index)), []).append(row)
        for part in parts.values():
            for row in part:
                if units.find(row.index) in failing:
                    self.results.add(failed(row.index, row.key, _fault_of(row, faults)))
            undone = [row for row in part if units.find(row.index) not in failing]
            for key in dict.fromkeys(key for row in undone for key in row.license_keys):
                self._put_back(key, reversals[key])
            for row in undone:
                self.results.add(self._result(row, reversals))
            yield

    def _reversal(self, key: str) -> _Reversal:
        present = self.license_set.find_by_key(key)
        tombstones = self._tombstones.get(key, [])
        newest = present or max(tombstones, key=lambda each: each.number, default=None)
        if newest is None:
            return _Reversal(None, fault=Message(MessageId.FORMER_VALUES_NOT_KEPT))
        if self._is_own(newest.number):
            return _Reversal(present, is_done=True)
        if newest.number != self._undoes:
            return _Reversal(present, fault=Message(MessageId.CHANGED_SINCE_UNDONE_IMPORT))
        # A license that the import removed and made anew elsewhere has its former state only in the
        # place that it left.
        for place in (newest, *tombstones):
            if place.number == self._undoes:
                state, target = self._former.get(
                    (place.key, place.employee), (FormerState.LOST, None)
                )
                if state in (FormerState.LOST, FormerState.EXPIRED):
                    return _Reversal(present, fault=Message(MessageId.FORMER_VALUES_NOT_KEPT))
                if target is not None:
                    return _Reversal(present, target)
        return _Reversal(present)

    def _find_dependents(
        self, reversals: Mapping[str, _Reversal], units: DisjointSets, faults: dict[str, Message]
    ) -> Mapping[object, list[str]]:
        """The licenses that can only go back with a unit, since one of its licenses has their
        natural key. Adds a fault for each license whose natural key is not given up.
        """
        dependents: dict[object, list[str]] = {}
        for key, each in reversals.items():
            natural = None if each.target is None else natural_key(each.target.document)
            if natural is None or key in faults:
                continue
            assert self.license_set.has_employee(natural.employee), "the place was not read"
            holder = self.license_set.find_by_natural_key(natural)
            if holder is None or holder.key == key:
                continue
            other = reversals.get(holder.key)
            if other is None or not other.leaves(natural):
                number = natural.number
                faults[key] = Message(
                    MessageId.CHANGED_SINCE_UNDONE_IMPORT, "licenseNumber", number, TAKEN_SINCE
                )
            else:
                dependents.setdefault(units.find(holder.key), []).append(key)
        return dependents

    def _put_back(self, key: str, reversal: _Reversal) -> None:
        target = reversal.target
        if reversal.is_done:
            return
        if target is None:
            if reversal.present is not None:
                self.license_set.remove(key, self.number)
            return
        created = (target.created_by, target.created_import_id, target.created_at)
        self.license_set.put(key, target.document, self.number, created)
        self.estimated_size += len(json.dumps(json.dumps(target.document, ensure_ascii=False)))

    def _result(self, row: UndoneRow, reversals: Mapping[str, _Reversal]) -> RowResult:
        undone = {key: reversals[key] for key in row.license_keys if not reversals[key].is_done}
        if not undone:
            message = Message(MessageId.NOTHING_TO_CHANGE)
            return RowResult(row.index, row.key, Outcome.UNCHANGED, (message,))
        own = undone.get(row.own_key)
        if own is not None:
            self._notify_change(row.index, own)
        outcome = Outcome.UNCHANGED
        if row.own_key in row.license_keys:
            outcome = Outcome.NEW if own is not None and own.is_return else Outcome.UPDATED
        return RowResult(
            row.index,
            row.key,
            outcome,
            removed=tuple(key for key, each in undone.items() if each.target is None),
            restored=tuple(
                key for key, each in undone.items() if each.is_return and key != row.own_key
            ),
        )

    def _notify_change(self, index: int, reversal: _Reversal) -> None:
        if self._on_change is not None:
            present, target = reversal.present, reversal.target
            before = None if present is None else present.document
            after: Document | None = None if target is None else target.document
            self._on_change(index, without_blobs(before), without_blobs(after))


def _fail_dependents(
    rows: Iterable[UndoneRow],
    units: DisjointSets,
    faults: dict[str, Message],
    dependents: Mapping[object, list[str]],
) -> set[object]:
    """The units that stay as they are. Adds a fault for each license that needs one of them."""
    failing = {units.find(key) for key in faults}
    failing |= {units.find(row.index) for row in rows if not row.is_complete}
    unread = list(failing)
    while unread:
        for key in dependents.get(unread.pop(), ()):
            faults.setdefault(
                key, Message(MessageId.CHANGED_SINCE_UNDONE_IMPORT, detail=TAKEN_SINCE)
            )
            unit = units.find(key)
            if unit not in failing:
                failing.add(unit)
                unread.append(unit)
    return failing


def _fault_of(row: UndoneRow, faults: Mapping[str, Message]) -> Message:
    """The fault of one of its licenses; else the row fails with others that it belongs to."""
    if not row.is_complete:
        return Message(MessageId.FORMER_VALUES_NOT_KEPT, detail=TOO_MANY)
    for key in row.license_keys:
        if key in faults:
            return faults[key]
    return Message(LicenseMessageId.OTHER_LICENSE_FAILED)
