"""Dropped rows: a blob in `row-drop` becomes an import of its rows (docs/contracts.md#11).

The blob trigger, the sweep and `manage.py` call `import_drop` with the name of a drop, any number
of times. The id of the import is derived from the name and the ETag of the blob, so all calls work
on one import, and a file that is overwritten is another import.

1. A note in `row-pending` says that the import of this version is on its way. It is written before
   the import is accepted, so that the import is settled even if the file is overwritten or deleted.
2. The import is accepted. Its rows are processed from the queues of its type.
3. When it has ended, it is settled: `failed.csv`, then `result.json`, then the file moves to
   `row-done`, then the note goes. The handler that ends the import does this, or else the sweep.

Every step can be repeated, and two processes may do it at the same time. A file that is refused as
a whole is no import: it moves to `row-rejected`, and its `result.json` has the reason.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from shared import log
from shared.auth.callers import (
    NO_INTEGRATION,
    Caller,
    check_database,
    check_database_version,
    find_integration,
)
from shared.auth.integrations import ReadPermission, import_permission
from shared.auth.lookups import TenantLookups, disabled_message
from shared.clock import derived_id
from shared.dependencies import Dependencies
from shared.errors import (
    ConflictError,
    DataKeysNotSetError,
    ForbiddenError,
    GatewayError,
    GatewayStoppingError,
    GoneError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    RefusedError,
    StorageUnavailableError,
    TooLargeError,
    TooManyRequestsError,
    UnknownMessageTypeError,
    UnreadableDataError,
)
from shared.imports.file_names import (
    name_fault,
    path_fault,
    path_segments,
    plain_name,
    settled_path,
    tenant_of,
)
from shared.imports.files.formats import (
    ENDINGS,
    FileFormat,
    ReadOptions,
    format_of_name,
    readable_content,
    reader_of,
)
from shared.imports.files.gzip_bodies import is_gzip, unpacked
from shared.imports.files.mapping import ProfileMapping
from shared.imports.files.profile import NO_PROFILE, ProfileRef
from shared.imports.import_type import ImportType
from shared.imports.json_rows import (
    Payload,
    Reader,
    SortKey,
)
from shared.imports.planning import Plan
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.results import Outcome
from shared.imports.sender import CallerKind, Sender, named_caller, source_name
from shared.services.background import UpkeepFaults
from shared.services.drops import LEASE_SECONDS, DropOutcome
from shared.services.failed_rows import failed_rows_csv
from shared.services.idempotency import FingerprintKeys
from shared.services.import_views import import_view, result_view
from shared.services.profiles import ProfileService
from shared.services.status import FailedRows
from shared.services.tenant_shares import TenantShares
from shared.services.undo_rules import shown_results
from shared.storage.dropped_blobs import Drop, DroppedBlobs
from shared.storage.import_records import ImportRecord
from shared.storage.names import ROW_DONE, ROW_PENDING, ROW_REJECTED, ROW_RESULTS
from shared.storage.ports import reading

PATH_PARTS: Final = ("tenant", "software key", "type", "file name")
RESULT: Final = "result.json"
FAILED: Final = "failed.csv"
# Failed rows in `result.json`; all of them are in `failed.csv` and in the import's results.
_MOST_FAILED: Final = 1_000
# How long an empty file may wait for its content.
_EMPTY_FOR: Final = timedelta(hours=1)
# A call that waits longer for a file to stand still leaves it to the sweep.
_LONGEST_PAUSE: Final = 30.0
# Storage tells the time of a change in whole seconds.
_RESOLUTION: Final = 1.0
# A note without an import is of a call that died before it was accepted.
_NOTE_WITHOUT_IMPORT: Final = timedelta(hours=1)
_MOST_SETTLED_PER_RUN: Final = 500
_CONCURRENCY: Final = 8
_MOST_TRIES: Final = 5
# Characters of a reason in metadata, which have 8 KiB; `result.json` has all of it.
_MOST_REASON: Final = 500

UNKNOWN_TENANT: Final = (
    "The tenant of the dropped file is not known: begin the path with the id of the tenant, which "
    "the operator of the gateway knows."
)
DROP_WITHOUT_INTEGRATION: Final = (
    f"{NO_INTEGRATION}: the second part of the path must be the software key of an enabled "
    "integration of the tenant, in its own case."
)
NO_DATA_KEY: Final = (
    "The file waits, because the gateway has no key to seal sensitive data with: ask the operator "
    "of the gateway to set GATEWAY_DATA_KEYS. The file is imported then; do not drop it again."
)
STORED_UNREADABLE: Final = (
    "The file waits, because stored data that its import needs cannot be read: ask the operator of "
    "the gateway to read the log. The file is imported when that is mended."
)
NOT_PROCESSED: Final = (
    "The file could not be processed: drop it again, which is safe, and send it to the operator of "
    "the gateway if it happens again."
)


@dataclass(frozen=True, slots=True)
class TypeSegment:
    """The third segment of a path: a type, and the name of a profile, if any."""

    kind: ImportType
    profile: str | None = None


def read_type_segment(segment: str) -> TypeSegment:
    """The type in `workers`, `workers.v1` or `workers@profile`; its lowest version by default.

    Raises UnknownMessageTypeError.
    """
    name, at, profile = segment.partition("@")
    name, dot, version = name.strip().lower().partition(".v")
    is_number = not dot or (version.isascii() and version.isdecimal() and len(version) < 10)
    kind = TYPE_CATALOGUE.find(name, int(version) if dot else None) if is_number else None
    if kind is None or name not in ROW_TYPES:
        raise UnknownMessageTypeError(
            "The third part of the path names no type of rows that can be dropped: name one of "
            f"{', '.join(_known_types())}."
        )
    return TypeSegment(kind, profile if at else None)


# The types whose files are dropped here: each row of them is a row of their payload.
ROW_TYPES: Final = tuple(name for name, kind in IMPORT_TYPES.items() if kind.keeps_rows)


def _known_types() -> list[str]:
    return [
        name if kind.version == 1 else f"{name}.v{kind.version}"
        for name in ROW_TYPES
        for kind in TYPE_CATALOGUE.versions(name)
    ]


# Makes the reader of a type for a format of its vendor; None for a format that every type has.
MakeSpecialReader = Callable[[FileFormat], Reader | None]


class FileReaders:
    """Makes readers of dropped files, by type and by the ending of the name.

    `special` are those of types whose vendor has formats of its own. `max_bytes` limits a file when
    it is unpacked.
    """

    def __init__(
        self, max_bytes: int, special: Mapping[str, MakeSpecialReader], profiles: ProfileService
    ) -> None:
        self._max_bytes = max_bytes
        self._special = special
        self._profiles = profiles

    async def make(
        self, segment: TypeSegment, tenant: str, file_name: str, encoding: str
    ) -> tuple[Reader, ProfileRef]:
        """The reader of a file of this name and Content-Encoding, which may be gzip.

        Returns also the version of the profile that it maps rows by. Raises InvalidRequestError and
        UnsupportedMediaTypeError.
        """
        mapping: ProfileMapping | None = None
        if segment.profile is not None:
            mapping = (await self._profiles.find(tenant, segment.profile, segment.kind)).mapping
        file_format = format_of_name(file_name)
        if file_format is None:
            raise InvalidRequestError(
                "The ending of the file's name says no format: end it in one of "
                f"{', '.join(ENDINGS)}, with .gz behind it where it is compressed."
            )
        if encoding not in ("", "gzip"):
            raise InvalidRequestError(
                "The file has a Content-Encoding other than gzip: drop it as it is, or as gzip."
            )
        special = None if mapping else self._special.get(segment.kind.name)
        options = ReadOptions(mapping=mapping, is_file=True, max_bytes=self._max_bytes)
        read = special(file_format) if special else None
        read = read or reader_of(file_format, segment.kind.rules, options)

        def read_file(body: bytes, sort_key: SortKey, max_rows: int) -> Payload:
            # By its bytes, since programs unpack files on the way and leave the ending, or add it.
            if is_gzip(body):
                body = unpacked(body, self._max_bytes)
            if file_format is not FileFormat.XML:
                body = readable_content(file_format, body)
            return read(body, sort_key, max_rows)

        return read_file, mapping.ref if mapping else NO_PROFILE


@dataclass(frozen=True, slots=True)
class DroppedFile:
    """A file that was dropped: its tenant, the name of its blob, and the id of its import."""

    tenant: str
    name: str
    import_id: str


class DropProgress(NamedTuple):
    """What has become of a dropped file so far.

    `result` is the content of its `result.json`, None while there is none; `rows_done` the rows of
    its import that have a result, None while it is not accepted; `is_there`: it is in `row-drop`.
    """

    result: Mapping[str, Any] | None
    rows_done: int | None
    is_there: bool


@dataclass(frozen=True, slots=True)
class _DropContent:
    """What the file of a drop says: its sender's integration, and its rows."""

    kind: ImportType
    caller: Caller
    plan: Plan
    body_hash: str
    profile: ProfileRef


