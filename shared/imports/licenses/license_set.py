"""The licenses of some employees while the rows of an import are applied to them.

A license set is loaded from storage, changed row by row, and then lists its changes. It guarantees
the two rules of the contract: a key is unique within the company, and no two licenses have the same
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

TOMBSTONE_FIELDS: Final[tuple[str, ...]] = (*EMPLOYEE_FIELDS, "licenseTypeCode", "licenseNumber")


@dataclass(frozen=True, slots=True)
class StoredLicense:
    """A license of an employee, or its tombstone; `number` is the import that changed it last.

    A tombstone has no `document`, but `tombstone_fields`, which identified the license.
    `created_at` is ISO text, "" for a new license. `former` is the license before the import; for
    one that the import moved, as it was under its former employee.
    """

    key: str
    employee: Employee
    document: Document | None
    number: int
    created_at: str = ""
    tombstone_fields: Document | None = None
    import_id: str = field(default="", compare=False)
    created_import_id: str = field(default="", compare=False)
    updated_at: str = field(default="", compare=False)
    former: Former = field(default=NOTHING_FORMER, compare=False)

    @property
    def created(self) -> Created:
        """The creation for former values; licenses do not keep the number of the import."""
        return 0, self.created_import_id, self.created_at

    def before_import(self, number: int) -> Former:
        """The license before import `number` changed it."""
        if self.number == number:
            return former_of_own(self.former, self.document, self.created)
        if self.document is None:
            return NOTHING_FORMER
        return FormerRecord(
            self.document, self.number, self.import_id, self.updated_at, *self.created
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A license before and after; None where it does not exist.

    `is_reused` says that a deleted license had the key before.
    """

    key: str
    before: StoredLicense | None
    after: StoredLicense | None
    is_reused: bool = False


