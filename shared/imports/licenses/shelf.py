"""The licenses of some employees while the rows of an import are applied to them.

A shelf is filled from storage, changed row by row, and says in the end what has changed. It keeps
the two promises of the contract: a key is unique within the company, and no two licenses have one
natural key (CONTRACTS 2, matching).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.imports.definition import Document
from shared.imports.licenses.identity import Employee, NaturalKey, employee_of, natural_key


@dataclass(frozen=True, slots=True)
class Held:
    """A license in its place; `number` is the import that changed it last.

    `document` is None where the license is gone from this place and only its number is kept.
    `created_at` is ISO text, "" for a new one.
    """

    key: str
    employee: Employee
    document: Document | None
    number: int
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a license; None where there was, or is, none."""

    key: str
    before: Held | None
    after: Held | None


class Shelf:
    """The licenses, by key and by natural key.

    `taken` are keys of the company's other licenses, as far as they are known.
    """

    def __init__(self, held: Iterable[Held] = (), taken: Iterable[str] = ()) -> None:
        self._held: dict[str, Held] = {}
        self._natural: dict[NaturalKey, str] = {}
        self._graves: dict[str, Held] = {}
        self._taken = set(taken)
        self._before: dict[str, Held | None] = {}
        for each in held:
            self.fill(each)

    def fill(self, held: Held) -> None:
        """Put a license there as it is stored."""
        if held.document is None:
            self._graves[held.key] = held
        else:
            self._enter(held)

    def by_key(self, key: str) -> Held | None:
        """The license of that key."""
        return self._held.get(key)

    def by_natural(self, natural: NaturalKey) -> Held | None:
        """The license of that natural key."""
        key = self._natural.get(natural)
        return None if key is None else self._held[key]

    def grave(self, key: str) -> Held | None:
        """What is kept of a license that is gone."""
        return self._graves.get(key)

    def is_taken(self, key: str) -> bool:
        """Whether some license of the company has the key."""
        return key in self._held or key in self._taken

    def held_by(self, employee: Employee) -> list[Held]:
        """An employee's licenses."""
        return [held for held in self._held.values() if held.employee == employee]

    def put(self, key: str, document: Document, number: int) -> None:
        """Make this the license of that key."""
        self._remember(key)
        before = self._held.get(key)
        created_at = before.created_at if before is not None else ""
        self._leave(key)
        self._enter(Held(key, employee_of(document), document, number, created_at))

    def remove(self, key: str) -> None:
        """Take a license off the shelf."""
        self._remember(key)
        self._leave(key)

    def changes(self) -> Iterator[Change]:
        """What has changed since the shelf was filled, or since `settle`; not what came back."""
        for key, before in self._before.items():
            after = self._held.get(key)
            if (before and before.document) != (after and after.document):
                yield Change(key, before, after)

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

    def mark(self) -> Mark:
        """The shelf as it is, to come back to."""
        return Mark(dict(self._held), dict(self._natural), dict(self._before))

    def go_back(self, mark: Mark) -> None:
        """Undo everything since then."""
        self._held, self._natural = dict(mark.held), dict(mark.natural)
        self._before = dict(mark.before)

    def _remember(self, key: str) -> None:
        self._before.setdefault(key, self._held.get(key))

    def _enter(self, held: Held) -> None:
        self._held[held.key] = held
        natural = natural_key(held.document or {})
        if natural is not None:
            self._natural[natural] = held.key

    def _leave(self, key: str) -> None:
        held = self._held.pop(key, None)
        natural = natural_key(held.document or {}) if held is not None else None
        if natural is not None and self._natural.get(natural) == key:
            del self._natural[natural]


@dataclass(frozen=True, slots=True)
class Mark:
    """A shelf as it was."""

    held: dict[str, Held]
    natural: dict[NaturalKey, str]
    before: dict[str, Held | None]
