"""The records of a batch and the stored employees, as the rules see them: without any value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from shared.imports.authdata.fingerprints import (
    NO_FINGERPRINTS,
    NO_VALUES,
    Fingerprints,
    Triple,
    name_of,
)
from shared.imports.definition import Document
from shared.imports.messages import Message

NO_FILE_LOG_ID: Final = "00000000-0000-0000-0000-000000000000"
EMPLOYEE_ID: Final = "employeeId"
EMPLOYEE_STATUS: Final = "employeeStatus"
VALUE_FIELDS: Final = ("authValue1", "authValue2", "authValue3")
FIELDS: Final = (EMPLOYEE_ID, EMPLOYEE_STATUS, *VALUE_FIELDS)


@dataclass(frozen=True, slots=True)
class AuthRecord:
    """One submitted record after scrub: blanks are None, values are hashes.

    `position` counts from 0 over all calls of its batch, in the order in which they were appended.
    `messages` is what reading found; a record with an Error takes part in nothing.
    """

    position: int
    employee_id: str | None = None
    status: str | None = None
    prints: Fingerprints = NO_FINGERPRINTS
    messages: tuple[Message, ...] = ()

    @property
    def is_faulty(self) -> bool:
        """Whether the record is an error by itself, whatever is stored."""
        return any(message.is_error for message in self.messages)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no data at all: scrub drops it."""
        return (
            self.employee_id is None
            and self.status is None
            and not self.prints.has_values
            and not self.is_faulty
        )

    @property
    def filled(self) -> int:
        """How many of its five fields say something."""
        named = (self.employee_id is not None) + (self.status is not None)
        return named + sum(self.prints.present)

    def pack(self) -> dict[str, Any]:
        """As a small JSON object without its position, for staging and payload."""
        packed = {
            EMPLOYEE_ID: self.employee_id,
            EMPLOYEE_STATUS: self.status,
            "prints": self.prints.pack(),
            "messages": [message.pack() for message in self.messages],
        }
        return {name: value for name, value in packed.items() if value}

    @classmethod
    def unpack(cls, position: int, packed: Mapping[str, Any]) -> AuthRecord:
        """The inverse of `pack`."""
        prints = packed.get("prints")
        return cls(
            position,
            packed.get(EMPLOYEE_ID),
            packed.get(EMPLOYEE_STATUS),
            Fingerprints.unpack(prints) if prints else NO_FINGERPRINTS,
            tuple(Message.unpack(message) for message in packed.get("messages", ())),
        )


@dataclass(frozen=True, slots=True)
class Employee:
    """What is stored of an employee: all present hashes are under one key, `key`."""

    employee_id: str
    status: str | None = None
    key: str = ""
    values: Triple = NO_VALUES

    @property
    def has_values(self) -> bool:
        """Whether any value is stored."""
        return any(self.values)

    @property
    def triple(self) -> str | None:
        """The name of its triple; None without values."""
        return name_of(self.key, self.values) if self.has_values else None

    def document(self) -> Document:
        """As it is stored; what there is not is left out."""
        named = {EMPLOYEE_ID: self.employee_id, EMPLOYEE_STATUS: self.status}
        if self.has_values:
            named |= {"hashKey": self.key, **dict(zip(VALUE_FIELDS, self.values, strict=True))}
        return {name: value for name, value in named.items() if value is not None}

    @classmethod
    def of(cls, document: Document) -> Employee:
        """The inverse of `document`. Raises what another document makes it raise."""
        if not isinstance(document[EMPLOYEE_ID], str):
            raise ValueError("no employee")
        first, second, third = (document.get(name) for name in VALUE_FIELDS)
        return cls(
            document[EMPLOYEE_ID],
            document.get(EMPLOYEE_STATUS),
            document.get("hashKey", ""),
            (first, second, third),
        )


@dataclass(frozen=True, slots=True)
class Stored:
    """What a batch needs to know of the employees that are stored.

    `employees` by id, `holders` the id of the employee that has a triple, by the triple's name;
    both need only hold what the batch asks for. `count` is how many employees there are.
    `unreadable` are the ids of employees whose stored record is broken; holders may name them.
    """

    employees: Mapping[str, Employee] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    count: int = 0
    unreadable: frozenset[str] = frozenset()
