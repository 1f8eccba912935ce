"""One id of the message catalogue: its own module, so that types can declare theirs beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
