"""Dropped files: a blob in `document-drop` becomes an import of documents (docs/contracts.md#4).

The blob trigger, the sweep and `manage.py` call `import_drop` with the name of a drop, any number
of times. `import_drop` imports the current version, which its ETag identifies. The id of the import
is derived from name and ETag, so all calls work on one import. At the end the drop leaves its
container: an imported drop is deleted, another one is moved to `document-rejected`.

The gateway stores the drop byte for byte. It rejects a drop with a Content-Encoding, or whose
content does not match its Content-MD5.
"""

from __future__ import annotations

from dataclasses import replace
from string import punctuation
from urllib.parse import quote

from shared import log
from shared.auth.lookups import TenantLookups
from shared.clock import derived_id, to_iso
from shared.dependencies import Dependencies
from shared.errors import (
    GatewayStoppingError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from shared.imports.documents.blobs import DocumentBlobs
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import (
    HEAD_BYTES,
    PATH_PARTS,
    Upload,
    file_type_of,
    past_moment,
    read_path,
)
from shared.imports.documents.processor import blob_of
from shared.imports.documents.rounds import Feature, Features
from shared.imports.documents.uploads import Documents
from shared.imports.file_names import (
    name_fault,
    path_fault,
    plain_name,
    safe_name,
    settled_path,
    tenant_of,
)
from shared.imports.import_type import Options
from shared.imports.messages import CATALOGUE, Message, MessageId
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.imports.sender import CallerKind, Sender, named_caller, source_name
from shared.services.drops import DropOutcome
from shared.services.idempotency import FingerprintKeys
from shared.storage.dropped_blobs import Drop, DroppedBlobs
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_REJECTED

GENERATION_TIME = "generationtime"
# Characters of a time in the metadata of a rejected blob, which have 8 KiB in all.
_MAX_TIME_LENGTH = 100


class Drops:
    """Imports dropped files."""

    def __init__(
        self,
        dependencies: Dependencies,
        drops: DroppedBlobs,
        files: DocumentBlobs,
        documents: Documents,
        features: Features,
        tenants: TenantLookups,
        fingerprint_keys: FingerprintKeys,
    ) -> None:
        self._drops = drops
        self._files = files
        self._documents = documents
        self._features = features
        self._tenants = tenants
        self._fingerprint_keys = fingerprint_keys
        self._clock = dependencies.clock
        self._max_bytes = dependencies.settings.max_document_bytes
        self._types = dependencies.settings.document_types

    async def import_drop(self, name: str) -> DropOutcome:
        """Import or reject the drop of this name, if there is one.

        Raises StorageUnavailableError where the caller should try again.
        """
        drop = await self._drops.find(name)
        if drop is None or drop.is_folder:
            return DropOutcome.NOTHING_TO_DO
        try:
            return await self._import(drop)
        except PreconditionFailedError:
            # The drop was deleted or overwritten; the trigger is called for the new version.
            log.event("drop.changed", drop=plain_name(name))
            return DropOutcome.DONE

    async def _import(self, drop: Drop) -> DropOutcome:
        import_id = derived_id("drop", drop.name, drop.etag)
        tenant = tenant_of(drop.name)
        features = None if tenant is None else await self._features.find(tenant)
        if tenant is None or features is None:
            fault = Message(DocumentMessageId.UNKNOWN_TENANT)
            if drop.name.count("/") != len(PATH_PARTS) - 1:
                detail = path_fault(drop.name, PATH_PARTS)
                fault = Message(DocumentMessageId.WRONG_DROP_PATH, detail=detail)
            await self._reject(drop, import_id, fault)
            return DropOutcome.DONE
        # A drop that was imported but could not be deleted because of a lease is not copied again.
        record = await self._documents.find_record(tenant, import_id)
        if record is None:
            upload = self._read_upload(drop, tenant)
            if Feature.DOCUMENTS not in features:
                upload = upload.refused(DocumentMessageId.DOCUMENTS_NOT_ENABLED)
            if await self._tenants.is_disabled(tenant):
                upload = upload.refused(DocumentMessageId.TENANT_DISABLED)
            record = await self._accept(drop, tenant, import_id, upload)
        return await self._finish(drop, record)

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
            log.failure(
                "drop.not_processed", error, import_id=import_id, drop=plain_name(drop.name)
            )
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

    async def _finish(self, drop: Drop, record: ImportRecord) -> DropOutcome:
        imported = await self._documents.finish(record)
        if imported is None:
            current = await self._documents.find_record(record.tenant, record.import_id)
            if current is None or not current.is_open or current.is_broken:
                raise StorageUnavailableError("the import of a drop has no result")
            # An earlier import holds it back. When that has ended, the sweep comes to the drop.
            log.event("drop.waits", import_id=record.import_id, drop=plain_name(drop.name))
            return DropOutcome.WAITS
        if not imported.is_imported:
            await self._reject(drop, record.import_id, imported.result.messages[0])
        elif not await self._drops.remove(drop):
            log.event("drop.not_removed", import_id=record.import_id, drop=plain_name(drop.name))
        return DropOutcome.DONE

    def _read_upload(self, drop: Drop, tenant: str) -> Upload:
        """The upload in the path and the metadata, with the first of its faults."""
        path = read_path(drop.name)
        if path is None:
            blank = Upload("", "", drop.name.rpartition("/")[2], to_iso(drop.created_at), drop.size)
            return blank.refused(
                DocumentMessageId.WRONG_DROP_PATH, path_fault(drop.name, PATH_PARTS)
            )
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
        path = settled_path(drop.name, import_id)
        if not await self._drops.copy(drop, DOCUMENT_REJECTED, path, metadata):
            # The sweep tries again until storage has copied all of it.
            log.event("drop.copy_pending", import_id=import_id, drop=plain_name(drop.name))
            return
        await self._drops.remove(drop)
        log.event(
            "drop.rejected", import_id=import_id, message_id=fault.id, drop=plain_name(drop.name)
        )
