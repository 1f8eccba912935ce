"""Idempotency records in storage: the call of a key, its import, and its first answer.

PartitionKey   tenant                  RowKey   k|<Idempotency-Key>
Fingerprint    the call that the key belongs to: a hash of method, route, query, media type, content
ImportId       the import of the call, set from the start, so that a take-over makes the same one
Owner          the owner of the claim. ClaimedAt is its time, "" if the claim was released
CreatedAt      the time of the first call with the key, from which the key expires
Status, Headers, MediaType          the first answer, once there is one
Body0, … or Spilled                 its compressed body, or the blob that contains it. Neither if
                                    the body is rendered again from the records of the import
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType

from shared.errors import UnreadableDataError
from shared.storage.entities import encode, join_bytes, join_text, split_bytes, split_text
from shared.storage.ports import Entity, Value, reading

# The most bytes of a compressed body that is stored in the entity.
MAX_INLINE = 600_000
# First and last row key of a tenant's records.
KEYS = ("k|", "k|~")
_BODY = re.compile(r"Body[0-9]+")
EXPIRY_COLUMNS = ("CreatedAt", "Spilled")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The first answer to a call. `headers` does not include the media type.

    `is_rendered`: the body can be rendered again from the records of the import. It is then not
    stored, and None in an answer that was read from storage.
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
    """The compressed body to store; b"" if the body is rendered again."""
    return b"" if answer.is_rendered or answer.body is None else zlib.compress(answer.body)


@reading("the body of a kept answer")
def unpack_body(packed: bytes) -> bytes:
    """Decompress a stored body. Raises UnreadableDataError."""
    return zlib.decompress(packed)


def to_entity(record: IdempotencyRecord, packed: bytes = b"") -> Entity:
    """The entity of a record. `packed` is the compressed body, unless that is in a blob."""
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


def without_body(entity: Entity) -> Entity:
    """The entity of a record, as it was read, without the body of its answer.

    The answer says that it has expired, and is not made again.
    """
    values = {name: value for name, value in entity.values.items() if not _BODY.fullmatch(name)}
    return replace(entity, values={**values, "IsRendered": False, "Spilled": ""})


def from_entity(tenant: str, key: str, entity: Entity) -> IdempotencyRecord:
    """The record of an entity. The body of a spilled answer still has to be read.

    The row key may contain a hash of a long key, so tenant and key are passed too. An answer that
    cannot be read counts as missing, and is made again. Raises UnreadableDataError if the call or
    the import of the key is missing.
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