class RowDrops:
    """Imports dropped rows, and writes the results beside them."""

    def __init__(
        self,
        dependencies: Dependencies,
        container: DroppedBlobs,
        tenants: TenantLookups,
        fingerprint_keys: FingerprintKeys,
        failed_rows: FailedRows,
        shares: TenantShares,
        readers: FileReaders,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`pause` waits for so many seconds."""
        self._container = container
        self._tables = dependencies.tables
        self._blobs = dependencies.blobs
        self._imports = dependencies.imports
        self._intake = dependencies.intake
        self._reporting = dependencies.reporting
        self._clock = dependencies.clock
        self._settings = dependencies.settings
        self._tenants = tenants
        self._fingerprint_keys = fingerprint_keys
        self._failed_rows = failed_rows
        self._shares = shares
        self._readers = readers
        self._pause = pause
        # The ids of the imports whose files are being read in this process.
        self._reading: set[str] = set()
        self._run_number = 0

    async def import_drop(self, name: str) -> DropOutcome:
        """Accept, settle or reject the drop of this name, if there is one that stands still.

        Raises StorageUnavailableError where the caller should try again.
        """
        drop = await self._container.find(name)
        if drop is None or drop.is_folder:
            return DropOutcome.NOTHING_TO_DO
        if not await self._stands_still(drop):
            return DropOutcome.WAITS
        try:
            return await self._import(drop)
        except PreconditionFailedError:
            # The drop was deleted or overwritten; the trigger is called for the new version.
            log.event("drop.changed", drop=plain_name(name))
            return DropOutcome.WAITS

    async def _stands_still(self, drop: Drop) -> bool:
        """Whether nothing writes to the drop any more; else the sweep comes to it later."""
        age = self._clock.now() - drop.changed_at
        if drop.size == 0:
            return age >= _EMPTY_FOR
        if drop.is_leased and age < timedelta(seconds=LEASE_SECONDS):
            return False
        seconds = self._settings.row_drop_seconds
        remaining_seconds = seconds + _RESOLUTION - age.total_seconds()
        if seconds == 0 or remaining_seconds <= 0:
            return True
        if remaining_seconds > _LONGEST_PAUSE:
            return False
        await self._pause(remaining_seconds)
        current = await self._container.find(drop.name)
        return current is not None and (current.etag, current.size) == (drop.etag, drop.size)

    async def _import(self, drop: Drop) -> DropOutcome:
        import_id = row_drop_id(drop)
        tenant = tenant_of(drop.name)
        record = None if tenant is None else await self._imports.find(tenant, import_id)
        if record is not None:
            await self._settle_if_ended(record, drop.name, drop.etag)
            return DropOutcome.NOTHING_TO_DO
        if import_id in self._reading:
            # The trigger and the sweep may come to one drop, and reading it may take minutes.
            return DropOutcome.WAITS
        self._reading.add(import_id)
        try:
            return await self._read_and_accept(drop, import_id)
        finally:
            self._reading.discard(import_id)

    async def _read_and_accept(self, drop: Drop, import_id: str) -> DropOutcome:
        """Accept the import of a drop, or reject the drop, or say why it waits for the operator."""
        try:
            content = await self._read(drop)
            if content.plan.rows:
                await self._accept(drop, import_id, content)
            else:
                await self._settle_without_rows(drop, content, import_id)
        except TooManyRequestsError:
            # The sweep comes to it when the tenant has fewer open imports.
            log.event("drop.waits", import_id=import_id, drop=plain_name(drop.name))
            return DropOutcome.WAITS
        except RefusedError as error:
            await self._reject(drop, import_id, error)
        except DataKeysNotSetError as error:
            await self._note_waiting(drop, import_id, NO_DATA_KEY, error)
            return DropOutcome.WAITS
        except UnreadableDataError as error:
            await self._note_waiting(drop, import_id, STORED_UNREADABLE, error)
            return DropOutcome.WAITS
        return DropOutcome.DONE

    async def _read(self, drop: Drop) -> _DropContent:
        """Check the drop in the order of docs/contracts.md#0 and read its rows.

        Raises a RefusedError with the reason for which it is rejected, DataKeysNotSetError and
        UnreadableDataError where it waits for the operator.
        """
        segments = path_segments(drop.name)
        if segments is None or len(segments) != len(PATH_PARTS):
            raise InvalidRequestError(_path_advice(path_fault(drop.name, PATH_PARTS)))
        tenant, software_key, type_segment, file_name = segments
        if fault := name_fault(file_name):
            raise InvalidRequestError(f"The name of the file is not safe: {fault}.")
        is_disabled = await self._tenants.read_disabled(tenant)
        if is_disabled is None:
            raise NotFoundError(UNKNOWN_TENANT)
        if is_disabled:
            raise ForbiddenError(disabled_message(tenant))
        integration = await find_integration(self._tables, tenant, software_key)
        if integration is None or not integration.enabled:
            raise ForbiddenError(DROP_WITHOUT_INTEGRATION)
        caller = Caller(tenant, integration.software_key, integration.software_key, integration)
        segment = read_type_segment(type_segment)
        caller.check(import_permission(segment.kind.name))
        check_database(caller, segment.kind.contract)
        check_database_version(caller, segment.kind.contract)
        self._check_blob(drop)
        self._intake.check_can_seal(segment.kind, tenant)
        await self._shares.open_imports.check(tenant)
        reader, profile = await self._readers.make(segment, tenant, file_name, drop.encoding)
        async with self._shares.acceptance.place(tenant):
            try:
                body = b"".join([block async for block in self._container.blocks(drop)])
                self._check_content(drop, body)
                plan = await self._intake.read(segment.kind, tenant, body, reader)
                body_hash = await self._fingerprint_keys.body_hash(body)
            except (RefusedError, StorageUnavailableError, PreconditionFailedError):
                raise
            except (GatewayStoppingError, DataKeysNotSetError, UnreadableDataError):
                raise
            except Exception as error:
                # A fault of our code would fail every attempt, so it is the outcome of the file.
                log.failure("drop.not_processed", error, tenant=tenant, drop=plain_name(drop.name))
                raise InvalidRequestError(NOT_PROCESSED) from None
        return _DropContent(segment.kind, caller, plan, body_hash, profile)

    def _check_blob(self, drop: Drop) -> None:
        limit = self._settings.max_body_bytes
        if drop.size == 0:
            raise InvalidRequestError("The file is empty: drop a file with at least one row.")
        if drop.size > limit:
            raise TooLargeError(
                f"The file has {drop.size} bytes and the limit is {limit}: drop its rows as "
                "several files."
            )
        if drop.is_page_blob:
            raise InvalidRequestError(
                "The file is a page blob, which is filled up to a multiple of 512 bytes: drop it "
                "as a block blob."
            )
        if drop.is_archived:
            raise InvalidRequestError(
                "The file is in the archive tier and cannot be read: drop it into the hot, cool or "
                "cold tier."
            )

    @staticmethod
    def _check_content(drop: Drop, body: bytes) -> None:
        if len(body) != drop.size:
            raise StorageUnavailableError("a drop has another length than it should have")
        md5 = hashlib.md5(body, usedforsecurity=False).digest() if drop.md5 else None
        if drop.md5 != md5:
            raise InvalidRequestError(
                "The content of the file does not match its Content-MD5: drop it again."
            )

    async def _accept(self, drop: Drop, import_id: str, content: _DropContent) -> None:
        """Accept the import of a drop. Its end settles it, also if another call has accepted it."""
        tenant, kind = content.caller.tenant, content.kind
        note = json.dumps({"name": drop.name, "etag": drop.etag}, ensure_ascii=False).encode()
        await self._blobs.put(ROW_PENDING, f"{tenant}/{import_id}", [note])
        sender = Sender(
            named_caller(CallerKind.DROP, drop.name), source_name(drop.name), content.body_hash
        )
        options = content.caller.options
        draft = self._intake.draft(kind, tenant, content.plan, options, import_id, sender)
        draft = replace(draft, profile=content.profile)
        await self._intake.accept_planned(kind, draft, content.plan)

    async def drop(self, tenant: str, software_key: str, type_name: str, file: Path) -> DroppedFile:
        """Drop a file for an integration of the tenant.

        Raises InvalidRequestError for a file that would be refused for its path, and ConflictError
        where a file of that name waits.
        """
        parts = (quote(part, safe="@") for part in (software_key, type_name, file.name))
        name = "/".join((tenant, *parts))
        if fault := path_fault(name, PATH_PARTS) or name_fault(file.name):
            raise InvalidRequestError(f"The file cannot be dropped, correct its path: {fault}.")
        read_type_segment(type_name)
        content = await asyncio.to_thread(file.read_bytes)
        try:
            etag = await self._container.put(name, content)
        except PreconditionFailedError:
            raise ConflictError(
                f"A file {file.name} of this integration waits already: let it be imported, or "
                "drop this one under another name."
            ) from None
        return DroppedFile(tenant, name, _import_id(name, etag))

    async def progress_of(self, dropped: DroppedFile) -> DropProgress:
        """What has become of a dropped file so far."""
        # In this order, since the file leaves when its import is accepted and its result written.
        drop = await self._container.find(dropped.name)
        is_there = drop is not None and row_drop_id(drop) == dropped.import_id
        record = await self._imports.find(dropped.tenant, dropped.import_id)
        done = None if record is None else (await self._reporting.report(record)).counts.done
        result = await self._read_result(settled_path(dropped.name, dropped.import_id))
        return DropProgress(result, done, is_there=is_there)

    async def _read_result(self, place: str) -> Mapping[str, Any] | None:
        data = await self._blobs.read(ROW_RESULTS, f"{place}/{RESULT}")
        if data is None:
            return None
        with reading("the result of a drop"):
            result: Mapping[str, Any] = dict(json.loads(data))
            return result

    # What follows when an import has ended.

    async def settle_import(self, record: ImportRecord) -> None:
        """Settle the import of a drop that has just ended. The sweep repeats what fails here."""
        caller = record.sender.caller
        if caller is None or caller.kind is not CallerKind.DROP:
            return
        try:
            await self._settle_note(record.tenant, f"{record.tenant}/{record.import_id}")
        except Exception as error:
            log.failure("drop.not_settled", error, import_id=record.import_id)

    async def settle_ended(self) -> None:
        """Settle the imports that have ended and were not settled, for the sweep."""
        faults = UpkeepFaults("sweep.drop_not_settled")
        notes = await self._blobs.names_before(ROW_PENDING, "", self._after_every_write())
        first = self._run_number * _MOST_SETTLED_PER_RUN % max(1, len(notes))
        self._run_number += 1
        slots = asyncio.Semaphore(_CONCURRENCY)

        async def settle(note: str) -> None:
            async with slots:
                tenant = note.partition("/")[0]
                try:
                    await self._settle_note(tenant, note)
                except Exception as error:
                    faults.note(error, tenant=tenant)

        chosen = (notes[first:] + notes[:first])[:_MOST_SETTLED_PER_RUN]
        await asyncio.gather(*(settle(note) for note in chosen))

    async def _settle_note(self, tenant: str, note: str) -> None:
        stored_note = await self._blobs.read_whole(ROW_PENDING, note)
        if stored_note is None:
            return
        name, etag = _read_note(stored_note[0])
        import_id = note.rpartition("/")[2]
        record = await self._imports.find(tenant, import_id)
        if record is not None:
            await self._settle_if_ended(record, name, etag)
            return
        an_hour_ago = self._clock.now() - _NOTE_WITHOUT_IMPORT
        if await self._blobs.names_before(ROW_PENDING, note, an_hour_ago):
            # The call died before it was accepted. A drop that is still there gets a new note.
            await self._blobs.delete(ROW_PENDING, note)

    async def _settle_if_ended(self, record: ImportRecord, name: str, etag: str) -> None:
        """Settle an import that was read just now, if it has ended."""
        current = record
        for _ in range(_MOST_TRIES):
            if current.is_open or not await self._settle(current, name, etag):
                return
            again = await self._imports.read(record.tenant, record.number)
            if again is not None and again.erased_by == current.erased_by:
                await self._blobs.delete(ROW_PENDING, f"{record.tenant}/{record.import_id}")
                log.event("drop.settled", import_id=record.import_id, drop=plain_name(name))
                return
            # The import was erased, with its tenant or a person of it, while it was settled.
            for container, blob in settled_blobs(name, record.import_id):
                await self._blobs.delete(container, blob)
            if again is None:
                await self._blobs.delete(ROW_PENDING, f"{record.tenant}/{record.import_id}")
                return
            current = again
        raise StorageUnavailableError("the import of a drop keeps changing")

    async def _settle(self, record: ImportRecord, name: str, etag: str) -> bool:
        """Write the results of an ended import and move its file.

        Returns False while storage is still copying the file.
        """
        place = settled_path(name, record.import_id)
        if not await self._has_results(record, place):
            await self._write_results(record, name, place)
        drop = await self._container.find(name)
        if drop is None or drop.etag != etag:
            return True  # it was deleted or overwritten meanwhile
        is_kept = self._settings.keep_drop_days > 0 and not record.erased_by
        metadata = {"importid": record.import_id}
        try:
            if is_kept and not await self._container.copy(drop, ROW_DONE, place, metadata):
                return False
        except PreconditionFailedError:
            current = await self._container.find(name)
            if current is not None and current.etag == etag:
                raise StorageUnavailableError("a drop cannot be moved now") from None
            return True
        if not await self._container.remove(drop):
            log.event("drop.not_removed", import_id=record.import_id, drop=plain_name(name))
        return True

    async def _has_results(self, record: ImportRecord, place: str) -> bool:
        """Whether the results are written, and not those of a refusal before the import."""
        try:
            result = await self._read_result(place)
        except UnreadableDataError:
            return False
        return result is not None and result.get("importId") == record.import_id

    async def _write_results(self, record: ImportRecord, name: str, place: str) -> None:
        """`result.json` comes last, so that a reader of it finds the other files too."""
        kind = TYPE_CATALOGUE.find(record.type_name, record.type_version)
        if record.counts.failed and kind is not None:
            is_masked = not await self._may_read_sensitive(record.tenant, name)
            with suppress(GoneError):
                text = await failed_rows_csv(
                    self._failed_rows, kind.rules, record, is_masked=is_masked
                )
                await self._blobs.put(ROW_RESULTS, f"{place}/{FAILED}", [text])
        report = await self._reporting.report(record)
        failed: list[dict[str, Any]] = []
        if record.counts.failed and kind is not None:
            with suppress(GoneError):
                async for results in self._reporting.result_chunks(record):
                    failed += [
                        result_view(kind, each)
                        for each in shown_results(record, results)
                        if each.outcome is Outcome.FAILED and len(failed) < _MOST_FAILED
                    ]
                    if len(failed) >= _MOST_FAILED:
                        break
        failed = failed[:_MOST_FAILED]
        left_out = max(0, record.counts.failed - len(failed))
        view = import_view(report) | {"file": name, "failed": failed, "failedLeftOut": left_out}
        await self._write_result(place, view)

    async def _may_read_sensitive(self, tenant: str, name: str) -> bool:
        """Whether the integration that sent the drop of this name may read sensitive values."""
        segments = path_segments(name) or ("", "")
        integration = await find_integration(self._tables, tenant, segments[1])
        return integration is not None and integration.allowed_read is ReadPermission.FULL

    async def _settle_without_rows(self, drop: Drop, content: _DropContent, import_id: str) -> None:
        """A file without rows is done at once, and is no import."""
        place = settled_path(drop.name, import_id)
        rows = {"total": 0}
        if content.profile.name:
            rows["skipped"] = content.plan.payload.skipped
        view = {
            "importId": None,
            "type": content.kind.name,
            "state": "Completed",
            "rows": rows,
            "profile": content.profile._asdict() if content.profile.name else None,
        }
        await self._write_result(place, view | {"file": drop.name})
        is_kept = self._settings.keep_drop_days > 0
        if is_kept and not await self._container.copy(drop, ROW_DONE, place, {}):
            return
        await self._container.remove(drop)
        log.event("drop.settled", drop=plain_name(drop.name))

    async def _reject(self, drop: Drop, import_id: str, error: RefusedError) -> None:
        """Move the drop to the container of rejected drops, with the reason in its metadata."""
        place = settled_path(drop.name, import_id)
        view = {"importId": None, "state": "Rejected", "message": error.message}
        await self._write_result(place, view | {"file": drop.name})
        metadata = {"reason": quote(error.message[:_MOST_REASON]), "importid": import_id}
        if not await self._container.copy(drop, ROW_REJECTED, place, metadata):
            # The sweep tries again until storage has copied all of it.
            log.event("drop.copy_pending", import_id=import_id, drop=plain_name(drop.name))
            return
        await self._container.remove(drop)
        log.event(
            "drop.rejected",
            import_id=import_id,
            reason=type(error).__name__,
            drop=plain_name(drop.name),
        )

    async def _note_waiting(
        self, drop: Drop, import_id: str, message: str, error: GatewayError
    ) -> None:
        """Say in `result.json` that the drop waits for the operator. It stays where it is."""
        log.failure("drop.blocked", error, import_id=import_id, drop=plain_name(drop.name))
        place = settled_path(drop.name, import_id)
        view = {"importId": None, "state": "Waiting", "message": message, "file": drop.name}
        with suppress(UnreadableDataError):
            if await self._read_result(place) == view:
                return
        await self._write_result(place, view)

    async def _write_result(self, place: str, view: Mapping[str, Any]) -> None:
        text = json.dumps(view, ensure_ascii=False, indent=2)
        data = text.encode("utf-8", "replace")
        await self._blobs.put(ROW_RESULTS, f"{place}/{RESULT}", [data])

    def _after_every_write(self) -> datetime:
        """A time after the last write of any blob, whose time is that of storage."""
        return self._clock.now() + timedelta(days=1)


def row_drop_id(drop: Drop) -> str:
    """The id of the import of this version of a drop."""
    return _import_id(drop.name, drop.etag)


def _import_id(name: str, etag: str) -> str:
    return derived_id("row-drop", name, etag)


def settled_blobs(name: str, import_id: str) -> tuple[tuple[str, str], ...]:
    """The containers and blobs that settling the import of a drop may write."""
    place = settled_path(name, import_id)
    return (
        (ROW_DONE, place),
        (ROW_RESULTS, f"{place}/{RESULT}"),
        (ROW_RESULTS, f"{place}/{FAILED}"),
    )


def _read_note(data: bytes) -> tuple[str, str]:
    """The name and the ETag of the drop that a note is about. Raises UnreadableDataError."""
    with reading("the note of a drop"):
        note = json.loads(data)
        return str(note["name"]), str(note["etag"])


def _path_advice(fault: str) -> str:
    return (
        f"The path of the file is not understood, because {fault}. Drop it as "
        "tenant/softwareKey/type/file, each part percent-encoded where it has a slash or a percent "
        "sign."
    )
