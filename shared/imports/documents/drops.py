"""Dropped files: a blob in `document-drop` becomes an import of documents (docs/contracts.md#4).

The blob trigger, the sweep and `manage.py` call `import_drop` with the name of a drop, any number
of times. `import_drop` imports the current version, which its ETag identifies. The id of the import
is derived from name and ETag, so all calls work on one import. At the end the drop leaves its
container: an imported drop is deleted, another one is moved to `document-rejected`.

The gateway stores the drop byte for byte. It rejects a drop with a Content-Encoding, or whose
content does not match its Content-MD5.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, zip_longest
from string import punctuation
from typing import Final
from urllib.parse import quote

from shared import log
from shared.auth.lookups import TenantLookups
from shared.clock import Clock, to_iso
from shared.dependencies import Dependencies
from shared.errors import (
    GatewayError,
    GatewayStoppingError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from shared.imports.documents.blobs import DocumentBlobs, Drop, PoisonedBlob, PoisonQueue
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import (
    HEAD_BYTES,
    Upload,
    derived_id,
    file_type_of,
    has_all_parts,
    name_fault,
    past_moment,
    path_fault,
    plain_name,
    read_path,
    rejected_path,
    safe_name,
    tenant_of,
)
from shared.imports.documents.processor import blob_of
from shared.imports.documents.rounds import Feature, Features
from shared.imports.documents.uploads import Documents
from shared.imports.import_type import Options
from shared.imports.messages import CATALOGUE, Message, MessageId
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.imports.sender import CallerKind, Sender, named_caller, source_name
from shared.services.idempotency import FingerprintKeys
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_DROP

GENERATION_TIME = "generationtime"
# Characters of a time in the metadata of a rejected blob, which have 8 KiB in all.
_MAX_TIME_LENGTH = 100


class Drops:
    """Imports dropped files."""

    def __init__(
        self,
        dependencies: Dependencies,
        files: DocumentBlobs,
        documents: Documents,
        features: Features,
        tenants: TenantLookups,
        fingerprint_keys: FingerprintKeys,
    ) -> None:
        self._files = files
        self._documents = documents
        self._features = features
        self._tenants = tenants
        self._fingerprint_keys = fingerprint_keys
        self._clock = dependencies.clock
        self._max_bytes = dependencies.settings.max_document_bytes
        self._types = dependencies.settings.document_types

    async def import_drop(self, name: str) -> None:
        """Import or reject the drop of this name, if there is one.

        Raises StorageUnavailableError where the caller should try again.
        """
        drop = await self._files.find_drop(name)
        if drop is None or drop.is_folder:
            return
        try:
            await self._import(drop)
        except PreconditionFailedError:
            # The drop was deleted or overwritten; the trigger is called for the new version.
            log.event("drop.changed", drop=plain_name(name))

    async def _import(self, drop: Drop) -> None:
        import_id = derived_id("drop", drop.name, drop.etag)
        tenant = tenant_of(drop.name)
        features = None if tenant is None else await self._features.find(tenant)
        if tenant is None or features is None:
            fault = Message(DocumentMessageId.UNKNOWN_TENANT)
            if not has_all_parts(drop.name):
                fault = Message(DocumentMessageId.WRONG_DROP_PATH, detail=path_fault(drop.name))
            await self._reject(drop, import_id, fault)
            return
        # A drop that was imported but could not be deleted because of a lease is not copied again.
        record = await self._documents.find_record(tenant, import_id)
        if record is None:
            upload = self._read_upload(drop, tenant)
            if Feature.DOCUMENTS not in features:
                upload = upload.refused(DocumentMessageId.DOCUMENTS_NOT_ENABLED)
            if await self._tenants.is_disabled(tenant):
                upload = upload.refused(DocumentMessageId.TENANT_DISABLED)
            record = await self._accept(drop, tenant, import_id, upload)
        await self._finish(drop, record)

    async def _accept(
        self, drop: Drop, tenant: str, import_id: str, upload: Upload
    ) -> ImportRecord:
        """Accept the import of a drop, or return the import that another call has accepted."""
        sender = Sender(named_caller(CallerKind.DROP, drop.name), source_name(drop.name))
        try:
            resolved, body_hash = await self._prepare(drop, tenant, import_id, upload)
            sender = replace(sender, body_hash=body_hash)
        except (StorageUnavailableError, PreconditionFailedError, GatewayStoppingError):
            raise
        except Exception as error:
            # A broken record, or a fault of our code, would fail every attempt, so it is the
            # drop's outcome (9001).
            log.failure("drop.failed", error, import_id=import_id, drop=plain_name(drop.name))
            resolved = upload.refused(MessageId.COULD_NOT_BE_PROCESSED)
        return await self._documents.accept(tenant, import_id, resolved, Options(), sender)

    async def _prepare(
        self, drop: Drop, tenant: str, import_id: str, upload: Upload
    ) -> tuple[Upload, str]:
        """Copy the drop's file and find its worker; returns the upload, or one with its fault.

        Returns also the keyed hash of the file, "" if the file was not copied.
        """
        body_hash = ""
        if upload.fault is None:
            copy = await self._files.copy_drop(drop, blob_of(tenant, import_id), HEAD_BYTES)
            body_hash = await self._fingerprint_keys.keyed(copy.sha256)
            kind = file_type_of(upload.file_name, copy.head, self._types)
            upload = replace(upload, file_type=kind.name if kind else "")
            if drop.md5 not in (None, copy.md5):
                upload = upload.refused(DocumentMessageId.FILE_DAMAGED)
        return await self._documents.resolve(tenant, upload), body_hash

    async def _finish(self, drop: Drop, record: ImportRecord) -> None:
        imported = await self._documents.finish(record)
        if imported is None:
            raise StorageUnavailableError("the import of a drop has no result yet")
        if not imported.is_imported:
            await self._reject(drop, record.import_id, imported.result.messages[0])
        elif not await self._files.remove_drop(drop):
            log.event("drop.left", import_id=record.import_id, drop=plain_name(drop.name))

    def _read_upload(self, drop: Drop, tenant: str) -> Upload:
        """The upload in the path and the metadata, with the first of its faults."""
        path = read_path(drop.name)
        if path is None:
            blank = Upload("", "", drop.name.rpartition("/")[2], to_iso(drop.created_at), drop.size)
            return blank.refused(DocumentMessageId.WRONG_DROP_PATH, path_fault(drop.name))
        assert path.tenant == tenant
        worker, round_code = normal_reference(path.worker_ref), normal_reference(path.round_code)
        name = safe_name(path.file_name)
        sent_time = drop.metadata.get(GENERATION_TIME)
        generated_at = (
            drop.created_at if sent_time is None else past_moment(sent_time, self._clock.now())
        )
        upload = Upload(
            worker or path.worker_ref,
            round_code or path.round_code,
            name or path.file_name,
            to_iso(generated_at or drop.created_at),
            drop.size,
        )
        segment = "round, the second" if round_code is None else "worker, the third"
        reference = f"the {segment} part of the path, must have 1 to {MAX_REFERENCE} characters"
        size = f"it has {drop.size} bytes and the limit is {self._max_bytes}; send a smaller file"
        faults = (
            (
                worker is None or round_code is None,
                DocumentMessageId.WRONG_REFERENCE_LENGTH,
                reference,
            ),
            (name is None, DocumentMessageId.UNSAFE_FILE_NAME, name_fault(path.file_name)),
            (drop.size == 0, DocumentMessageId.EMPTY_FILE, None),
            (drop.size > self._max_bytes, DocumentMessageId.FILE_TOO_LARGE, size),
            (bool(drop.encoding), DocumentMessageId.FILE_ENCODED, None),
            (drop.is_page_blob, DocumentMessageId.FILE_IS_PAGE_BLOB, None),
            (drop.is_archived, DocumentMessageId.FILE_ARCHIVED, None),
            (generated_at is None, DocumentMessageId.WRONG_GENERATION_TIME, None),
        )
        for applies, id_, detail in faults:
            if applies:
                return upload.refused(id_, detail)
        return upload

    async def _reject(self, drop: Drop, import_id: str, fault: Message) -> None:
        """Move the drop to the container of rejected drops, with the reason in its metadata."""
        reason = f"{fault.finding}. {CATALOGUE[fault.id].advice}"
        metadata = {"reason": quote(reason), "errorid": str(fault.id), "importid": import_id}
        sent_time = drop.metadata.get(GENERATION_TIME, "")[:_MAX_TIME_LENGTH]
        if sent_time:
            metadata[GENERATION_TIME] = quote(sent_time, safe=punctuation, errors="surrogateescape")
        path = rejected_path(drop.name, import_id)
        if not await self._files.reject(drop, path, metadata):
            # The sweep tries again until storage has copied all of it.
            log.event("drop.rejecting", import_id=import_id, drop=plain_name(drop.name))
            return
        await self._files.remove_drop(drop)
        log.event(
            "drop.rejected", import_id=import_id, message_id=fault.id, drop=plain_name(drop.name)
        )


# Drops that failed too often in the blob trigger; `manage.py poison` lists and retries them.
#
# They are still in their container, so the sweep retries them too. An administrator uses this to
# see them, or to retry them at once.

_SECONDS_PER_DROP: Final = 60


@dataclass(frozen=True, slots=True)
class RequeueResult:
    """A failed drop, and whether it is settled now: imported, rejected or deleted."""

    name: str
    is_settled: bool


class PoisonedDrops:
    """The host's poison queue of blobs; messages about other containers stay in it."""

    def __init__(self, queue: PoisonQueue, drops: Drops) -> None:
        self._queue = queue
        self._drops = drops

    async def failed(self) -> list[PoisonedBlob]:
        """Up to 32 drops that failed too often, the oldest first."""
        return [blob for blob in await self._queue.peek() if blob.container == DOCUMENT_DROP]

    async def requeue(self) -> list[RequeueResult]:
        """Import every failed drop again; delete the message of a settled one.

        A drop that fails again does not stop the others. Raises StorageUnavailableError where the
        queue does not answer.
        """
        results: list[RequeueResult] = []
        for blob in await self._queue.receive():
            is_drop = blob.container == DOCUMENT_DROP
            is_settled = is_drop and await self._try_import(blob.name)
            if is_drop:
                results.append(RequeueResult(blob.name, is_settled))
            try:
                await (self._queue.delete(blob) if is_settled else self._queue.release(blob))
            except StorageUnavailableError as error:
                # The message becomes visible again later, and `import_drop` is repeatable.
                log.failure("poison.kept", error, drop=plain_name(blob.name))
        return results

    async def _try_import(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_SECONDS_PER_DROP):
                await self._drops.import_drop(name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(name))
            return False
        return True


