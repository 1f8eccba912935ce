"""What administrators do with a person: export, erase, hold and release."""

from __future__ import annotations

import json
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.clock import Clock, to_iso
from shared.errors import GatewayError
from shared.imports.persons import Identity, PersonKeys
from shared.imports.results import Outcome, RowResult
from shared.imports.sender import NamedCaller, Sender
from shared.services.admin.audit import Action, AuditLog
from shared.services.admin.tenants import TenantService
from shared.services.chunk_messages import ChunkMessage
from shared.services.chunk_processor import ChunkProcessor
from shared.services.import_log import ImportLog
from shared.services.persons.erasure import PersonErasure
from shared.services.persons.imports import NamedImport, PersonImports
from shared.services.persons.register import ErasureReport, PersonRegister
from shared.services.persons.search import PersonSearch, Sources, Trace, find_traces
from shared.storage.import_records import ImportRecord
from shared.storage.ports import RangeTables, StoredBlobs

# What a search looks at besides the records of each type.
_PLACES = (
    *("index entries", "deleted records", "former values", "messages on other records"),
    *("files of licenses", "license keys", "logs of licenses", "dropped files"),
    *("records of ended batches", "plans of batches"),
    *("imports", "rows of payloads", "results of rows"),
)
NOT_SEARCHED = (
    "dropped files of rows and the results beside them: the rows are those of their imports",
    "the audit log, which names persons by a keyed hash only",
    "stored answers of repeated calls, which say what the results say and go after a day",
    "metrics, the logs of the platform and backups, which are not the gateway's",
)


@dataclass(frozen=True, slots=True)
class Erased:
    """The end of an erasure: its import, and what it found."""

    import_id: str
    report: ErasureReport


