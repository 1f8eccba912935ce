"""What is stored of function keys and client secrets, and when they were last used.

An integration has up to two function keys and a client up to two secrets, so that one is replaced
without an outage: add the new one, move the callers to it, revoke the old one
(docs/operate.md#keys). Only hashes are stored. The id of a key is derived from its hash, so that
keys of earlier versions have one too; it is no secret.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared import log
from shared.clock import Clock, age_of, from_iso, to_iso
from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.storage_time import CALL_SECONDS, storage_time

# How many keys an integration has at most, and secrets a client.
MOST_KEYS: Final = 2
_ID_CHARACTERS: Final = 12


class KeyNoun(StrEnum):
    """What messages call the keys."""

    FUNCTION_KEY = "function key"
    SECRET = "secret"  # noqa: S105


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A function key or a client secret by its hash. Times are ISO text, "" where there is none.

    `created_at` is not known of keys of earlier versions. `used_at` is up to an hour old.
    """

    hash: str = field(repr=False)
    created_at: str = ""
    expires_at: str = ""
    used_at: str = ""

    @property
    def id(self) -> str:
        """The id by which lists name the key."""
        return hashlib.sha256(f"id of {self.hash}".encode()).hexdigest()[:_ID_CHARACTERS]

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over: it is valid until the moment before `expires_at`."""
        return bool(self.expires_at) and now >= from_iso(self.expires_at)


def keys_to_text(keys: Sequence[StoredKey]) -> str:
    """The keys as a property of an entity."""
    return json.dumps(
        [
            {"hash": key.hash, "createdAt": key.created_at, "expiresAt": key.expires_at}
            for key in keys
        ]
    )


def keys_from_text(text: str) -> tuple[StoredKey, ...]:
    """The keys of that property. Raises ValueError, KeyError or TypeError."""
    keys = tuple(
        StoredKey(each["hash"], each["createdAt"], each["expiresAt"]) for each in json.loads(text)
    )
    for key in keys:
        if not all(isinstance(each, str) for each in (key.hash, key.created_at, key.expires_at)):
            raise ValueError("a key that is no text")
        if key.expires_at:
            from_iso(key.expires_at)
    return keys


def expiry_text(expires: datetime | None, now: datetime) -> str:
    """When a new key expires, as it is stored. Raises InvalidRequestError for a time that is past.

    `expires` is aware, in UTC.
    """
    if expires is None:
        return ""
    if expires <= now:
        raise InvalidRequestError(
            "The time of expiry is past: name one that is still to come, or none."
        )
    return to_iso(expires)


def with_key(
    keys: Sequence[StoredKey], new: StoredKey, now: datetime, noun: KeyNoun
) -> tuple[StoredKey, ...]:
    """The keys with a new one before them; an expired one makes room. `noun` is what they are.

    Raises ConflictError if there are too many keys that are valid.
    """
    valid = [key for key in keys if not key.has_expired(now)]
    if len(valid) >= MOST_KEYS:
        raise ConflictError(
            f"There are {MOST_KEYS} valid {noun}s already: check when each was last used, "
            "and revoke the one that is not used any more."
        )
    return (new, *valid)


def without_key(
    keys: Sequence[StoredKey], key_id: str, now: datetime, noun: KeyNoun
) -> tuple[StoredKey, ...]:
    """The keys without that one. `noun` is what they are.

    Raises NotFoundError, and ConflictError if no other key is valid, because revoking that one
    would be an outage.
    """
    if all(key.id != key_id for key in keys):
        raise NotFoundError(f"There is no {noun} of this id: list the {noun}s to see their ids.")
    rest = tuple(key for key in keys if key.id != key_id)
    if all(key.has_expired(now) for key in rest):
        raise ConflictError(
            f"No other {noun} is valid, so every call would be refused: add a new {noun} first."
        )
    return rest


# The time of the last use is written seldom, and never on the way of an answer.

_WRITTEN_EVERY: Final = timedelta(hours=1)
_MOST_REMEMBERED: Final = 10_000
_MOST_AT_ONCE: Final = 8


class LastUses:
    """Writes when keys and clients were last used: once an hour for each, a few at a time.

    A write that is lost is made up for an hour later. If too many are to be written at once, the
    next use writes it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted_at: OrderedDict[str, float] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def note(self, key: StoredKey, write: Callable[[str], Awaitable[Any]]) -> None:
        """Note a use of a key as its look-up has found it; `write` stores the ISO time.

        Returns at once: the write is a task of its own.
        """
        self.note_name(key.hash, key.used_at, write)

    def note_name(self, name: str, used_at: str, write: Callable[[str], Awaitable[Any]]) -> None:
        """The same for what has a unique `name`, and was last used at this time before."""
        now, elapsed = self._clock.now(), self._clock.elapsed()
        age = age_of(used_at, now)
        if age is not None and age < _WRITTEN_EVERY:
            return
        noted_at = self._noted_at.get(name)
        if noted_at is not None and elapsed - noted_at < _WRITTEN_EVERY.total_seconds():
            return
        if len(self._running) >= _MOST_AT_ONCE:
            return
        self._noted_at[name] = elapsed
        self._noted_at.move_to_end(name)
        if len(self._noted_at) > _MOST_REMEMBERED:
            self._noted_at.popitem(last=False)
        task = asyncio.create_task(_written(write, to_iso(now)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def written(self) -> None:
        """Wait for the writes that are under way."""
        await asyncio.gather(*self._running)


async def _written(write: Callable[[str], Awaitable[Any]], at: str) -> None:
    try:
        with storage_time(CALL_SECONDS):
            await write(at)
    except Exception as error:
        # The key or the client may have been revoked meanwhile.
        log.failure("key.use_not_noted", error)
