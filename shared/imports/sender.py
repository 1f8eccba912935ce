"""Who sent an import, and from which file and body (docs/contracts.md#8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.printable import printable

MOST_CALLER: Final = 1_024
"""Characters of the name of a caller, as many as in the path of a blob."""
MOST_SOURCE: Final = 255


class CallerKind(StrEnum):
    """The kind of a caller, as the import object names it."""

    INTEGRATION = "integration"
    CLIENT = "client"
    COMMAND = "command"
    DROP = "drop"


CALLER_MEANINGS: Final[Mapping[CallerKind, str]] = {
    CallerKind.INTEGRATION: "The software key of the integration that sent it.",
    CallerKind.CLIENT: "The id of the client whose token was sent.",
    CallerKind.COMMAND: "`user@host` of an administrator's command, as the command says it.",
    CallerKind.DROP: "The path of the dropped file.",
}
"""The meaning of the name of each kind of caller, for the documents."""


@dataclass(frozen=True, slots=True)
class NamedCaller:
    """A caller and its name, which has the meaning in CALLER_MEANINGS."""

    kind: CallerKind
    name: str

    def to_document(self) -> dict[str, str]:
        """`{"integration": "HR1"}`."""
        return {self.kind.value: self.name}

    def is_called(self, text: str) -> bool:
        """Whether a filter means this caller: its name, or its kind and name (`client acme`)."""
        return text in (self.name, f"{self.kind.value} {self.name}")


def named_caller(kind: CallerKind, name: str) -> NamedCaller:
    """A caller with its name made printable and cut to MOST_CALLER characters."""
    return NamedCaller(kind, printable(name[:MOST_CALLER])[:MOST_CALLER])


def caller_from_texts(kind: str, name: str) -> NamedCaller | None:
    """The caller of these stored texts; None if there is none, or if it cannot be read."""
    if kind not in tuple(CallerKind):
        return None
    return NamedCaller(CallerKind(kind), name)


def source_name(name: str) -> str:
    """The name of a file as an import stores it: without folders, printable, "" if it is blank.

    A long name keeps its end, which has the extension.
    """
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    return printable(last[-MOST_SOURCE:])[-MOST_SOURCE:]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent an import, and from which file and body.

    `source` is the name of the file, `body_hash` the keyed hash of the body, or "" if there is
    none. `caller` is None for an import of an earlier version.
    """

    caller: NamedCaller | None = None
    source: str = ""
    body_hash: str = ""


NO_SENDER: Final = Sender()
