"""Rows of a large chunk as they were sent, so that repeated ones need not be read by their rules.

A record that was written by one row keeps a keyed digest of that row's JSON in its `Digest`. Where
the same JSON comes again and nothing has written the record since, the row is unchanged, and that
is decided without parsing it (docs/design.md#digests). A record has such a digest only where

* the row was the only one for its record in its chunk,
* its result had no message,
* it had no notes that may change it, since they are not part of the JSON.

What else decides about a row is in the digest, too: the version of its type, and the gateway's code
(`code_digest`). The day stands beside it. A date of birth in the future gets a message, so there
are no more messages on a later day, but there may be on an earlier one.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Final

import shared
from shared import log
from shared.clock import PROCESS_STARTED
from shared.imports.files.notes import may_change_row
from shared.imports.import_type import ImportType, OnExisting
from shared.imports.json_rows import LinePlace, line_places
from shared.imports.messages import Message, MessageId
from shared.imports.results import Outcome, RowResult
from shared.services.background import Offload
from shared.services.row_processor import BeforeCommit, KeyRows
from shared.storage.business_records import (
    FEW_ROWS,
    RecordKey,
    RecordStates,
    partition_of,
    row_of,
)
from shared.storage.import_records import ImportRecord
from shared.storage.sealing import RecordDigests

# Rows whose states are read, and whose digests are compared, at a time.
_AT_ONCE: Final = 250
_UNCHANGED: Final = (Message(MessageId.NOTHING_TO_CHANGE),)


@cache
def code_digest() -> bytes:
    """The digest of the gateway's code in this process; b"" where it is not known."""
    return digest_of_code(Path(shared.__file__).parent, PROCESS_STARTED)


def digest_of_code(folder: Path, loaded_at: float) -> bytes:
    """A digest of the Python files of a folder and of the libraries that the rules use.

    b"" where there are none, or where one may have changed since a process has loaded them.
    """
    import pydantic
    import pydantic_core

    versions = (platform.python_version(), pydantic.VERSION, pydantic_core.__version__)
    made = hashlib.sha256(" ".join(versions).encode())
    files = sorted(folder.rglob("*.py"))
    for file in files:
        state = file.stat()
        if max(state.st_mtime, state.st_ctime) >= loaded_at:
            return b""
        code = file.read_bytes()
        made.update(f"\n{file.relative_to(folder).as_posix()} {len(code)}\n".encode() + code)
    return made.digest() if files else b""


@dataclass(frozen=True, slots=True)
class _Found:
    """A row whose key was found by a search for its fields, which may find that of another record.

    A digest is kept under the key of the row. So the key is certain where its record has the digest
    of the row.
    """

    place: LinePlace
    key: tuple[str, str]
    record: RecordKey


