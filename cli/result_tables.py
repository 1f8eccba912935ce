"""Results as text and as files: rows by index and line, failures as a table.

A result is that of `/api/imports/{id}/results`, but its `index` is 0-based within the whole file,
and it has the 1-based `line` of the file in which the row begins.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cli.output import columns
from shared.imports import csv_export
from shared.imports.files.formats import FileFormat, format_of_name
from shared.imports.messages import MessageId, Severity
from shared.imports.registry import MESSAGE_CATALOGUE
from shared.imports.results import MAX_GROUPS, MAX_INDEXES, UnmappedValues
from shared.imports.text_checks import escaped

# The most failed rows in the table. The file of `--failed-rows` has all of them.
MOST_FAILURES: Final = 100
_LINE_BREAKS: Final = str.maketrans("\r\n", "  ")
_PLACE_WIDTH: Final = len("index 99, line 100")
_SIDES: Final = ("before", "after")
_FAILURE_HEAD: Final = ("INDEX", "LINE", "KEY", "ID", "FIELD", "VALUE", "MESSAGE")
# The most characters of a value in the table. The file of `--failed-rows` has the whole value.
_MOST_OF_A_VALUE: Final = 40

Result = dict[str, Any]


def with_line(result: Result, lines: Sequence[int]) -> Result:
    """Add the line of its row to a result. `lines` has the line of each row of the file, or 0."""
    return {**result, "line": lines[result["index"]] or None}


def key_of(result: Result) -> str:
    """The key as text."""
    return " / ".join(result["key"].values()) or "(no key)"


def is_about(message: Mapping[str, Any], columns: Iterable[str]) -> bool:
    """Whether a message, or a group of messages, reports one of these columns as unknown."""
    field = message.get("fieldName", "").lower()
    return message["errorID"] == MessageId.UNKNOWN_FIELD and any(
        f"{name.lower()}.".startswith((f"{field}.", f"{field}[")) for name in columns
    )


def row_lines(results: Iterable[Result], columns: Sequence[str] = ()) -> Iterator[str]:
    """A line for each row, with its warnings and infos below. Errors are in the table of failures.

    An unknown column is not reported again for each row.
    """
    for result in results:
        place = f"index {result['index']}"
        # Of a file that the gateway has read only the lines of failed rows are known.
        place += f", line {result['line']}" if result["line"] else ""
        yield f"{place:<{_PLACE_WIDTH}}  {key_of(result)}  {result['outcome']}"
        for change in result.get("changes", ()) if result["outcome"] == "updated" else ():
            before, after = (json.dumps(change[at], ensure_ascii=False) for at in _SIDES)
            yield f"         {change['field']}: {before} → {after}"
        for message in result["messages"]:
            if message["messageType"] == "Error" or is_about(message, columns):
                continue
            field = f" [{_field_of(message)}]" if "fieldName" in message else ""
            text = f"{message['messageType']} {message['errorID']}: {message['message']}"
            yield f"         {text}{field}"


def _field_of(message: Mapping[str, Any]) -> str:
    """The field of a message or a group, with the column of the sender that it came from."""
    field, column = message.get("fieldName", ""), message.get("sentAs")
    return f"{field} ({column})" if field and column else str(field)


def failure_table(failures: Sequence[Result]) -> list[str]:
    """The failed rows, a line for each error, and the number of further rows, if any."""
    cells = [
        (
            str(result["index"]),
            str(result["line"] or ""),
            key_of(result),
            str(message["errorID"]),
            _field_of(message),
            _shorten(message.get("fieldValue", "")),
            message["message"],
        )
        for result in failures[:MOST_FAILURES]
        for message in result["messages"]
        if message["messageType"] == "Error"
    ]
    lines = columns(_FAILURE_HEAD, cells) if cells else []
    more = len(failures) - MOST_FAILURES
    return [*lines, f"… and {more} more failed rows."] if more > 0 else lines


def unmapped_lines(values: UnmappedValues) -> list[str]:
    """The values without an entry in the mapping profile, and the number of rows with others."""
    cells = [
        (
            each.column or "",
            each.field_name,
            "(not shown)" if each.value is None else _shorten(each.value),
            str(each.count),
            str(each.first_index),
        )
        for each in values.sorted()
    ]
    if not cells:
        return ["Every value has an entry."]
    lines = columns(("COLUMN", "FIELD", "VALUE", "ROWS", "FIRST INDEX"), cells)
    more = values.left_out
    return [*lines, f"… and {more} rows with other values."] if more else lines


def _shorten(value: str) -> str:
    """A value shortened for a line of the table, with invisible characters escaped."""
    text = escaped(value)
    return text if len(text) <= _MOST_OF_A_VALUE else f"{text[: _MOST_OF_A_VALUE - 1]}…"


def write_failed_rows(
    path: Path,
    rows: Sequence[str],
    failures: Sequence[Result],
    style: csv_export.CellStyle = csv_export.OWN_STYLE,
    lists: Mapping[int, csv_export.Lists] = MappingProxyType({}),
) -> None:
    """The failed rows as they were sent, with their messages, readable by this user only.

    CSV by the ending `.csv`, a row per line by `.ndjson`, else a JSON array: each can be corrected
    and given to the same command again. `lists` is `RowFile.lists`.
    """
    in_order = sorted(failures, key=lambda result: int(result["index"]))
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
        # A file that was there already keeps its mode otherwise. A device keeps it: the path may be
        # /dev/null, which every program needs. The file may be one that only its owner can change.
        if stat.S_ISREG(os.fstat(handle).st_mode):
            with suppress(PermissionError):
                os.fchmod(handle, 0o600)
        file.write(_failed_rows_text(format_of_name(path.name), rows, in_order, style, lists))


def _failed_rows_text(
    file_format: FileFormat | None,
    rows: Sequence[str],
    failures: Sequence[Result],
    style: csv_export.CellStyle,
    lists: Mapping[int, csv_export.Lists],
) -> str:
    match file_format:
        case FileFormat.CSV:
            return "\ufeff" + "".join(_csv_lines(rows, failures, style, lists))
        case FileFormat.NDJSON:
            return "".join(f"{_as_json(rows, result)}\n" for result in failures)
        case _:
            cells = ",\n".join(_as_json(rows, result) for result in failures)
            return f"[\n{cells}\n]\n" if cells else "[]\n"


def _as_json(rows: Sequence[str], result: Result) -> str:
    messages = json.dumps(result["messages"], ensure_ascii=False, separators=(",", ":"))
    row = rows[result["index"]].translate(_LINE_BREAKS)
    line = f',"line":{result["line"]}' if result["line"] else ""
    place = f'"index":{result["index"]}{line}'
    return f'{{{place},"row":{row},"messages":{messages}}}'


def _csv_lines(
    rows: Sequence[str],
    failures: Sequence[Result],
    style: csv_export.CellStyle,
    lists: Mapping[int, csv_export.Lists],
) -> Iterator[str]:
    field_columns: csv_export.Columns = {}
    for result in failures:
        index = result["index"]
        csv_export.note_columns(field_columns, rows[index], lists.get(index))
    field_columns = csv_export.bounded_columns(field_columns, len(failures))
    has_lines = any(result["line"] for result in failures)
    yield csv_export.header_line(field_columns, with_lines=has_lines)
    for result in failures:
        text = "; ".join(
            f"{item['errorID']} {_field_of(item)}: {item['message']}"
            if "fieldName" in item
            else f"{item['errorID']} {item['message']}"
            for item in result["messages"]
        )
        index, line = result["index"], (result["line"] or "") if has_lines else None
        yield csv_export.row_line(
            field_columns, index, text, rows[index], line, style, lists.get(index)
        )


# The messages of rows in groups, for people: one id about one field, how often, in which rows.
#
# A group is an item of `/api/imports/{id}/failures`. Rows are counted by their index in the
# payload, from 0, and rows of a file also by the line that they begin in.

MOST_GROUPS_SHOWN: Final = 50
_PLACES_SHOWN: Final = 3
_GROUP_HEAD: Final = ("KIND", "ID", "FIELD", "MESSAGES", "FIRST INDEXES", "MESSAGE")
_LINES_HEAD: Final = "FIRST LINES"
_MESSAGE_MEMBERS: Final = ("messageType", "errorID", "fieldName", "sentAs")
_SEVERITIES: Final = [severity.value for severity in Severity]

Group = Mapping[str, Any]


def group_table(groups: Sequence[Group], lines: Sequence[int] = ()) -> list[str]:
    """A line per group; `lines` has the line of each row of a file by its index, 0 if not known.

    The column of lines is there where some are known, and empty where not all of a group are.
    """
    if not groups:
        return []
    head = list(_GROUP_HEAD)
    cells = [
        [
            group["messageType"],
            str(group["errorID"]),
            _field_of(group),
            str(group["count"]),
            _first_places(group["firstIndexes"], group["count"]),
            group["message"],
        ]
        for group in groups[:MOST_GROUPS_SHOWN]
    ]
    places = []
    for group in groups[:MOST_GROUPS_SHOWN]:
        shown = group["firstIndexes"][:_PLACES_SHOWN]
        first_lines = [lines[index] for index in shown if index < len(lines)]
        is_known = bool(first_lines) and all(first_lines)
        places.append(_first_places(first_lines, group["count"]) if is_known else "")
    if any(places):
        head.insert(-1, _LINES_HEAD)
        for row, place in zip(cells, places, strict=True):
            row.insert(-1, place)
    more = len(groups) - MOST_GROUPS_SHOWN
    return [*columns(head, cells), *([f"… and {more} more groups."] if more > 0 else [])]


class GroupTally:
    """Collects the groups of all calls of one file, with indexes within the file."""

    def __init__(self) -> None:
        self._groups: dict[tuple[int, str | None], dict[str, Any]] = {}

    def add_groups(
        self,
        groups: Iterable[Group],
        index_of: Callable[[int], int],
        place_of: Callable[[int, str], str],
    ) -> None:
        """Add the groups of an import; `index_of` makes the index in the file of one of its own.

        `place_of` names a field as the file has it for the row of an index, here for the first one.
        """
        for group in groups:
            places = [index_of(index) for index in group["firstIndexes"]]
            named = {**group, "firstIndexes": places}
            if places and "fieldName" in group:
                named["fieldName"] = place_of(places[0], group["fieldName"])
            self._add(named)

    def add_results(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Add the messages of results, in order of their indexes in the file."""
        for result in results:
            for message in result["messages"]:
                group = {name: message[name] for name in _MESSAGE_MEMBERS if name in message}
                place = [result["index"]]
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
        stored = self._groups.get(key)
        if stored is None:
            # A hostile file can have other field names in each row.
            if len(self._groups) < MAX_GROUPS:
                self._groups[key] = group
            return
        stored["count"] += group["count"]
        stored["firstIndexes"] = list(
            dict.fromkeys([*stored["firstIndexes"], *group["firstIndexes"]])
        )[:MAX_INDEXES]


def _catalogue_text(message: Mapping[str, Any]) -> str:
    """The catalogue's text of a message, without the detail of one row."""
    entry = MESSAGE_CATALOGUE.get(message["errorID"])
    return entry.text if entry else str(message["message"])


def _first_places(places: Sequence[int], count: int) -> str:
    first = ", ".join(map(str, places[:_PLACES_SHOWN]))
    return f"{first}, …" if count > min(len(places), _PLACES_SHOWN) else first
