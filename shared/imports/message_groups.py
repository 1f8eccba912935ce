"""The messages of an import in groups of one id and field: how many, and in which rows."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.imports.messages import CATALOGUE, CatalogueEntry, Severity
from shared.imports.results import RowResult

MOST_GROUPS: Final = 500
"""Each row of a hostile payload can name fields of its own."""
MOST_INDEXES: Final = 10
_ORDER: Final = list(Severity)


@dataclass(slots=True)
class MessageGroup:
    """The messages with one id about one field; `indexes` are the lowest of their rows."""

    id: int
    field_name: str | None
    count: int = 0
    indexes: list[int] = field(default_factory=list)

    @property
    def entry(self) -> CatalogueEntry:
        """What the id means."""
        return CATALOGUE[self.id]

    def add(self, index: int) -> None:
        """Count a message of a row."""
        self.count += 1
        if index in self.indexes:
            return
        if len(self.indexes) == MOST_INDEXES:
            if index > self.indexes[-1]:
                return
            self.indexes.pop()
        insort(self.indexes, index)


class MessageGroups:
    """Groups that grow row by row; past `MOST_GROUPS`, messages of others are only counted."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str | None], MessageGroup] = {}
        self.left_out = 0
        """How many messages are in no group."""

    def add(self, rows: Iterable[RowResult], severity: Severity | None = None) -> None:
        """Count the messages of rows, of one severity or of all."""
        for row in rows:
            for message in row.messages:
                if severity is None or message.severity is severity:
                    self._count(message.id, message.field, row.index)

    def sorted(self) -> Sequence[MessageGroup]:
        """Errors, warnings, infos; the largest groups first."""
        return sorted(
            self._groups.values(),
            key=lambda group: (
                _ORDER.index(group.entry.severity),
                -group.count,
                group.id,
                group.field_name or "",
            ),
        )

    def _count(self, message_id: int, about: str | None, index: int) -> None:
        group = self._groups.get((message_id, about))
        if group is None:
            if len(self._groups) >= MOST_GROUPS:
                self.left_out += 1
                return
            group = self._groups[message_id, about] = MessageGroup(message_id, about)
        group.add(index)
