"""The messages of rows in groups, for people: one id about one field, how often, in which rows.

A group is an item of `/api/imports/{id}/failures`. Rows are counted by their index in the payload,
from 0, and rows of a file also by the line that they begin in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cli.output import columns
from shared.imports.message_groups import MOST_GROUPS, MOST_INDEXES
from shared.imports.messages import CATALOGUE, Severity

MOST_GROUPS_SHOWN: Final = 50
_PLACES_SHOWN: Final = 3
_GROUP_HEAD: Final = ("KIND", "ID", "FIELD", "MESSAGES", "FIRST INDEXES", "MESSAGE")
_LINES_HEAD: Final = "FIRST LINES"
_MESSAGE_MEMBERS: Final = ("messageType", "errorID", "fieldName")
_SEVERITIES: Final = [severity.value for severity in Severity]

Group = Mapping[str, Any]


def group_table(groups: Sequence[Group], lines: Sequence[int] = ()) -> list[str]:
    """A line per group; `lines` has the line of each row of a file, by its index."""
    if not groups:
        return []
    head, cells = list(_GROUP_HEAD), [_group_cells(group) for group in groups[:MOST_GROUPS_SHOWN]]
    if lines:
        head.insert(-1, _LINES_HEAD)
        for group, row in zip(groups, cells, strict=False):
            known = [lines[index] for index in group["firstIndexes"] if index < len(lines)]
            row.insert(-1, _first_places(known, group["count"]))
    more = len(groups) - MOST_GROUPS_SHOWN
    return [*columns(head, cells), *([f"… and {more} more groups."] if more > 0 else [])]


class GroupTally:
    """The groups of the calls that carry one file, with indexes counted within the file."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str | None], dict[str, Any]] = {}

    def add_groups(self, first: int, groups: Iterable[Group]) -> None:
        """Add the groups of the import of the rows from place `first` on."""
        for group in groups:
            moved = [index + first for index in group["firstIndexes"]]
            self._add({**group, "firstIndexes": moved})

    def add_results(self, first: int, results: Iterable[Mapping[str, Any]]) -> None:
        """Add the messages of results, in order of their indexes, for a call that has no import."""
        for result in results:
            for message in result["messages"]:
                group = {name: message[name] for name in _MESSAGE_MEMBERS if name in message}
                place = [result["index"] + first]
                self._add(
                    {
                        **group,
                        "message": _catalogue_text(message),
                        "count": 1,
                        "firstIndexes": place,
                    }
                )

    def sorted(self) -> list[dict[str, Any]]:
        """Errors, warnings, infos; the largest groups first."""
        return sorted(
            self._groups.values(),
            key=lambda group: (
                _SEVERITIES.index(group["messageType"]),
                -group["count"],
                group["errorID"],
                group.get("fieldName", ""),
            ),
        )

    def _add(self, group: dict[str, Any]) -> None:
        key = (group["errorID"], group.get("fieldName"))
        known = self._groups.get(key)
        if known is None:
            # A hostile file can name fields of its own in each row.
            if len(self._groups) < MOST_GROUPS:
                self._groups[key] = group
            return
        known["count"] += group["count"]
        known["firstIndexes"] = list(
            dict.fromkeys([*known["firstIndexes"], *group["firstIndexes"]])
        )[:MOST_INDEXES]


def _catalogue_text(message: Mapping[str, Any]) -> str:
    """The catalogue's text of a message, without what it says of one row."""
    entry = CATALOGUE.get(message["errorID"])
    return entry.text if entry else str(message["message"])


def _group_cells(group: Group) -> list[str]:
    return [
        group["messageType"],
        str(group["errorID"]),
        group.get("fieldName", ""),
        str(group["count"]),
        _first_places(group["firstIndexes"], group["count"]),
        group["message"],
    ]


def _first_places(places: Sequence[int], count: int) -> str:
    shown = ", ".join(map(str, places[:_PLACES_SHOWN]))
    return f"{shown}, …" if count > min(len(places), _PLACES_SHOWN) else shown
