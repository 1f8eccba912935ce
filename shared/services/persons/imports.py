"""The imports that name a person: their payloads, results and records, found and rewritten.

Every kept payload and result of the tenant is read once, chunk by chunk. A chunk of a payload in
which no text of the person's keys occurs is not parsed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from shared.errors import PayloadGoneError, UnreadableDataError
from shared.imports.csv_export import leaves_of
from shared.imports.files.notes import Notes
from shared.imports.json_rows import fold_names, line_of, split_line
from shared.imports.messages import Message
from shared.imports.persons import REFERENCE_FIELDS, PersonKeys
from shared.imports.results import RowResult, erased
from shared.imports.row_reader import usable_reference
from shared.imports.sender import CallerKind, Sender
from shared.services.background import Offload
from shared.services.import_log import ImportLog
from shared.services.persons.dropped_file import References
from shared.services.persons.search import BlobRange, PersonSource, Sources
from shared.services.results import Payloads, Results
from shared.storage import import_records, result_records
from shared.storage.business_records import row_of
from shared.storage.import_records import ImportRecord
from shared.storage.names import IMPORT_PAYLOADS, IMPORT_RESULT_BLOBS, IMPORT_RESULTS, IMPORTS
from shared.storage.ports import Entity, RangeTables, Replace, StoredBlobs, query_pages

_IMPORTS_AT_ONCE = 50
_RESULTS_AT_ONCE = 20
# About the factor by which a compressed result grows, for the choice of a thread.
_COMPRESSION_RATIO = 20
# What NFC makes ASCII characters of: the signs of Kelvin, of a Greek question, of a Greek accent.
_BECOMES_ASCII = tuple(sign.encode() for sign in "\u212a\u037e\u1fef")
# An erased row: an object without fields, as long as the row was.
_ERASED_ROW = "{}"


@dataclass(frozen=True, slots=True)
class NamedImport:
    """An import that names the person, with the indexes of these rows.

    `rows` are their texts, where the payload is kept, and `results` their results.
    """

    record: ImportRecord
    indexes: frozenset[int]
    rows: Mapping[int, str]
    results: Sequence[RowResult]


class PersonImports:
    """Finds and rewrites the imports of a tenant that name a person."""

    def __init__(
        self,
        tables: RangeTables,
        blobs: StoredBlobs,
        imports: ImportLog,
        payloads: Payloads,
        results: Results,
        offload: Offload,
        sources: Sources,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._imports = imports
        self._payloads = payloads
        self._results = results
        self._offload = offload
        self._sources = sources

    async def find(
        self,
        tenant: str,
        keys: PersonKeys,
        beat: Callable[[], Awaitable[None]],
        unreadable: Counter[str],
        before: int | None = None,
    ) -> AsyncIterator[NamedImport]:
        """Yield the imports that name the person, the newest first; only those below a number.

        `beat` is called in between. Payloads that cannot be read are counted in `unreadable`.
        """
        after = before
        while records := await self._imports.newest_first(tenant, after, _IMPORTS_AT_ONCE):
            for record in records:
                await beat()
                named = await self._find_in(record, keys, unreadable)
                if named is not None:
                    yield named
            after = records[-1].number

    async def _find_in(
        self, record: ImportRecord, keys: PersonKeys, unreadable: Counter[str]
    ) -> NamedImport | None:
        """The rows of an import that name the person; None if there is none."""
        source = self._sources.get(record.type_name)
        if source is None or record.is_broken:
            return None
        rows: Mapping[int, str] = {}
        references = References([*keys.texts()])
        try:
            rows = await self._named_rows(record, source, keys)
        except PayloadGoneError:
            pass  # it has expired
        except UnreadableDataError:
            unreadable["payloads"] += 1
        results: list[RowResult] = []
        if not record.results_expired_at:
            async for _, chunk in self._stored_results(record):
                results += [
                    result
                    for result in chunk
                    if result.index in rows
                    or source.names_key(keys, result.key)
                    or (
                        _is_in_group(keys, result.key[0] if result.key else None)
                        and _messages_name(result.messages, references)
                    )
                ]
        indexes = frozenset(rows) | {result.index for result in results}
        is_named = bool(indexes) or _plan_names(record, keys)
        if not is_named and not references.are_in_name(record.sender.source):
            return None
        return NamedImport(record, indexes, rows, results)

    async def is_named(self, record: ImportRecord, keys: PersonKeys) -> bool:
        """Whether a row of an import names the person. For open imports, which have a payload."""
        source = self._sources.get(record.type_name)
        if source is None:
            return False
        try:
            return bool(await self._named_rows(record, source, keys))
        except UnreadableDataError:
            return True  # it ends soon, since its rows cannot be read

    async def erase(self, named: NamedImport, keys: PersonKeys, number: int) -> None:
        """Rewrite an import without what it says of the person; `number` is that of the erasure.

        The payload comes last, because its rows say which results are the person's. Raises
        PreconditionFailedError if something has changed meanwhile.
        """
        record = named.record
        if not record.results_expired_at:
            async for entity, chunk in self._stored_results(record):
                await self._erase_results(entity, chunk, named.indexes)
        await self._erase_record(named, keys, number)
        if named.rows and not record.inline:
            await self._erase_payload(record, named.indexes)

    def files_of(self, record: ImportRecord) -> Sequence[BlobRange]:
        """The files of an import that names the person, besides those that records name."""
        return self._sources[record.type_name].files_of(record)

    async def _named_rows(
        self, record: ImportRecord, source: PersonSource, keys: PersonKeys
    ) -> dict[int, str]:
        if record.payload_expired_at:
            return {}
        named: dict[int, str] = {}
        for chunk in record.chunks:
            lines = await self._payloads.lines(record, chunk.number)
            named |= await self._offload(4 * len(lines), _rows_of_person, lines, source, keys)
        return named

    async def _stored_results(
        self, record: ImportRecord
    ) -> AsyncIterator[tuple[Entity, Sequence[RowResult]]]:
        async for page in query_pages(
            self._tables, IMPORT_RESULTS, record.import_id, most=_RESULTS_AT_ONCE
        ):
            for entity in page:
                with suppress(UnreadableDataError):
                    yield entity, await self._results.rows(result_records.from_entity(entity))

    async def _erase_results(
        self, entity: Entity, rows: Sequence[RowResult], indexes: frozenset[int]
    ) -> None:
        new = [erased(row) if row.index in indexes else row for row in rows]
        if new == list(rows):
            return
        changed, spilled = await self._offload(
            _COMPRESSION_RATIO * 100 * len(rows), result_records.with_rows, entity, new
        )
        if spilled:
            await self._blobs.put(IMPORT_RESULT_BLOBS, changed.text("Spilled"), [spilled])
        await self._tables.write(IMPORT_RESULTS, Replace(changed))
        if entity.text("Spilled"):
            await self._blobs.delete(IMPORT_RESULT_BLOBS, entity.text("Spilled"))

    async def _erase_record(self, named: NamedImport, keys: PersonKeys, number: int) -> None:
        """Remove rows of a small payload, the keys of the plan, and a source that names the person,
        from the record of an ended import.
        """
        row = import_records.record_row(named.record.number)
        entity = await self._tables.get(IMPORTS, named.record.tenant, row)
        if entity is None:
            return
        record = import_records.from_entity(entity)
        inline = record.inline
        if record.is_inline_sealed:
            return
        if inline and named.rows:
            inline = erase_lines(inline.encode(), named.indexes).decode()
        changed = replace(
            record,
            inline=inline,
            chunks=tuple(replace(chunk, span=None) for chunk in record.chunks),
            sender=_without_person(record.sender, keys, has_files=bool(self.files_of(record))),
            erased_by=number,
        )
        await self._tables.write(IMPORTS, Replace(import_records.rewritten_entity(entity, changed)))

    async def _erase_payload(self, record: ImportRecord, indexes: frozenset[int]) -> None:
        stored = await self._blobs.read_whole(IMPORT_PAYLOADS, record.blob_name)
        if stored is None:
            return
        data, etag = stored
        new = await self._offload(len(data), erase_lines, data, indexes)
        if new != data:
            await self._blobs.replace(IMPORT_PAYLOADS, record.blob_name, [new], etag)


def _plan_names(record: ImportRecord, keys: PersonKeys) -> bool:
    """Whether the ends of a chunk are records of the person, also where its rows have expired."""
    references = {reference for names in keys.owned.values() for _, reference in names}
    endings = tuple(f" {row_of(each)}" for each in references | keys.personnel_refs)
    return any(
        sort_key.endswith(endings)
        for chunk in record.chunks
        if chunk.span is not None
        for sort_key in (chunk.span.first, chunk.span.last, *(chunk.span.sort_keys or ()))
    )


def _without_person(sender: Sender, keys: PersonKeys, *, has_files: bool) -> Sender:
    """A sender without names of files that name the person. The name of a file that belongs to the
    person alone may say anything.
    """
    caller, source = sender.caller, sender.source
    texts = [text.lower() for text in keys.texts()]
    references = References([*keys.texts()])
    is_in_source = references.are_in_name(source)
    if has_files or is_in_source or any(text in source.lower() for text in texts):
        source = ""
    if caller is not None and caller.kind is CallerKind.DROP:
        path = unquote(caller.name).lower()
        is_in_path = is_in_source or any(text in path for text in texts)
        caller = None if has_files or is_in_path else caller
    return replace(sender, caller=caller, source=source)


def erase_lines(data: bytes, indexes: frozenset[int]) -> bytes:
    """The lines of a payload with these rows overwritten, each as long as it was."""
    lines = data.split(b"\n")
    for at, line in enumerate(lines):
        with suppress(ValueError):
            index, _, _ = split_line(line)
            if index in indexes:
                size = len(line) - line.index(b"\t") - 1
                lines[at] = line_of(index, _ERASED_ROW.ljust(size)).rstrip(b"\n")
    return b"\n".join(lines)


def _rows_of_person(lines: bytes, source: PersonSource, keys: PersonKeys) -> dict[int, str]:
    """The texts of the rows that name the person, by index."""
    references = References([*keys.texts()])
    if not source.has_key_variants and not _may_name(lines, references):
        return {}
    named: dict[int, str] = {}
    for index, text, row, notes in _parsed(lines):
        with suppress(Exception):  # a row that its own reader cannot read names no person
            group = row.get("employerref") or row.get("companycode")
            if source.names_row(keys, row) or (
                _is_in_group(keys, group) and _notes_name(notes, references)
            ):
                named[index] = text
    return named


def _is_in_group(keys: PersonKeys, group: Any) -> bool:
    """Whether the person may be in a group: an employer, a company, or an unknown one."""
    employees = (*keys.license_employees, *keys.license_personal_ids)
    groups = {each[0] for each in (*keys.workers, *employees)} | keys.employee_ids
    return not isinstance(group, str) or usable_reference(group) in groups


def _notes_name(text: str, references: References) -> bool:
    """Whether the cells of a row name the person, where a fault has kept a reference out of it."""
    if '"messages"' not in text:
        return False
    notes = Notes.from_text(text)
    if _messages_name(notes.messages, references):
        return True
    if not notes.sent or not any(map(_is_about_reference, notes.messages)):
        return False
    return any(references.has_shown(str(value)) for _, value in leaves_of(json.loads(notes.sent)))


def _messages_name(messages: Sequence[Message], references: References) -> bool:
    """Whether a message about a reference has one of the person."""
    return any(
        each.value is not None and _is_about_reference(each) and references.has_shown(each.value)
        for each in messages
    )


def _is_about_reference(message: Message) -> bool:
    return (message.field or "").lower() in REFERENCE_FIELDS


def _parsed(lines: bytes) -> Iterator[tuple[int, str, Mapping[str, Any], str]]:
    for line in lines.split(b"\n"):
        with suppress(ValueError, RecursionError):
            index, text, notes = split_line(line)
            row = json.loads(text)
            if isinstance(row, dict):
                yield index, text.decode(), fold_names(row), notes.decode()


def _may_name(lines: bytes, references: References) -> bool:
    """Whether lines may name the person. A text may be written with escapes, or in another form of
    Unicode.
    """
    if not references.is_ascii or any(sign in lines for sign in _BECOMES_ASCII):
        return True
    return b"\\" in lines or references.stand_in(lines)
