"""Which rows of a company have to do with each other, before anything else is known of them.

Rows of one employee, and rows that give or would make one license's key, are a unit: its rows are
applied in the order they were sent. Units touch different licenses, so their order is free, and
they go by employee, since that is how licenses lie in storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from shared.imports.definition import Document
from shared.imports.licenses.identity import (
    Employee,
    employee_of,
    given_key,
    made_keys,
    natural_key,
)


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is known of a row before it is read: whose license it is about, and of what key.

    `start` and `end` are the offsets of its line.
    """

    index: int
    start: int
    end: int
    employee: Employee
    key: str | None
    made_key: str | None


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows in the order they were sent, and the employees whose licenses they may touch."""

    rows: tuple[Sketch, ...]
    employees: frozenset[Employee]


def sketch(tenant: str, index: int, start: int, end: int, identity: Document) -> Sketch:
    """The sketch of a row with this identity (`identity.sent_identity`)."""
    natural = natural_key(identity)
    key = given_key(identity)
    made = None
    if key is None and natural is not None:
        (made,) = islice(made_keys(tenant, identity["companyCode"], natural, ""), 1)
    return Sketch(index, start, end, employee_of(identity), key, made)


def units(sketches: Sequence[Sketch], owners: Mapping[str, Employee]) -> list[Unit]:
    """The units of a company's rows. `owners` tells who has the licenses of given keys."""
    joined: _Joined = _Joined()
    for each in sketches:
        joined.join(each.index, _tokens(each, owners))
    members: dict[object, list[Sketch]] = {}
    for each in sorted(sketches, key=lambda item: item.index):
        members.setdefault(joined.root(each.index), []).append(each)
    return [_unit(rows, owners) for rows in members.values()]


def _tokens(each: Sketch, owners: Mapping[str, Employee]) -> Iterable[object]:
    if each.employee.is_named:
        yield each.employee
    for key in (each.key, each.made_key):
        if key is not None:
            yield key
    owner = None if each.key is None else owners.get(each.key)
    if owner is not None and owner.is_named:
        yield owner


def _unit(rows: list[Sketch], owners: Mapping[str, Employee]) -> Unit:
    keys = {row.key for row in rows if row.key is not None}
    employees = {row.employee for row in rows} | {owners[key] for key in keys if key in owners}
    return Unit(tuple(rows), frozenset(employees))


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
