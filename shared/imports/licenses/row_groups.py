"""Which rows of a company have to do with each other, before anything else is known of them.

Rows of one employee, and rows that give or would make one license's key, are a unit: its rows are
applied in the order they were sent. Units touch different licenses, so their order is free, and
they go by employee, since that is how licenses lie in storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType

from shared.imports.import_type import Document
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.model import (
    Employee,
    employee_of,
    given_key,
    kept_of_employee,
    made_keys,
    natural_key,
    sent_employee,
    sent_identity,
)


@dataclass(frozen=True, slots=True)
class RowOutline:
    """What is known of a row before it is read: whose license it is about, and of what key.

    `start` and `end` are the offsets of its line, `sent` what it says of the employee.
    """

    index: int
    start: int
    end: int
    sent: Document
    employee: Employee
    key: str | None
    made_key: str | None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows in the order they were sent, and the employees whose licenses they may touch."""

    rows: tuple[RowOutline, ...]
    employees: frozenset[Employee]


def outline_row(tenant: str, index: int, start: int, end: int, folded: Document) -> RowOutline:
    """The sketch of a row that names a company; its names are in lower case."""
    identity = sent_identity(folded)
    natural = natural_key(identity)
    key = given_key(identity)
    made = None
    if key is None and natural is not None:
        (made,) = islice(made_keys(tenant, identity["companyCode"], natural, ""), 1)
    sent = {} if key is None else sent_employee(folded, identity)
    return RowOutline(index, start, end, sent, employee_of(identity), key, made)


# By given key: what its license says of whose it is.
Owners = Mapping[str, Document]


def units(
    sketches: Sequence[RowOutline],
    owners: Owners,
    action: LicenseAction,
    also: Mapping[int, Set[Employee]] = MappingProxyType({}),
) -> list[RowGroup]:
    """The units of a company's rows.

    `also` has further employees that rows (by index) are known to have to do with: what becomes of
    a license that several rows move from one employee to another is seen only when it is done.
    """
    joined: _Joined = _Joined()
    employees: dict[int, frozenset[Employee]] = {}
    for each in sketches:
        employees[each.index] = _employees(each, owners, action) | also.get(each.index, set())
        keys = [key for key in (each.key, each.made_key) if key is not None]
        joined.join(each.index, [*employees[each.index], *keys])
    members: dict[object, list[RowOutline]] = {}
    for each in sorted(sketches, key=lambda item: item.index):
        members.setdefault(joined.root(each.index), []).append(each)
    return [
        RowGroup(tuple(rows), frozenset().union(*(employees[row.index] for row in rows)))
        for rows in members.values()
    ]


def _employees(each: RowOutline, owners: Owners, action: LicenseAction) -> frozenset[Employee]:
    """Whom the row names, whose the license of its key is, and whose the row would make it."""
    found = {each.employee}
    owner = None if each.key is None else owners.get(each.key)
    if owner is not None:
        kept = kept_of_employee(owner, each.sent, keeps=action.keeps_what_is_absent)
        found |= {employee_of(owner), employee_of(kept | each.sent)}
    return frozenset(employee for employee in found if employee.is_named)


class _Joined:
    """Sets of things that belong together, merged as they are found to."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def root(self, item: object) -> object:
        """What stands for the set of the item."""
        parent = self._parent
        at = parent.setdefault(item, item)
        while at != parent[at]:
            parent[at] = parent[parent[at]]
            at = parent[at]
        parent[item] = at
        return at

    def join(self, item: object, others: Iterable[object]) -> None:
        """Put the item into one set with the others."""
        root = self.root(item)
        for other in others:
            self._parent[self.root(other)] = root