class LicenseSet:
    """The licenses, by key and by natural key.

    `used_keys` are known keys of the company's other licenses, `deleted_keys` those of its deleted
    licenses. The set has all licenses of `employees`; None means of all employees.
    """

    def __init__(
        self,
        stored: Iterable[StoredLicense] = (),
        used_keys: Iterable[str] = (),
        deleted_keys: Iterable[str] = (),
        employees: Set[Employee] | None = None,
    ) -> None:
        self._employees = employees
        self._licenses: dict[str, StoredLicense] = {}
        self._key_by_natural_key: dict[NaturalKey, str] = {}
        self._keys_by_employee: dict[Employee, dict[str, None]] = {}
        self._tombstones: dict[str | NaturalKey, StoredLicense] = {}
        self._tombstone_names: dict[tuple[str, Employee], set[str | NaturalKey]] = {}
        # The last tombstone of a key and employee, also after the employee got the license back.
        self._last_tombstones: dict[tuple[str, Employee], StoredLicense] = {}
        self._undo: list[Callable[[], object]] | None = None
        self._used_keys = set(used_keys)
        self._deleted_keys = set(deleted_keys)
        self._before: dict[str, StoredLicense | None] = {}
        for license_ in stored:
            self.add_stored(license_)

    def add_stored(self, stored: StoredLicense) -> None:
        """Add a license or a tombstone from storage."""
        if stored.document is None:
            self._add_tombstone(stored)
        else:
            self._insert(stored)

    def find_by_key(self, key: str) -> StoredLicense | None:
        return self._licenses.get(key)

    def find_by_natural_key(self, natural: NaturalKey) -> StoredLicense | None:
        key = self._key_by_natural_key.get(natural)
        return None if key is None else self._licenses[key]

    def tombstone(self, key: str, natural: NaturalKey | None) -> StoredLicense | None:
        """The tombstone of a deleted license, by its key or by its natural key."""
        stored = self._tombstones.get(key)
        return stored if stored is not None or natural is None else self._tombstones.get(natural)

    def is_key_used(self, key: str) -> bool:
        """Whether a license of the company has the key."""
        return key in self._licenses or key in self._used_keys

    def has_employee(self, employee: Employee) -> bool:
        """Whether the set has all licenses of the employee."""
        return self._employees is None or employee in self._employees

    def all_licenses(self) -> list[StoredLicense]:
        return list(self._licenses.values())

    def find_by_employee(self, employee: Employee) -> list[StoredLicense]:
        return [self._licenses[key] for key in self._keys_by_employee.get(employee, ())]

    def put(
        self, key: str, document: Document, number: int, created: Created | None = None
    ) -> None:
        """Create or replace the license of that key.

        It keeps its creation, unless `created` brings another one back.
        """
        self._record_before(key)
        employee = employee_of(document)
        before = self._licenses.get(key)
        if created is None:
            created = (0, "", "") if before is None else before.created
        _, created_import_id, created_at = created
        stored = StoredLicense(
            key,
            employee,
            document,
            number,
            created_at=created_at,
            created_import_id=created_import_id,
            former=self._former(key, employee, number),
        )
        self._delete(key)
        # The employee gets the license back, so its tombstones go.
        for name in list(self._tombstone_names.get((key, employee), ())):
            self._delete_tombstone(name)
            self._add_key(self._deleted_keys, key)
        original = self._before[key]
        if original is not None and original.employee != employee:
            self._add_tombstone(as_tombstone(original, number))
        self._insert(stored)

    def remove(self, key: str, number: int) -> None:
        """Remove a license for import `number`."""
        self._record_before(key)
        stored = self._licenses[key]
        self._delete(key)
        self._add_tombstone(as_tombstone(stored, number))
        if key in self._used_keys:
            self._used_keys.discard(key)
            self.on_rollback(lambda: self._used_keys.add(key))
        self._add_key(self._deleted_keys, key)

    def changes(self) -> Iterator[Change]:
        """The changes since the set was loaded, or since `mark_stored`.

        Also a license that rows changed and changed back: it is to carry the import's number.
        """
        for key, before in self._before.items():
            after = self._licenses.get(key)
            if before != after:
                is_reused = key in self._tombstones or key in self._deleted_keys
                yield Change(key, before, after, is_reused)

    @property
    def changed_count(self) -> int:
        """The number of licenses that may have changed."""
        return len(self._before)

    def mark_stored(self) -> None:
        """Treat the changes so far as stored."""
        self._before.clear()

    def newest_number(self) -> int:
        """The number of the last import that changed one of the licenses."""
        numbers = [
            stored.number for stored in (*self._licenses.values(), *self._tombstones.values())
        ]
        return max(numbers, default=0)

    def savepoint(self) -> int:
        """A savepoint for `roll_back`, valid until `release_savepoints`."""
        if self._undo is None:
            self._undo = []
        return len(self._undo)

    def release_savepoints(self) -> None:
        """Give up the savepoints, so that the changes so far cannot be undone."""
        self._undo = None

    def roll_back(self, savepoint: int) -> None:
        """Undo the changes since the savepoint; the time does not depend on the size of the set."""
        changes, self._undo = self._undo or [], None
        while len(changes) > savepoint:
            changes.pop()()
        self._undo = changes or None

    def _former(self, key: str, employee: Employee, number: int) -> Former:
        """The license before the import, of its present employee or of the one who gets it."""
        for candidate in (self._licenses.get(key), self._last_tombstones.get((key, employee))):
            former = NOTHING_FORMER if candidate is None else candidate.before_import(number)
            if former != NOTHING_FORMER:
                return former
        return NOTHING_FORMER

    def _add_tombstone(self, tombstone: StoredLicense) -> None:
        self._keep_last_tombstone(tombstone)
        natural = natural_key(tombstone.tombstone_fields or {})
        for name in (tombstone.key, natural) if natural is not None else (tombstone.key,):
            existing = self._tombstones.get(name)
            if existing is None or existing.number <= tombstone.number:
                if existing is not None:
                    self._delete_tombstone(name)
                self._put_tombstone(name, tombstone)

    def _keep_last_tombstone(self, tombstone: StoredLicense) -> None:
        place = (tombstone.key, tombstone.employee)
        before = self._last_tombstones.get(place)
        self._last_tombstones[place] = tombstone
        self.on_rollback(
            lambda: (
                self._last_tombstones.pop(place)
                if before is None
                else self._last_tombstones.update({place: before})
            )
        )

    def _put_tombstone(self, name: str | NaturalKey, tombstone: StoredLicense) -> None:
        self._tombstones[name] = tombstone
        self._tombstone_names.setdefault((tombstone.key, tombstone.employee), set()).add(name)
        self.on_rollback(lambda: self._pop_tombstone(name))

    def _delete_tombstone(self, name: str | NaturalKey) -> None:
        tombstone = self._pop_tombstone(name)
        self.on_rollback(lambda: self._put_tombstone(name, tombstone))

    def _pop_tombstone(self, name: str | NaturalKey) -> StoredLicense:
        tombstone = self._tombstones.pop(name)
        names = self._tombstone_names[tombstone.key, tombstone.employee]
        names.discard(name)
        if not names:
            del self._tombstone_names[tombstone.key, tombstone.employee]
        return tombstone

    def _record_before(self, key: str) -> None:
        if key not in self._before:
            self._before[key] = self._licenses.get(key)
            self.on_rollback(lambda: self._before.pop(key))

    def _insert(self, stored: StoredLicense) -> None:
        existing = self._licenses.get(stored.key)
        if existing is not None:
            self._remove_from_index(existing)
        self._add_to_index(stored)
        self.on_rollback(lambda: self._remove_from_index(stored))
        natural = natural_key(stored.document or {})
        if natural is not None:
            self._change_natural_key(natural, stored.key)

    def _delete(self, key: str) -> None:
        stored = self._licenses.get(key)
        if stored is None:
            return
        self._remove_from_index(stored)
        self.on_rollback(lambda: self._add_to_index(stored))
        natural = natural_key(stored.document or {})
        if natural is not None and self._key_by_natural_key.get(natural) == key:
            self._change_natural_key(natural, None)

    def _remove_from_index(self, stored: StoredLicense) -> None:
        del self._licenses[stored.key]
        keys = self._keys_by_employee[stored.employee]
        del keys[stored.key]
        if not keys:
            del self._keys_by_employee[stored.employee]

    def _add_to_index(self, stored: StoredLicense) -> None:
        self._licenses[stored.key] = stored
        self._keys_by_employee.setdefault(stored.employee, {})[stored.key] = None

    def _change_natural_key(self, natural: NaturalKey, key: str | None) -> None:
        before = self._key_by_natural_key.get(natural)
        self.on_rollback(lambda: self._set_natural_key(natural, before))
        self._set_natural_key(natural, key)

    def _set_natural_key(self, natural: NaturalKey, key: str | None) -> None:
        if key is None:
            self._key_by_natural_key.pop(natural, None)
        else:
            self._key_by_natural_key[natural] = key

    def _add_key(self, keys: set[str], key: str) -> None:
        if key not in keys:
            keys.add(key)
            self.on_rollback(lambda: keys.discard(key))

    def on_rollback(self, undo: Callable[[], object]) -> None:
        """Call `undo` on a rollback; the last registered function is called first."""
        if self._undo is not None:
            self._undo.append(undo)


def as_tombstone(stored: StoredLicense, number: int) -> StoredLicense:
    """The tombstone of a license that import `number` removes from its employee."""
    document = stored.document or {}
    tombstone_fields = {name: document[name] for name in TOMBSTONE_FIELDS if name in document}
    former = stored.before_import(number)
    if isinstance(former, FormerRecord) and employee_of(former.document) != stored.employee:
        # The import itself moved the license to this employee.
        former = NOTHING_FORMER
    return StoredLicense(
        stored.key,
        stored.employee,
        None,
        number,
        tombstone_fields=tombstone_fields,
        former=former,
    )
