"""Groups the rows of a company that can affect each other, before the rows are fully read.

Rows of one employee, and rows that send or would generate the same license key, form a group; its
rows are applied in the order they were sent. Groups change different licenses, so their order is
free. They are sorted by employee, like the licenses in storage.
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
    explicit_key,
    generate_keys,
    keep_employee_fields,
    natural_key,
    sent_employee,
    sent_identity,
)


@dataclass(frozen=True, slots=True)
class RowOutline:
    """The employee and license key of a row that is not fully read.

    `start` and `end` are the offsets of its JSON, `sent` the row's employee fields, `notes` those
    of a reader of files.
    """

    index: int
    start: int
    end: int
    sent: Document
    employee: Employee
    key: str | None
    generated_key: str | None
    notes: str = ""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows in the order they were sent, and the employees whose licenses they may change."""

    rows: tuple[RowOutline, ...]
    employees: frozenset[Employee]


def outline_row(
    tenant: str, index: int, start: int, end: int, folded: Document, notes: str = ""
) -> RowOutline:
    """The outline of a row that names a company; its names are in lower case."""
    identity = sent_identity(folded)
    natural = natural_key(identity)
    key = explicit_key(identity)
    generated = None
    if key is None and natural is not None:
        (generated,) = islice(generate_keys(tenant, identity["companyCode"], natural, ""), 1)
    sent = {} if key is None else sent_employee(folded, identity)
    return RowOutline(index, start, end, sent, employee_of(identity), key, generated, notes)


# The employee fields of stored licenses, by license key.
Owners = Mapping[str, Document]


def group_rows(
    outlines: Sequence[RowOutline],
    owners: Owners,
    action: LicenseAction,
    extra_employees: Mapping[int, Set[Employee]] = MappingProxyType({}),
) -> list[RowGroup]:
    """Group the rows of a company.

    `extra_employees` are more employees of rows, by index, which an earlier attempt found: where
    several rows move a license from one employee to another, only applying them shows it.
    """
    groups_of_rows = DisjointSets()
    employees: dict[int, frozenset[Employee]] = {}
    for outline in outlines:
        employees[outline.index] = _employees(outline, owners, action) | extra_employees.get(
            outline.index, set()
        )
        keys = [key for key in (outline.key, outline.generated_key) if key is not None]
        groups_of_rows.union(outline.index, [*employees[outline.index], *keys])
    members: dict[object, list[RowOutline]] = {}
    for outline in sorted(outlines, key=lambda item: item.index):
        members.setdefault(groups_of_rows.find(outline.index), []).append(outline)
    return [
        RowGroup(tuple(rows), frozenset().union(*(employees[row.index] for row in rows)))
        for rows in members.values()
    ]


def _employees(outline: RowOutline, owners: Owners, action: LicenseAction) -> frozenset[Employee]:
    """The employees of the row, of its stored license, and of the resulting license."""
    employees = {outline.employee}
    owner = None if outline.key is None else owners.get(outline.key)
    if owner is not None:
        fields = keep_employee_fields(owner, outline.sent, keeps=action.keeps_what_is_absent)
        employees |= {employee_of(owner), employee_of(fields | outline.sent)}
    return frozenset(employee for employee in employees if employee.is_named)


class DisjointSets:
    """Disjoint sets of items (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[object, object] = {}

    def find(self, item: object) -> object:
        """The item that represents the set of `item`."""
        parent = self._parent
        node = parent.setdefault(item, item)
        while node != parent[node]:
            parent[node] = parent[parent[node]]
            node = parent[node]
        parent[item] = node
        return node

    def union(self, item: object, members: Iterable[object]) -> None:
        """Merge the sets of `item` and of `members`."""
        find = self.find(item)
        for member in members:
            self._parent[self.find(member)] = find
