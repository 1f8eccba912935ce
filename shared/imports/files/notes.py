"""The notes of a row that came from a file: its line, and what reading its cells has found.

Notes stand beside the JSON of the row in the payload (`json_rows.line_of`). Only readers of files
write them, so no JSON body can forge them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from shared.imports.csv_export import placed_path
from shared.imports.import_type import ReadRow
from shared.imports.json_rows import member_text
from shared.imports.messages import Message, MessageId


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes of one row.

    line             the line of the file, or the row of the sheet, that the row begins in; from 1
    messages         faults of its cells, and for the first row of a file its unknown columns
    has_columns      its unknown fields are columns of the file, which the first row has named
    lists            the indexes that the file or the profile gives the elements of a list, by the
                     list's name, where one before them is empty: the row has them without gaps
    sent             the JSON of the row in the layout of its sender, where a profile has mapped it
    """

    line: int | None = None
    messages: Sequence[Message] = ()
    has_columns: bool = False
    lists: Mapping[str, Sequence[int]] | None = None
    sent: str = field(default="", repr=False)

    def to_text(self) -> str:
        """The notes as compact JSON, "" for none."""
        if self.sent and not self.messages and not self.lists and self.line is not None:
            # Nearly every row that a profile has mapped.
            return f'{{"line":{self.line},{_SENT}{self.sent}}}'
        document: dict[str, Any] = {}
        if self.line is not None:
            document["line"] = self.line
        if self.has_columns:
            document["columns"] = True
        if self.lists:
            document["lists"] = self.lists
        if self.messages:
            document["messages"] = [
                [int(each.id), each.field, each.value, each.detail] for each in self.messages
            ]
        text = json.dumps(document, separators=(",", ":")) if document else ""
        if not self.sent:
            return text
        return f"{text[:-1] + ',' if text else '{'}{_SENT}{self.sent}}}"

    @classmethod
    def from_text(cls, text: str) -> Notes:
        """The notes of a text that `to_text` has made. Raises ValueError for another text."""
        if not text:
            return NO_NOTES
        document = json.loads(text)
        return cls(
            document.get("line"),
            tuple(Message(*each) for each in document.get("messages", ())),
            document.get("columns", False),
            document.get("lists"),
            member_text(text, 0, "sent") if _SENT in text and "sent" in document else "",
        )

    @property
    def of_corrected_row(self) -> Notes:
        """The notes of a row that was corrected since: only its line."""
        return Notes(self.line)


_SENT: Final = '"sent":'
_NAMES_OF_NOTES: Final = ('"messages"', '"columns"', '"lists"')
NO_NOTES: Final = Notes()


def line_notes(line: int) -> str:
    """The notes of most rows: only the line."""
    return f'{{"line":{line}}}'


def may_change_row(notes: str) -> bool:
    """Whether a row may be read differently because of its notes. Most notes have only the line."""
    return any(name in notes for name in _NAMES_OF_NOTES)


def with_notes(row: ReadRow, notes: str) -> ReadRow:
    """A row as it was read, with the messages of its notes. An Error among them fails the row.

    A field whose cell has a fault is not in the row, so that it is not missing too.
    """
    if not may_change_row(notes):
        return row
    read = Notes.from_text(notes)
    return replace(
        row,
        messages=noted_messages(row.messages, read),
        unreadable=row.unreadable | _faulty_fields(read),
        lists=read.lists,
    )


def noted_messages(messages: Sequence[Message], notes: Notes) -> tuple[Message, ...]:
    """The messages of a row that was read, with those of its notes."""
    messages = with_places(messages, notes.lists)
    if not notes.messages and not notes.has_columns:
        return messages
    faulty = _faulty_fields(notes)
    read = [
        each
        for each in messages
        if not (each.id == MessageId.UNKNOWN_FIELD and notes.has_columns)
        and not (each.id == MessageId.REQUIRED_FIELD_MISSING and each.field in faulty)
    ]
    return (*notes.messages, *read)


def with_places(
    messages: Sequence[Message], lists: Mapping[str, Sequence[int]] | None
) -> tuple[Message, ...]:
    """Messages about a row with the indexes of list elements as its file or profile has them."""
    if not lists:
        return tuple(messages)
    return tuple(
        replace(each, field=placed_path(each.field, lists)) if each.field else each
        for each in messages
    )


def _faulty_fields(notes: Notes) -> set[str]:
    return {each.field for each in notes.messages if each.is_error and each.field is not None}
