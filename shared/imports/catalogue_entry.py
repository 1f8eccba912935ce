"""One id of the message catalogue: its own module, so that types can declare theirs beside it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

NOTHING = "Nothing has to be done"
"""How the advice begins of a message after which the caller has nothing to do."""


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

    @property
    def is_verbatim(self) -> bool:
        """Whether the text is the vendor's, to which nothing is added."""
        return self.source == "vendor"

    @property
    def asks_for_something(self) -> bool:
        """Whether the caller has something to do."""
        return self.severity is not Severity.INFO or not self.advice.startswith(NOTHING)

    @property
    def advice_clause(self) -> str:
        """The advice as the end of a sentence, without its full stop."""
        return f"{self.advice[:1].lower()}{self.advice[1:].rstrip('.')}"
