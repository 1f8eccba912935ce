"""The licenses of some employees while the rows of an import are applied to them.

A shelf is filled from storage, changed row by row, and says in the end what has changed. It keeps
the two promises of the contract: a key is unique within the company, and no two licenses have one
natural key (docs/contracts.md#2, matching).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Final

from shared.imports.former_values import (
    NOTHING_FORMER,
    Created,
    Former,
    FormerRecord,
    former_of_own,
)
from shared.imports.import_type import Document
from shared.imports.licenses.model import (
    EMPLOYEE_FIELDS,
    Employee,
    NaturalKey,
    employee_of,
    natural_key,
)

REMAINS: Final[tuple[str, ...]] = (*EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber")


@dataclass(frozen=True, slots=True)
class StoredLicense:
    """A license in its place; `number` is the import that changed it last.

    `document` is None where the license is gone from this place; `remains` then is what it was
    found by. `created_at` is ISO text, "" for a new one. `former` is what was in this place, or the
    license in the place that it came from, before the import.
    """

    key: str
    employee: Employee
    document: Document | None
    number: int
    created_at: str = ""
    remains: Document | None = None
    import_id: str = field(default="", compare=False)
    created_import_id: str = field(default="", compare=False)
    updated_at: str = field(default="", compare=False)
    former: Former = field(default=NOTHING_FORMER, compare=False)

    @property
    def created(self) -> Created:
        """As former values have it; licenses do not keep the number of the import."""
        return 0, self.created_import_id, self.created_at

    def before_import(self, number: int) -> Former:
        """What import `number` found before it changed something here."""
        if self.number == number:
            return former_of_own(self.former, self.document, self.created)
        if self.document is None:
            return NOTHING_FORMER
        return FormerRecord(
            self.document, self.number, self.import_id, self.updated_at, *self.created
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a license; None where there was, or is, none.

    `is_reused`: there was one of that key before, which is gone.
    """

    key: str
    before: StoredLicense | None
    after: StoredLicense | None
    is_reused: bool = False


