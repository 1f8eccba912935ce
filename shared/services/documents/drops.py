"""Dropped files: a blob in `document-drop` becomes an import of documents (docs/contracts.md#4).

The blob trigger, the sweep and `manage.py` call `import_drop` with the name of a drop, any number
of times. `import_drop` imports the version that is there now, which its ETag names. The id of the
import follows from name and ETag, so all calls work on one import. At the end the drop leaves its
container: it is deleted where it went in, and moved to `document-rejected` where it did not.

What is stored is the drop byte for byte. A drop whose properties say that its bytes mean something
else (Content-Encoding), or are others (Content-MD5), is rejected.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, zip_longest
from string import punctuation
from typing import Final
from urllib.parse import quote

from shared import log
from shared.auth.tenant_lookups import TenantLookups
from shared.clock import Clock, to_iso
from shared.errors import (
    GatewayError,
    GatewayStoppingError,
    PreconditionFailedError,
    StorageUnavailableError,
)
from shared.imports.documents.model import (
    HEAD_BYTES,
    DropPath,
    Upload,
    derived_id,
    file_type_of,
    name_fault,
    names_a_tenant,
    past_moment,
    path_fault,
    plain_name,
    read_path,
    rejected_path,
    safe_name,
    tenant_of,
)
from shared.imports.import_type import Options
from shared.imports.messages import CATALOGUE, Message, MessageId
from shared.imports.model import MAX_REFERENCE, normal_reference
from shared.imports.sender import CallerKind, Sender, named_caller, source_name
from shared.services.documents.processor import blob_of
from shared.services.documents.rounds import Feature, Features
from shared.services.documents.uploads import Documents
from shared.services.fingerprint_keys import FingerprintKeys
from shared.storage.document_blobs import DocumentBlobs, Drop, PoisonedBlob, PoisonQueue
from shared.storage.import_records import ImportRecord
from shared.storage.names import DOCUMENT_DROP

GENERATION_TIME = "generationtime"
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
        tenants: TenantLookups,
        fingerprint_keys: FingerprintKeys,
        clock: Clock,
        max_bytes: int,
        types: AbstractSet[str],
    ) -> None:
        self._files = files
        self._documents = documents
        self._features = features
        self._tenants = tenants
        self._fingerprint_keys = fingerprint_keys
        self._clock = clock
        self._max_bytes = max_bytes
        self._types = types

    async def import_drop(self, name: str) -> None:
        """Import what lies under this name now, or reject it; nothing where nothing does.

        Raises StorageUnavailableError where it is to be tried again.
        """
        drop = await self._files.find_drop(name)
        if drop is None or drop.is_folder:
            return
        try:
            await self._take_in(drop)
        except PreconditionFailedError:
            # It is gone, or was written over; the trigger hears of the new version by itself.
            log.event("drop.changed", drop=plain_name(name))

    async def _take_in(self, drop: Drop) -> None:
        import_id = derived_id("drop", drop.name, drop.etag)
        tenant = tenant_of(drop.name)
        features = None if tenant is None else await self._features.of(tenant)
        if tenant is None or features is None:
            fault = Message(MessageId.UNKNOWN_TENANT)
            if not names_a_tenant(drop.name):
                fault = Message(MessageId.WRONG_DROP_PATH, detail=path_fault(drop.name))
            await self._reject(drop, import_id, fault)
            return
        # A drop that was taken in and could not leave, because of a lease, is not copied again.
        record = await self._documents.find_record(tenant, import_id)
        if record is None:
            upload = self._read(drop, tenant)
            if Feature.DOCUMENTS not in features:
                upload = upload.refused(MessageId.DOCUMENTS_NOT_ENABLED)
            if await self._tenants.is_disabled(tenant):
                upload = upload.refused(MessageId.TENANT_DISABLED)
            record = await self._accept(drop, tenant, import_id, upload)
        await self._finish(drop, record)

    async def _accept(
        self, drop: Drop, tenant: str, import_id: str, upload: Upload
    ) -> ImportRecord:
        """The import of a drop; the one that there is where another call was quicker."""
        sender = Sender(named_caller(CallerKind.DROP, drop.name), source_name(drop.name))
        try:
            placed, body_hash = await self._prepare(drop, tenant, import_id, upload)
            sender = replace(sender, body_hash=body_hash)
        except (StorageUnavailableError, PreconditionFailedError, GatewayStoppingError):
            raise
        except Exception as error:
            # What is broken in storage, or in our code, comes again at every try, so it is the
            # drop's outcome (9001).
            log.failure("drop.failed", error, import_id=import_id, drop=plain_name(drop.name))
            placed = upload.refused(MessageId.COULD_NOT_BE_PROCESSED)
        return await self._documents.accept(tenant, import_id, placed, Options(), sender)

    async def _prepare(
        self, drop: Drop, tenant: str, import_id: str, upload: Upload
    ) -> tuple[Upload, str]:
        """The upload with its file copied and its worker found, or with what is wrong with it.

        With the keyed hash of the file, "" where it was not copied.
        """
        body_hash = ""
        if upload.fault is None:
            copied = await self._files.keep_drop(drop, blob_of(tenant, import_id), HEAD_BYTES)
            body_hash = await self._fingerprint_keys.keyed(copied.sha256)
            kind = file_type_of(upload.file_name, copied.head, self._types)
            upload = replace(upload, file_type=kind.name if kind else "")
            if drop.md5 not in (None, copied.md5):
                upload = upload.refused(MessageId.FILE_DAMAGED)
        return await self._documents.place(tenant, upload), body_hash

    async def _finish(self, drop: Drop, record: ImportRecord) -> None:
        taken = await self._documents.finish(record)
        if taken is None:
            raise StorageUnavailableError("the import of a drop has no result yet")
        if not taken.is_in:
            await self._reject(drop, record.import_id, taken.result.messages[0])
        elif not await self._files.remove_drop(drop):
            log.event("drop.left", import_id=record.import_id, drop=plain_name(drop.name))

    def _read(self, drop: Drop, tenant: str) -> Upload:
        """What the path and the metadata say; of several faults the first one."""
        path = read_path(drop.name)
        if path is None:
            blank = Upload("", "", drop.name.rpartition("/")[2], to_iso(drop.created_at), drop.size)
            return blank.refused(MessageId.WRONG_DROP_PATH, path_fault(drop.name))
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
            to_iso(made or drop.created_at),
            drop.size,
        )
        part = "round, the second" if round_code is None else "worker, the third"
        reference = f"the {part} part of the path, must have 1 to {MAX_REFERENCE} characters"
        size = f"it has {drop.size} bytes and the limit is {self._max_bytes}; send a smaller file"
        faults = (
            (worker is None or round_code is None, MessageId.WRONG_REFERENCE_LENGTH, reference),
            (name is None, MessageId.UNSAFE_FILE_NAME, name_fault(path.file_name)),
            (drop.size == 0, MessageId.EMPTY_FILE, None),
            (drop.size > self._max_bytes, MessageId.FILE_TOO_LARGE, size),
            (bool(drop.encoding), MessageId.FILE_ENCODED, None),
            (drop.is_page_blob, MessageId.FILE_IS_PAGE_BLOB, None),
            (drop.is_archived, MessageId.FILE_ARCHIVED, None),
            (made is None, MessageId.WRONG_GENERATION_TIME, None),
        )
        for is_so, id_, detail in faults:
            if is_so:
                return upload.refused(id_, detail)
        return upload

    async def _reject(self, drop: Drop, import_id: str, fault: Message) -> None:
        """Move the drop to the rejected ones, with the reason in its metadata."""
        reason = f"{fault.finding}. {CATALOGUE[fault.id].advice}"
        metadata = {"reason": quote(reason), "errorid": str(fault.id), "importid": import_id}
        sent = drop.metadata.get(GENERATION_TIME, "")[:_LONGEST_TIME]
        if sent:
            metadata[GENERATION_TIME] = quote(sent, safe=punctuation, errors="surrogateescape")
        path = rejected_path(drop.name, import_id)
        if not await self._files.reject(drop, path, metadata):
            # The sweep comes back to it until storage has copied all of it.
            log.event("drop.rejecting", import_id=import_id, drop=plain_name(drop.name))
            return
        await self._files.remove_drop(drop)
        log.event(
            "drop.rejected", import_id=import_id, message_id=fault.id, drop=plain_name(drop.name)
        )


# Drops that the blob trigger has given up: looked at, and taken in once more (`manage.py poison`).
#
# They still lie in their container, so the sweep tries them too; this is for an administrator who
# does not want to wait, or wants to know.

_SECONDS_PER_DROP: Final = 60


@dataclass(frozen=True, slots=True)
class Requeued:
    """A failed drop and whether it is settled now: imported, rejected or gone."""

    name: str
    is_settled: bool


class PoisonedDrops:
    """The poison queue of the host, as far as it is about drops; other messages stay there."""

    def __init__(self, queue: PoisonQueue, drops: Drops) -> None:
        self._queue = queue
        self._drops = drops

    async def failed(self) -> list[PoisonedBlob]:
        """The drops that failed too often: up to 32 of them, the oldest first."""
        return [blob for blob in await self._queue.look() if blob.container == DOCUMENT_DROP]

    async def requeue(self) -> list[Requeued]:
        """Take every failed drop in once more; the message of a settled one is deleted.

        A drop that fails again does not hold up the others. Raises StorageUnavailableError where
        the queue itself is away.
        """
        done: list[Requeued] = []
        for blob in await self._queue.take():
            is_drop = blob.container == DOCUMENT_DROP
            is_settled = is_drop and await self._is_settled(blob.name)
            if is_drop:
                done.append(Requeued(blob.name, is_settled))
            try:
                await (self._queue.remove(blob) if is_settled else self._queue.give_back(blob))
            except StorageUnavailableError as error:
                # The message shows itself again after a while, and taking a drop in is repeatable.
                log.failure("poison.kept", error, drop=plain_name(blob.name))
        return done

    async def _is_settled(self, name: str) -> bool:
        try:
            async with asyncio.timeout(_SECONDS_PER_DROP):
                await self._drops.import_drop(name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(name))
            return False
        return True


# The sweep of the drop container: what the blob trigger has missed is taken in all the same.

_MOST_IN_A_TURN = 500
_MOST_LISTED = 20_000
_AT_ONCE = 8
_SECONDS_PER_SWEPT_DROP = 60
_LONGEST_WAIT = timedelta(seconds=60)
"""After this time without a change a drop is taken in also while a lease is held on it."""


class DropSweep:
    """Takes in drops that have lain for `quiet_seconds`, at most a minute."""

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
        self._quiet = min(timedelta(seconds=quiet_seconds), _LONGEST_WAIT)
        self._tenants = tenants
        self._turn = 0

    async def run(self) -> None:
        """Look at the container once; a drop that cannot be taken in does not hold up the rest."""
        free = asyncio.Semaphore(_AT_ONCE)

        async def import_drop(drop: Drop) -> None:
            async with free:
                await self._take_in(drop)

        drops = drops_of_turn(await self._found(), self._turn)
        self._turn += 1
        await asyncio.gather(*(import_drop(drop) for drop in drops))

    async def _take_in(self, drop: Drop) -> None:
        try:
            async with asyncio.timeout(_SECONDS_PER_SWEPT_DROP):
                await self._drops.import_drop(drop.name)
        except Exception as error:
            log.failure("drop.failed", error, drop=plain_name(drop.name))
        else:
            log.warning("sweep.drop_taken_in", drop=plain_name(drop.name))

    async def _found(self) -> list[Drop]:
        try:
            return await self._list("")
        except GatewayError as error:
            log.failure("sweep.drops_not_listed", error)
        # A list that fails as a whole may be readable in parts (an emulator fails on names that XML
        # cannot hold), so that the drops of one tenant do not hold up those of the others.
        found: list[Drop] = []
        for tenant in await self._tenants():
            try:
                found += await self._list(f"{tenant}/")
            except GatewayError as error:
                log.failure("sweep.drops_not_listed", error, tenant=tenant)
        return found

    async def _list(self, prefix: str) -> list[Drop]:
        now = self._clock.now()
        drops: list[Drop] = []
        async for drop in self._files.drops_before(now - self._quiet, prefix):
            if not drop.is_leased or drop.changed_at <= now - _LONGEST_WAIT:
                drops.append(drop)
            if len(drops) == _MOST_LISTED:
                break
        return drops


def drops_of_turn(drops: Sequence[Drop], turn: int) -> list[Drop]:
    """The drops of the turn of this number, of each tenant one after another.

    Each turn begins where the last one ended, so that drops that fail every time do not keep the
    same others out of every turn.
    """
    by_tenant: dict[str, list[Drop]] = defaultdict(list)
    for drop in drops:
        by_tenant[drop.name.partition("/")[0]].append(drop)
    share = max(1, _MOST_IN_A_TURN // max(1, len(by_tenant)))
    for its_drops in by_tenant.values():
        first = turn * share % len(its_drops)
        its_drops[:] = its_drops[first:] + its_drops[:first]
    turns = chain.from_iterable(zip_longest(*by_tenant.values()))
    return [drop for drop in turns if drop is not None][:_MOST_IN_A_TURN]