class PersonService:
    """The persons of all tenants. `caller` acts."""

    def __init__(
        self,
        *,
        tables: RangeTables,
        blobs: StoredBlobs,
        tenants: TenantService,
        audit: AuditLog,
        imports: ImportLog,
        person_imports: PersonImports,
        register: PersonRegister,
        erasure: PersonErasure,
        chunks: ChunkProcessor,
        sources: Sources,
        clock: Clock,
        caller: NamedCaller | None,
    ) -> None:
        self._tables = tables
        self._blobs = blobs
        self._tenants = tenants
        self._audit = audit
        self._imports = imports
        self._person_imports = person_imports
        self._register = register
        self._erasure = erasure
        self._chunks = chunks
        self._sources = sources
        self._clock = clock
        self._caller = caller

    async def erase(self, reference: str, identities: Sequence[Identity]) -> Erased:
        """Erase a person; an erasure that was interrupted is completed.

        Raises NotFoundError, the errors of `PersonErasure.accept`, and GatewayError if it is not
        complete: the same call, or the sweep, completes it.
        """
        tenant = (await self._tenants.find(reference)).id
        hashes = await self._register.hashes(tenant, identities)
        async with self._audit.act(tenant, Action.PERSON_ERASE, {"person": hashes}) as act:
            sender = Sender(self._caller)
            record = await self._erasure.accept(tenant, identities, sender)
            message = ChunkMessage(record.tenant, record.number, record.import_id, 0)
            await self._chunks.process(message)
            current = await self._imports.read(tenant, record.number)
            if current is None or current.is_open or current.counts.failed:
                raise GatewayError("The erasure is not complete: repeat the command.")
            report = await self._register.report(record)
            act.after = {"importId": record.import_id, "erased": dict(report.counts)}
        return Erased(record.import_id, report)

    async def hold(self, reference: str, identities: Sequence[Identity], reason: str) -> list[str]:
        """Refuse the erasure of a person; returns the hashes of its names. Raises NotFoundError."""
        tenant = (await self._tenants.find(reference)).id
        hashes = await self._register.hashes(tenant, identities)
        async with self._audit.act(tenant, Action.PERSON_HOLD, {"person": hashes}):
            by = self._caller.name if self._caller else ""
            await self._register.hold(tenant, hashes, reason, by)
        return hashes

    async def release(self, reference: str, identities: Sequence[Identity]) -> list[str]:
        """Release the holds of a person. Raises NotFoundError if there is none."""
        tenant = (await self._tenants.find(reference)).id
        hashes = await self._register.hashes(tenant, identities)
        async with self._audit.act(tenant, Action.PERSON_RELEASE, {"person": hashes}):
            await self._register.release(tenant, hashes)
        return hashes

    async def export(
        self, reference: str, identities: Sequence[Identity], path: Path
    ) -> dict[str, Any]:
        """Write everything that is stored about a person to a zip; returns its manifest.

        Sensitive values are in the clear. Raises NotFoundError.
        """
        tenant = (await self._tenants.find(reference)).id
        hashes = await self._register.hashes(tenant, identities)
        await self._audit.note(tenant, Action.PERSON_EXPORT, {"person": hashes}, self._caller)
        keys = PersonKeys.of(identities)
        search = PersonSearch(tenant, keys, self._tables, self._blobs)
        traces = await find_traces(search, self._sources)
        counts = Counter(dict.fromkeys((*self._sources, *_PLACES), 0))
        counts.update(trace.area for trace in traces)
        # Only the user may read the file.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with (
                os.fdopen(handle, "wb") as file,
                zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            ):
                files = await self._write_records(archive, traces)
                async for named in self._person_imports.find(
                    tenant, keys, _no_beat, search.unreadable
                ):
                    counts["imports"] += 1
                    counts["rows of payloads"] += len(named.rows)
                    counts["results of rows"] += len(named.results)
                    _write_json(archive, f"imports/{named.record.import_id}.json", _import(named))
                manifest = {
                    "tenant": tenant,
                    "exportedAt": to_iso(self._clock.now()),
                    "person": [identity.pack() for identity in identities],
                    "searched": [{"what": area, "found": count} for area, count in counts.items()],
                    "unreadable": dict(search.unreadable),
                    "notSearched": list(NOT_SEARCHED),
                    "erasedBefore": await self._register.erased_at(tenant, hashes) or None,
                    "files": files,
                }
                _write_json(archive, "manifest.json", manifest)
        except BaseException as error:
            _remove_part(path, error)
            raise
        return manifest

    async def _write_records(
        self, archive: zipfile.ZipFile, traces: Sequence[Trace]
    ) -> list[dict[str, str]]:
        """Write the records by area, and the files; returns where which file is."""
        shown: dict[str, list[Any]] = {}
        for trace in traces:
            if trace.shown is not None:
                shown.setdefault(trace.area, []).append(trace.shown)
        for area, entries in shown.items():
            _write_json(archive, f"records/{area.replace(' ', '-')}.json", entries)
        files: list[dict[str, str]] = []
        for trace in traces:
            for blob in trace.blobs:
                if blob.length is not None:
                    continue  # former values, which their record shows
                data = await self._blobs.read(blob.container, blob.name)
                if data is not None:
                    name = f"files/{len(files) + 1}"
                    archive.writestr(name, data)
                    stored = f"{blob.container}/{blob.name}"
                    files.append({"file": name, "what": trace.area, "stored": stored})
        return files


def _remove_part(path: Path, error: BaseException) -> None:
    """Remove a file that an error has cut short, so that nobody takes it for a whole export."""
    path.unlink(missing_ok=True)
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def _import(named: NamedImport) -> dict[str, Any]:
    record = named.record
    return {
        "importId": record.import_id,
        "type": record.type_name,
        "acceptedAt": record.accepted_at,
        "rows": {str(index): json.loads(text) for index, text in named.rows.items()},
        "results": [
            {
                "index": row.index,
                "key": list(row.key),
                "outcome": _outcome(record, row).value,
                "messages": [
                    {"id": each.id, "field": each.field, "value": each.value, "text": each.text}
                    for each in row.messages
                ],
            }
            for row in named.results
        ],
    }


def _outcome(record: ImportRecord, row: RowResult) -> Outcome:
    """The outcome of a row as it is shown everywhere: a row of an undo is reversed."""
    is_reversed = record.is_undo and row.outcome.took_effect
    return Outcome.REVERSED if is_reversed else row.outcome


def _write_json(archive: zipfile.ZipFile, name: str, value: Any) -> None:
    archive.writestr(name, json.dumps(value, ensure_ascii=False, indent=2))


async def _no_beat() -> None:
    """An export has no import that the sweep could begin again."""
