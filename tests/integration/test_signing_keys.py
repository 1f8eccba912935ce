"""The ring of signing keys on real tables: made once, rotated with overlap, or at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from shared.auth.signing_keys import (
    LEAD_SECONDS,
    MOST_KEYS,
    OVERLAP_SECONDS,
    PARTITION,
    ROW,
    KeyStore,
    ring_from_entity,
)
from shared.clock import RandomIds
from shared.errors import ConflictError, PreconditionFailedError
from shared.storage.account import Account
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Delete, Entity
from tests.emulator import Emulator, settings_for

pytestmark = pytest.mark.integration


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def elapsed(self) -> float:
        return self.seconds


class House:
    """Two gateway processes and an administrator on the same storage, under one clock."""

    def __init__(self, account: Account) -> None:
        self.tables = account.tables
        self.clock = HandClock()
        self.one, self.other = (KeyStore(self.tables, self.clock, RandomIds(), 3) for _ in range(2))
        self.admin = KeyStore(self.tables, self.clock, RandomIds(), 0)

    async def kids(self, store: KeyStore) -> list[str]:
        return [key.kid for key in await store.published()]


Story = Callable[[House], Awaitable[None]]
Tell = Callable[[Story], None]


@pytest.fixture
def tell(emulator: Emulator) -> Tell:
    """Run a story on an account of its own, without keys at first."""

    storage = settings_for(emulator.account("keys")).storage

    async def told(story: Story) -> None:
        account = Account(storage)
        try:
            with suppress(PreconditionFailedError):
                await account.tables.write(SIGNING_KEYS, Delete(Entity(PARTITION, ROW, {})))
            await story(House(account))
        finally:
            await account.close()

    return lambda story: asyncio.run(told(story))


def test_processes_that_start_at_once_agree_on_the_first_key(tell: Tell) -> None:
    async def story(house: House) -> None:
        stores = [KeyStore(house.tables, house.clock, RandomIds(), 3) for _ in range(8)]
        keys = await asyncio.gather(*(store.signing() for store in stores))
        assert len({key.kid for key in keys}) == 1
        assert await house.kids(house.one) == [keys[0].kid]

    tell(story)


def test_a_new_key_is_published_before_it_signs_and_the_old_one_goes_on(tell: Tell) -> None:
    async def story(house: House) -> None:
        old = await house.one.signing()
        ring = await house.admin.rotate(at_once=False)
        new = ring.keys[0].kid
        house.clock.seconds += 3
        assert await house.kids(house.one) == [new, old.kid]
        assert (await house.one.signing()).kid == old.kid
        house.clock.seconds += LEAD_SECONDS
        assert (await house.one.signing()).kid == new
        assert await house.other.find(old.kid) is not None
        house.clock.seconds += OVERLAP_SECONDS
        assert await house.kids(house.one) == [new]
        assert await house.one.find(old.kid) is None

    tell(story)


def test_a_key_that_another_process_has_just_made_is_found_at_once(tell: Tell) -> None:
    async def story(house: House) -> None:
        await house.one.signing()
        new = (await house.admin.rotate(at_once=False)).keys[0].kid
        assert await house.one.find(new) is not None
        assert await house.one.find("made-up") is None

    tell(story)


def test_rotation_at_once_forgets_every_older_key(tell: Tell) -> None:
    async def story(house: House) -> None:
        old = await house.one.signing()
        new = (await house.admin.rotate(at_once=True)).keys[0]
        assert (await house.other.signing()).kid == new.kid
        house.clock.seconds += 3
        assert await house.one.find(old.kid) is None
        assert (await house.one.signing()).kid == new.kid

    tell(story)


def test_rotations_at_the_same_time_are_all_kept(tell: Tell) -> None:
    async def story(house: House) -> None:
        await asyncio.gather(house.one.rotate(at_once=False), house.other.rotate(at_once=False))
        assert len(await house.kids(house.admin)) == 3

    tell(story)


def test_the_ring_does_not_grow_without_end(tell: Tell) -> None:
    async def story(house: House) -> None:
        for _ in range(MOST_KEYS - 1):
            await house.admin.rotate(at_once=False)
        with pytest.raises(ConflictError, match="--at-once"):
            await house.admin.rotate(at_once=False)
        house.clock.seconds += LEAD_SECONDS + OVERLAP_SECONDS + 1
        await house.admin.rotate(at_once=False)
        assert len(await house.kids(house.admin)) == 2

    tell(story)


def test_no_private_key_shows_in_a_repr_or_in_what_is_published(tell: Tell) -> None:
    async def story(house: House) -> None:
        key = await house.one.signing()
        entity = await house.tables.get(SIGNING_KEYS, PARTITION, ROW)
        assert entity is not None
        assert "PRIVATE KEY" in entity.text("keys")
        assert "private" not in repr(key).lower()
        assert "private" not in repr(ring_from_entity(entity)).lower()
        assert set(key.jwk) == {"kty", "use", "alg", "kid", "crv", "x", "y"}

    tell(story)