class LicenseSet:
    """The licenses, by key and by natural key.

    `taken` are keys of the company's other licenses, `gone` those of licenses that it had, as far
    as they are known. All licenses of `employees` are there; None: of everybody.
    """

    def __init__(
        self,
        held: Iterable[StoredLicense] = (),
        taken: Iterable[str] = (),
        gone: Iterable[str] = (),
        employees: Set[Employee] | None = None,
    ) -> None:
        self._employees = employees
        self._held: dict[str, StoredLicense] = {}
        self._natural: dict[NaturalKey, str] = {}
        self._of_employee: dict[Employee, dict[str, None]] = {}
        self._graves: dict[str | NaturalKey, StoredLicense] = {}
        self._graves_at: dict[tuple[str, Employee], set[str | NaturalKey]] = {}
        self._left: dict[tuple[str, Employee], StoredLicense] = {}
        self._undo: list[Callable[[], object]] | None = None
        self._taken = set(taken)
        self._gone = set(gone)
        self._before: dict[str, StoredLicense | None] = {}
        for each in held:
            self.fill(each)

    def fill(self, held: StoredLicense) -> None:
        """Put a license there as it is stored."""
        if held.document is None:
            self._add_tombstone(held)
        else:
            self._enter(held)

    def by_key(self, key: str) -> StoredLicense | None:
        """The license of that key."""
        return self._held.get(key)

    def by_natural(self, natural: NaturalKey) -> StoredLicense | None:
        """The license of that natural key."""
        key = self._natural.get(natural)
        return None if key is None else self._held[key]

    def tombstone(self, key: str, natural: NaturalKey | None) -> StoredLicense | None:
        """What is kept of a license that is gone, by its key or by its natural key."""
        found = self._graves.get(key)
        return found if found is not None or natural is None else self._graves.get(natural)

    def is_taken(self, key: str) -> bool:
        """Whether some license of the company has the key."""
        return key in self._held or key in self._taken

    def knows(self, employee: Employee) -> bool:
        """Whether all licenses of the employee are there."""
        return self._employees is None or employee in self._employees

    def all_held(self) -> list[StoredLicense]:
        """Every license."""
        return list(self._held.values())

    def held_by(self, employee: Employee) -> list[StoredLicense]:
        """An employee's licenses."""
        return [self._held[key] for key in self._of_employee.get(employee, ())]

    def put(self, key: str, document: Document, number: int) -> None:
        """Make this the license of that key."""
        self._remember(key)
        employee = employee_of(document)
        before = self._held.get(key)
        held = StoredLicense(
            key,
            employee,
            document,
            number,
            created_at="" if before is None else before.created_at,
            created_import_id="" if before is None else before.created_import_id,
            former=self._former(key, employee, number),
        )
        self._leave(key)
        self._drop_tombstone(key, held.employee)
        was = self._before[key]
        if was is not None and was.employee != held.employee:
            self._add_tombstone(as_tombstone(was, number))
        self._enter(held)

    def remove(self, key: str, number: int) -> None:
        """Take a license off the shelf, by import `number`."""
        self._remember(key)
        held = self._held[key]
        self._leave(key)
        self._add_tombstone(as_tombstone(held, number))
        self._discard(self._taken, key)
        self._add(self._gone, key)

    def changes(self) -> Iterator[Change]:
        """What has changed since the shelf was filled, or since `settle`.

        Also a license that rows changed and changed back: it is to carry the import's number.
        """
        for key, before in self._before.items():
            after = self._held.get(key)
            if before != after:
                is_reused = key in self._graves or key in self._gone
                yield Change(key, before, after, is_reused)

    @property
    def touched(self) -> int:
        """How many licenses may have changed."""
        return len(self._before)

    def settle(self) -> None:
        """From now on the shelf as it is counts as stored."""
        self._before.clear()

    def newest(self) -> int:
        """The number of the last import that changed something here."""
        numbers = [held.number for held in (*self._held.values(), *self._graves.values())]
        return max(numbers, default=0)

    def mark(self) -> int:
        """A place to come back to with `go_back`, until `keep`."""
        if self._undo is None:
            self._undo = []
        return len(self._undo)

    def keep(self) -> None:
        """All changes so far stay."""
        self._undo = None

    def go_back(self, mark: int) -> None:
        """Undo the changes since then; takes as long as they took, however full the shelf is."""
        changes, self._undo = self._undo or [], None
        while len(changes) > mark:
            changes.pop()()
        self._undo = changes or None

    def _former(self, key: str, employee: Employee, number: int) -> Former:
        """What the license was before the import, where it is now or where it comes to."""
        for found in (self._held.get(key), self._left.get((key, employee))):
            former = NOTHING_FORMER if found is None else found.before_import(number)
            if former != NOTHING_FORMER:
                return former
        return NOTHING_FORMER

    def _drop_tombstone(self, key: str, employee: Employee) -> None:
        """A license is back in a place that it was taken from."""
        for name in list(self._graves_at.get((key, employee), ())):
            self._take_grave(name)
            self._add(self._gone, key)

    def _add_tombstone(self, tombstone: StoredLicense) -> None:
        self._leave_behind(tombstone)
        natural = natural_key(tombstone.remains or {})
        for name in (tombstone.key, natural) if natural is not None else (tombstone.key,):
            known = self._graves.get(name)
            if known is None or known.number <= tombstone.number:
                if known is not None:
                    self._take_grave(name)
                self._put_grave(name, tombstone)

    def _leave_behind(self, tombstone: StoredLicense) -> None:
        place = (tombstone.key, tombstone.employee)
        before = self._left.get(place)
        self._left[place] = tombstone
        self.on_go_back(
            lambda: self._left.pop(place) if before is None else self._left.update({place: before})
        )

    def _put_grave(self, name: str | NaturalKey, tombstone: StoredLicense) -> None:
        self._graves[name] = tombstone
        self._graves_at.setdefault((tombstone.key, tombstone.employee), set()).add(name)
        self.on_go_back(lambda: self._drop_grave(name))

    def _take_grave(self, name: str | NaturalKey) -> None:
        tombstone = self._drop_grave(name)
        self.on_go_back(lambda: self._put_grave(name, tombstone))

    def _drop_grave(self, name: str | NaturalKey) -> StoredLicense:
        tombstone = self._graves.pop(name)
        names = self._graves_at[tombstone.key, tombstone.employee]
        names.discard(name)
        if not names:
            del self._graves_at[tombstone.key, tombstone.employee]
        return tombstone

    def _remember(self, key: str) -> None:
        if key not in self._before:
            self._before[key] = self._held.get(key)
            self.on_go_back(lambda: self._before.pop(key))

    def _enter(self, held: StoredLicense) -> None:
        known = self._held.get(held.key)
        if known is not None:
            self._drop(known)
        self._held[held.key] = held
        self._of_employee.setdefault(held.employee, {})[held.key] = None
        self.on_go_back(lambda: self._drop(held))
        natural = natural_key(held.document or {})
        if natural is not None:
            self._set_natural(natural, held.key)

    def _leave(self, key: str) -> None:
        held = self._held.get(key)
        if held is None:
            return
        self._drop(held)
        self.on_go_back(lambda: self._restore(held))
        natural = natural_key(held.document or {})
        if natural is not None and self._natural.get(natural) == key:
            self._set_natural(natural, None)

    def _drop(self, held: StoredLicense) -> None:
        del self._held[held.key]
        keys = self._of_employee[held.employee]
        del keys[held.key]
        if not keys:
            del self._of_employee[held.employee]

    def _restore(self, held: StoredLicense) -> None:
        self._held[held.key] = held
        self._of_employee.setdefault(held.employee, {})[held.key] = None

    def _set_natural(self, natural: NaturalKey, key: str | None) -> None:
        before = self._natural.get(natural)
        self.on_go_back(lambda: self._put_natural(natural, before))
        self._put_natural(natural, key)

    def _put_natural(self, natural: NaturalKey, key: str | None) -> None:
        if key is None:
            self._natural.pop(natural, None)
        else:
            self._natural[natural] = key

    def _add(self, keys: set[str], key: str) -> None:
        if key not in keys:
            keys.add(key)
            self.on_go_back(lambda: keys.discard(key))

    def _discard(self, keys: set[str], key: str) -> None:
        if key in keys:
            keys.discard(key)
            self.on_go_back(lambda: keys.add(key))

    def on_go_back(self, undo: Callable[[], object]) -> None:
        """What is to be called, the last one first, where changes are undone."""
        if self._undo is not None:
            self._undo.append(undo)


def as_tombstone(held: StoredLicense, number: int) -> StoredLicense:
    """What is kept of a license in a place that import `number` took it from."""
    document = held.document or {}
    remains = {name: document[name] for name in REMAINS if name in document}
    former = held.before_import(number)
    if isinstance(former, FormerRecord) and employee_of(former.document) != held.employee:
        # The import itself had brought the license here.
        former = NOTHING_FORMER
    return StoredLicense(held.key, held.employee, None, number, remains=remains, former=former)
