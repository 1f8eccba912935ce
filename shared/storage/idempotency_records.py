"""Idempotency records in storage: which call has a key, which import it makes, what was answered.

PartitionKey   tenant                  RowKey   k|<Idempotency-Key>
Fingerprint    what the key is bound to: a hash of method, route, query, media type and content
ImportId       the import that the call makes, from the start: whoever takes over makes the same one
Owner          whose claim it is; ClaimedAt says since when, "" where it was given up
CreatedAt      when the key was first seen, from which it expires
Status, Headers, MediaType          the first answer, once there is one
Body0, … or Spilled                 its body, compressed, or the blob that holds it; neither where
                                    the body is rendered again from the records of the import
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from shared.errors import UnreadableDataError
from shared.storage.entities import encode, join_bytes, join_text, split_bytes, split_text
from shared.storage.ports import Entity, Value, reading

# Bytes of a compressed body that still sits in the entity.
MAX_INLINE = 600_000
# First and last row key between which the records of a tenant lie.
KEYS = ("k|", "k|~")
EXPIRY_COLUMNS = ("CreatedAt", "Spilled")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The first answer to a call. `headers` without its media type.

    `is_rendered` says that the body can be made again from the records of the import: it is then
    not stored, and None in an answer that was read.
    """

    status: int
    headers: Mapping[str, str]
    media_type: str
    body: bytes | None
    is_rendered: bool = False


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """One key of a tenant. Times are ISO text in UTC."""

    tenant: str
    key: str
    fingerprint: str
    import_id: str
    owner: str
    created_at: str
    claimed_at: str
    answer: KeptAnswer | None = None
    spilled: str = ""
    etag: str = ""


def keys_of(tenant: str, key: str) -> tuple[str, str]:
    """Partition and row key of a tenant's Idempotency-Key."""
    return encode(tenant), f"k|{encode(key)}"


def pack_body(answer: KeptAnswer) -> bytes:
    """The bytes to keep of an answer's body; b"" where it is rendered again."""
    return b"" if answer.is_rendered or answer.body is None else zlib.compress(answer.body)


@reading("the body of a kept answer")
def unpack_body(packed: bytes) -> bytes:
    """The inverse of `pack_body`. Raises UnreadableDataError."""
    return zlib.decompress(packed)


def to_entity(record: IdempotencyRecord, packed: bytes = b"") -> Entity:
    """As it is stored; `packed` is its body, unless that went to a blob."""
    values: dict[str, Value] = {
        "Fingerprint": record.fingerprint,
        "ImportId": record.import_id,
        "Owner": record.owner,
        "CreatedAt": record.created_at,
        "ClaimedAt": record.claimed_at,
    }
    answer = record.answer
    if answer is not None:
        values |= {"Status": answer.status, "MediaType": answer.media_type}
        values |= {"IsRendered": answer.is_rendered, "Spilled": record.spilled}
        values |= split_text("Headers", json.dumps(dict(answer.headers)))
        values |= {} if record.spilled else split_bytes("Body", packed)
    return Entity(*keys_of(record.tenant, record.key), values, record.etag)


def from_entity(tenant: str, key: str, entity: Entity) -> IdempotencyRecord:
    """The inverse of `to_entity`; the body of a spilled answer is still to be read.

    The row key may hold a hash of a long key, so tenant and key are said again. An answer that
    cannot be read counts as not kept: it is made again. Raises UnreadableDataError where the
    record does not say which call or import the key stands for.
    """
    if not (entity.text("Fingerprint") and entity.text("ImportId")):
        raise UnreadableDataError("what is kept of an Idempotency-Key")
    answer: KeptAnswer | None = None
    if "Status" in entity.values:
        with suppress(UnreadableDataError):
            answer = _answer(entity)
    return IdempotencyRecord(
        tenant=tenant,
        key=key,
        fingerprint=entity.text("Fingerprint"),
        import_id=entity.text("ImportId"),
        owner=entity.text("Owner"),
        created_at=entity.text("CreatedAt"),
        claimed_at=entity.text("ClaimedAt"),
        answer=answer,
        spilled=entity.text("Spilled"),
        etag=entity.etag,
    )


@reading("a kept answer")
def _answer(entity: Entity) -> KeptAnswer:
    packed = join_bytes("Body", entity.values)
    return KeptAnswer(
        status=entity.number("Status"),
        headers=MappingProxyType(json.loads(join_text("Headers", entity.values))),
        media_type=entity.text("MediaType"),
        body=unpack_body(packed) if packed else None,
        is_rendered=entity.flag("IsRendered"),
    )
