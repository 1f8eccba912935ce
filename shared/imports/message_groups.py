"""The messages of an import, grouped by id and field, with their number and their rows."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.imports.messages import CATALOGUE, CatalogueEntry, Severity
from shared.imports.results import RowResult

# A limit is needed because each row of a hostile payload can name fields of its own.
MAX_GROUPS: Final = 500
MAX_INDEXES: Final = 10
_ORDER: Final = list(Severity)


@dataclass(slots=True)
class MessageGroup:
    """The messages with one id and field; `indexes` are the lowest indexes of their rows."""

    id: int
    field_name: str | None
    count: int = 0
    indexes: list[int] = field(default_factory=list)

    @property
    def entry(self) -> CatalogueEntry:
        """The catalogue's entry of the id."""
        return CATALOGUE[self.id]

    def add(self, index: int) -> None:
        """Count a message of a row."""
        self.count += 1
        if index in self.indexes:
            return
        if len(self.indexes) == MAX_INDEXES:
            if index > self.indexes[-1]:
                return
            self.indexes.pop()
        insort(self.indexes, index)


class MessageGroups:
    """Collects groups row by row; past `MAX_GROUPS` it only counts further messages."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str | None], MessageGroup] = {}
        # The number of messages that are in no group.
        self.left_out = 0

    def add(self, rows: Iterable[RowResult], severity: Severity | None = None) -> None:
        """Count the messages of rows, of one severity or of all."""
        for row in rows:
            for message in row.messages:
                if severity is None or message.severity is severity:
                    self._add(message.id, message.field, row.index)

    def sorted(self) -> Sequence[MessageGroup]:
        """The groups: errors, warnings, infos, and the largest of each first."""
        return sorted(
            self._groups.values(),
            key=lambda group: (
                _ORDER.index(group.entry.severity),
                -group.count,
                group.id,
                group.field_name or "",
            ),
        )

    def _add(self, message_id: int, field_name: str | None, index: int) -> None:
        group = self._groups.get((message_id, field_name))
        if group is None:
            if len(self._groups) >= MAX_GROUPS:
                self.left_out += 1
                return
            group = self._groups[message_id, field_name] = MessageGroup(message_id, field_name)
        group.add(index)
