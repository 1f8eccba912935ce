"""The message catalogue (CONTRACTS 6): the one source of ids, severities and wording."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """The `messageType` of a message (CONTRACTS 1)."""

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One message id: what it means for the caller, and where the rule comes from."""

    id: int
    severity: Severity
    text: str
    advice: str
    source: str


def _entries() -> tuple[CatalogueEntry, ...]:
    error, warning, info = Severity.ERROR, Severity.WARNING, Severity.INFO
    return (
        CatalogueEntry(
            1001, error, "Required field missing or empty", "Send a value for the field.", "vendor"
        ),
        CatalogueEntry(
            1002, error, "Value has the wrong type", "Send the type of the schema.", "CONTRACTS 0"
        ),
    )


CATALOGUE = {entry.id: entry for entry in _entries()}


@dataclass(frozen=True, slots=True)
class Message:
    """One thing to say about a row.

    `field` is the path under contract names (`PrimaryBankDetails.BankSortCode`); `value` is the
    value as sent, left out for secret and personal-identity fields; `detail` makes the catalogue's
    sentence specific and never holds a value.
    """

    id: int
    field: str | None = None
    value: str | None = None
    detail: str | None = None

    @property
    def severity(self) -> Severity:
        """The catalogue's severity."""
        return CATALOGUE[self.id].severity

    @property
    def is_error(self) -> bool:
        """Whether the row fails by this message."""
        return self.severity is Severity.ERROR

    @property
    def text(self) -> str:
        """The sentence for the caller."""
        text = CATALOGUE[self.id].text
        return text if self.detail is None else f"{text}: {self.detail}"

    def pack(self) -> list[Any]:
        """As a JSON list without trailing blanks."""
        packed: list[Any] = [self.id, self.field, self.value, self.detail]
        while packed[-1] is None:
            packed.pop()
        return packed

    @classmethod
    def unpack(cls, packed: list[Any]) -> Message:
        """The inverse of `pack`."""
        return cls(*packed)