class SentRows:
    """The rows of one chunk, to keep and compare their digests."""

    def __init__(
        self, kind: ImportType, record: ImportRecord, digests: RecordDigests, data: bytes
    ) -> None:
        """`data` are the lines of the chunk. Raises ValueError without a day of acceptance."""
        self._tenant = record.tenant
        self._data = data
        self._digests = digests
        self._number = record.number
        self._is_update = record.options.on_existing is OnExisting.UPDATE
        self._day = date.fromisoformat(record.accepted_at[:10]).toordinal()
        rules = f"{kind.name} {kind.version} {record.options.action}"
        # Stands for all that decides about a row but for the row itself and the day.
        self.code = hashlib.sha256(code_digest() + rules.encode()).digest()
        self._patterns = [_pattern_of(field) for field in kind.rules.key_fields]
        self._places = {place.row: place for place in line_places(data)}

    @classmethod
    def of_chunk(
        cls, kind: ImportType, record: ImportRecord, digests: RecordDigests, data: bytes
    ) -> SentRows | None:
        """The rows of a chunk; None where they may not be compared, or it is not worth it.

        A row of a retry may fail because of what was imported after it was sent first.
        """
        is_of_gateway = kind.load_rules.__module__.startswith(f"{shared.__name__}.")
        if data.count(b"\n") < FEW_ROWS or record.parent.number or not is_of_gateway:
            return None
        if not digests.are_known or not code_digest():
            return None
        try:
            return cls(kind, record, digests, data)
        except ValueError as error:
            log.failure("rows.not_compared", error, import_id=record.import_id)
            return None

    @property
    def order(self) -> Sequence[int]:
        """The indexes of the rows in the order of the lines."""
        return list(self._places)

    def digest_of(self, rows: KeyRows, messages: Sequence[Message]) -> bytes:
        """The digest to keep with the record that these rows write; b"" for none.

        `messages` are those of the first row.
        """
        first = rows.rows[0]
        place = self._places.get(first.index)
        if len(rows.rows) > 1 or messages or place is None or self._may_change_by_notes(place):
            return b""
        return self._digests.make_sent(self._parts(place, rows.key, first.key), self._day)

    async def find_repeated(
        self, states: RecordStates, before_commit: BeforeCommit, offload: Offload
    ) -> list[RowResult]:
        """The results of the rows that have written their records, as these are.

        Raises StorageUnavailableError, and the errors of `before_commit`.
        """
        if not self._is_update:
            return []
        repeated: dict[int, _Found] = {}
        async for rows in self._slices(offload):
            await before_commit()
            partition = rows[0].record.partition
            if await states.read(partition, sorted({row.record.row for row in rows})):
                found = await offload(self._size(rows), self._compare, states, rows)
                repeated.update((row.place.row, row) for row in found)
                # Where rows are new or changed, comparing more of them would hardly save anything.
                if 2 * len(found) < len(rows):
                    break
        return [
            RowResult(row.place.row, row.key, Outcome.UNCHANGED, _UNCHANGED)
            for row in self._alone(repeated)
        ]

    def without(self, results: Sequence[RowResult]) -> bytes:
        """The lines of the rows that have none of these results."""
        done = {result.index for result in results}
        return b"".join(
            self._data[place.start : place.end + 1]
            for place in self._places.values()
            if place.row not in done
        )

    async def _slices(self, offload: Offload) -> AsyncIterator[list[_Found]]:
        """The rows that have a key, some of one partition at a time; few at first."""
        places = iter(self._places.values())
        most = 2 * FEW_ROWS
        while some := list(islice(places, most)):
            rows = await offload(self._size(some), self._find_keys, some)
            for _, group in groupby(rows, key=lambda row: row.record.partition):
                yield list(group)
            most = _AT_ONCE

    def _size(self, rows: Sequence[object]) -> int:
        return len(rows) * len(self._data) // len(self._places)

    def _find_keys(self, places: Sequence[LinePlace]) -> list[_Found]:
        """The rows that have a key in its usual form."""
        found: list[_Found] = []
        group_field, reference_field = self._patterns
        for place in places:
            group = group_field.search(self._data, place.text, place.text_end)
            reference = reference_field.search(self._data, place.text, place.text_end)
            if group is not None and reference is not None and not self._may_change_by_notes(place):
                key = group[1].decode(), reference[1].decode()
                record = RecordKey(partition_of(self._tenant, key[0]), row_of(key[1]))
                found.append(_Found(place, key, record))
        return found

    def _compare(self, states: RecordStates, rows: Sequence[_Found]) -> list[_Found]:
        """The rows whose records have their digests."""
        found: list[_Found] = []
        for row in rows:
            stored = states.digest(row.record, self._number)
            if stored is not None and self._digests.matches_sent(
                stored[1], self._parts(row.place, row.record, row.key), self._day
            ):
                found.append(row)
        return found

    def _parts(
        self, place: LinePlace, record: RecordKey, key: tuple[str | None, ...]
    ) -> list[bytes]:
        """What is digested of a row: all that decides about it but for its day."""
        texts = (record.partition, record.row, *(text or "" for text in key))
        parts = [text.encode() for text in texts]
        return [*parts, self.code, self._data[place.text : place.text_end]]

    def _may_change_by_notes(self, place: LinePlace) -> bool:
        return place.text_end < place.end and may_change_row(
            self._data[place.text_end : place.end].decode()
        )

    def _alone(self, certain: Mapping[int, _Found]) -> Iterator[_Found]:
        """Those of the rows whose keys are certain that are the only ones for their records.

        The rows of a record are neighbours in a chunk. So the keys of both neighbours have to be
        certain too.
        """
        rows = [certain.get(index) for index in self._places]
        no_row = _Found(LinePlace(-1, 0, 0, 0, 0), ("", ""), RecordKey("", ""))
        for before, row, after in zip([no_row, *rows], rows, [*rows[1:], no_row], strict=False):
            if row is None or before is None or after is None:
                continue
            if before.record != row.record != after.record:
                yield row


@cache
def _pattern_of(field: str) -> re.Pattern[bytes]:
    """Finds the text of a field, without escapes, under the name of the contract."""
    return re.compile(rb'"%b"[ ]*:[ ]*"([^"\\]+)"' % re.escape(field).encode())