# The sweep of the drop container imports drops that the blob trigger has missed.

_MAX_DROPS_PER_RUN = 500
_MAX_LISTED = 20_000
_CONCURRENCY = 8
_SECONDS_PER_SWEPT_DROP = 60
# After this time without a change a drop is imported even if it has a lease.
_MAX_WAIT = timedelta(seconds=60)


class DropSweep:
    """Imports drops that have not changed for `quiet_seconds`, at most a minute."""

    def __init__(
        self,
        files: DocumentBlobs,
        drops: Drops,
        clock: Clock,
        quiet_seconds: float,
        tenants: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._files = files
        self._drops = drops
        self._clock = clock
        self._quiet = min(timedelta(seconds=quiet_seconds), _MAX_WAIT)
        self._tenants = tenants
        self._run_number = 0

    async def run(self) -> None:
        """Import the drops of the container; a drop that fails does not stop the others."""
        slots = asyncio.Semaphore(_CONCURRENCY)

        async def import_drop(drop: Drop) -> None:
            async with slots:
                await self._import(drop)

        drops = select_drops(await self._list_drops(), self._run_number)
        self._run_number += 1
        await asyncio.gather(*(import_drop(drop) for drop in drops))

    async def _import(self, drop: Drop) -> None:
        try:
            async with asyncio.timeout(_SECONDS_PER_SWEPT_DROP):
                await self._drops.import_drop(drop.name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(drop.name))
        else:
            log.warning("sweep.drop_taken_in", drop=plain_name(drop.name))

    async def _list_drops(self) -> list[Drop]:
        try:
            return await self._list_quiet("")
        except GatewayError as error:
            log.failure("sweep.drops_not_listed", error)
        # A list that fails as a whole may be readable by tenant (an emulator fails on names that
        # XML cannot contain), so that the drops of one tenant do not stop those of others.
        drops: list[Drop] = []
        for tenant in await self._tenants():
            try:
                drops += await self._list_quiet(f"{tenant}/")
            except GatewayError as error:
                log.failure("sweep.drops_not_listed", error, tenant=tenant)
        return drops

    async def _list_quiet(self, prefix: str) -> list[Drop]:
        now = self._clock.now()
        drops: list[Drop] = []
        async for drop in self._files.drops_before(now - self._quiet, prefix):
            if not drop.is_leased or drop.changed_at <= now - _MAX_WAIT:
                drops.append(drop)
            if len(drops) == _MAX_LISTED:
                break
        return drops


def select_drops(drops: Sequence[Drop], run_number: int) -> list[Drop]:
    """The drops for one run of the sweep, taken from each tenant in turn.

    Each run starts where the one before it ended, so that drops that always fail do not exclude the
    same other drops from every run.
    """
    by_tenant: dict[str, list[Drop]] = defaultdict(list)
    for drop in drops:
        by_tenant[drop.name.partition("/")[0]].append(drop)
    share = max(1, _MAX_DROPS_PER_RUN // max(1, len(by_tenant)))
    for tenant_drops in by_tenant.values():
        first = run_number * share % len(tenant_drops)
        tenant_drops[:] = tenant_drops[first:] + tenant_drops[:first]
    ordered = chain.from_iterable(zip_longest(*by_tenant.values()))
    return [drop for drop in ordered if drop is not None][:_MAX_DROPS_PER_RUN]
