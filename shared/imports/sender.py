"""Who had an import made, and what it was made of (docs/contracts.md#8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.printable import printable

MOST_CALLER: Final = 1_024
"""Characters of the name of a caller: as many as the path of a blob may have."""
MOST_SOURCE: Final = 255


class CallerKind(StrEnum):
    """What a caller is, as the import object names it."""

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
"""What each kind of caller names, for the documents."""


@dataclass(frozen=True, slots=True)
class NamedCaller:
    """A caller by its name; CALLER_MEANINGS says what that is."""

    kind: CallerKind
    name: str

    def to_document(self) -> dict[str, str]:
        """`{"integration": "HR1"}`."""
        return {self.kind.value: self.name}


def named_caller(kind: CallerKind, name: str) -> NamedCaller:
    """A caller whose name is shown on one line and has at most MOST_CALLER characters."""
    return NamedCaller(kind, printable(name[:MOST_CALLER])[:MOST_CALLER])


def caller_from_texts(kind: str, name: str) -> NamedCaller | None:
    """The caller that these stored texts name; None for none, or one that cannot be read."""
    if kind not in tuple(CallerKind):
        return None
    return NamedCaller(CallerKind(kind), name)


def source_name(name: str) -> str:
    """The name of a file as an import keeps it: without folders, printable, "" where it is blank.

    Of a longer name the end is kept, which has its extension.
    """
    last = name.replace("\\", "/").rpartition("/")[2].strip()
    return printable(last[-MOST_SOURCE:])[-MOST_SOURCE:]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who had an import made, and what it was made of.

    `source` is the name of the file, `body_hash` the keyed hash of the body; "" where there is
    none. `caller` is None for an import of an earlier version.
    """

    caller: NamedCaller | None = None
    source: str = ""
    body_hash: str = ""


NO_SENDER: Final = Sender()
