"""Dropped files: a blob in `document-drop` becomes an import of documents (CONTRACTS 4).

Whoever hears of a drop calls `take_in` with its name: the blob trigger, the sweep, somebody with
`manage.py`, each any number of times. What is there now is taken in, in the version that its ETag
names; the id of the import follows from name and ETag, so all of them work on one import. At the
end the drop leaves its container: deleted where it went in, moved to `document-rejected` where it
did not.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from string import punctuation
from urllib.parse import quote

from shared import log
from shared.clock import Clock
from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.imports.definition import Options
from shared.imports.documents import messages
from shared.imports.documents.drop_paths import DropPath, read_path, tenant_of
from shared.imports.documents.file_names import safe_name
from shared.imports.documents.file_types import HEAD_BYTES, file_type_of
from shared.imports.documents.moments import past_moment
from shared.imports.documents.upload import Upload, derived_id
from shared.imports.fields import normal_reference
from shared.imports.messages import CATALOGUE, Message
from shared.services.documents.features import Feature, Features
from shared.services.documents.uploads import Documents
from shared.services.documents.work import blob_of
from shared.services.moments import iso
from shared.storage.document_blobs import DocumentBlobs, Drop, OpenedDrop
from shared.storage.import_records import ImportRecord

GENERATION_TIME = "generationtime"
_LONGEST_PATH = 980
"""Characters of a rejected blob's path, so that the import id fits behind it (1,024 in all)."""
_LONGEST_TIME = 100
"""Characters of a time that are kept of a rejected blob, whose metadata have 8 KiB in all."""


class Drops:
    """Takes dropped files in. `max_bytes` and `types` are the settings of documents."""

    def __init__(
        self,
        *,
        files: DocumentBlobs,
        documents: Documents,
        features: Features,
        clock: Clock,
        max_bytes: int,
        types: AbstractSet[str],
    ) -> None:
        self._files = files
        self._documents = documents
        self._features = features
        self._clock = clock
        self._max_bytes = max_bytes
        self._types = types

    async def take_in(self, name: str) -> None:
        """Import what lies under this name now, or reject it; nothing where nothing does.

        Raises StorageUnavailableError where it is to be tried again.
        """
        opened = await self._files.open_drop(name)
        if opened is None or opened.drop.is_folder:
            return
        try:
            await self._take_in(opened)
        except PreconditionFailedError:
            # Gone, or written over: the new version is told of by itself.
            log.event("drop.changed")

    async def _take_in(self, opened: OpenedDrop) -> None:
        drop = opened.drop
        import_id = derived_id("drop", drop.name, drop.etag)
        tenant = tenant_of(drop.name)
        features = None if tenant is None else await self._features.of(tenant)
        if tenant is None or features is None:
            await self._reject(drop, import_id, Message(messages.WRONG_PATH))
            log.event("drop.rejected", import_id=import_id, message_id=messages.WRONG_PATH)
            return
        upload = self._read(drop, tenant)
        if Feature.DOCUMENTS not in features:
            upload = upload.refused(messages.NOT_ENABLED)
        record = await self._accept(opened, tenant, import_id, upload)
        await self._finish(drop, record)

    async def _accept(
        self, opened: OpenedDrop, tenant: str, import_id: str, upload: Upload
    ) -> ImportRecord:
        """The import of a drop; the one that there is where it was taken in before."""
        if 0 < upload.size <= self._max_bytes:
            name = blob_of(tenant, import_id)
            head = await self._files.keep_drop(opened, name, HEAD_BYTES)
            kind = file_type_of(upload.file_name, head, self._types)
            upload = replace(upload, file_type=kind.name if kind else "")
        placed = await self._documents.place(tenant, upload)
        return await self._documents.accept(tenant, import_id, placed, Options())

    async def _finish(self, drop: Drop, record: ImportRecord) -> None:
        taken = await self._documents.finish(record)
        if taken is None:
            raise StorageUnavailableError("the import of a drop has no result yet")
        if not taken.is_in:
            fault = taken.result.messages[0]
            await self._reject(drop, record.import_id, fault)
            log.event("drop.rejected", import_id=record.import_id, message_id=fault.id)
            return
        if not await self._files.remove_drop(drop):
            log.event("drop.changed", import_id=record.import_id)

    def _read(self, drop: Drop, tenant: str) -> Upload:
        """What the path and the metadata say; of several faults the first one."""
        path = read_path(drop.name)
        if path is None:
            blank = Upload("", "", drop.name.rpartition("/")[2], iso(drop.created_at), drop.size)
            return blank.refused(messages.WRONG_PATH)
        assert path.tenant == tenant
        return self._checked(drop, path)

    def _checked(self, drop: Drop, path: DropPath) -> Upload:
        worker, round_code = normal_reference(path.worker_ref), normal_reference(path.round_code)
        name = safe_name(path.file_name)
        sent = drop.metadata.get(GENERATION_TIME)
        made = drop.created_at if sent is None else past_moment(sent, self._clock.now())
        upload = Upload(
            worker or path.worker_ref,
            round_code or path.round_code,
            name or path.file_name,
            iso(made or drop.created_at),
            drop.size,
        )
        faults = (
            (worker is None or round_code is None, messages.WRONG_REFERENCE),
            (name is None, messages.UNSAFE_NAME),
            (drop.size == 0, messages.EMPTY_FILE),
            (drop.size > self._max_bytes, messages.TOO_LARGE),
            (made is None, messages.WRONG_TIME),
        )
        return next((upload.refused(id_) for is_so, id_ in faults if is_so), upload)

    async def _reject(self, drop: Drop, import_id: str, fault: Message) -> None:
        """Move the drop to the rejected ones, with the reason in its metadata."""
        reason = f"{fault.text}. {CATALOGUE[fault.id].advice}"
        metadata = {"reason": quote(reason), "errorid": str(fault.id), "importid": import_id}
        sent = drop.metadata.get(GENERATION_TIME, "")[:_LONGEST_TIME]
        if sent:
            metadata[GENERATION_TIME] = quote(sent, safe=punctuation, errors="surrogateescape")
        await self._files.reject(drop, f"{drop.name[:_LONGEST_PATH]}/{import_id}", metadata)
        await self._files.remove_drop(drop)
