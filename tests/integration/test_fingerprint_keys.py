"""What is kept of bodies: hashes that cannot be computed without a key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac

import pytest

from shared.bootstrap import open_gateway
from shared.imports.authdata.hashing import HashKey
from shared.services.fingerprint_keys import PARTITION, ROW, FingerprintKeys
from shared.storage.names import SIGNING_KEYS
from shared.storage.ports import Entity, Upsert
from tests.emulator import settings_for

pytestmark = pytest.mark.integration
BODY = b'[{"EmployerRef":"E1"}]'
OLD, NEW = HashKey("2026", b"o" * 32), HashKey("2027", b"n" * 32)


def test_every_process_has_the_same_key_of_the_gateways_own(connection_string: str) -> None:
    async def story() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            found = await asyncio.gather(
                *(FingerprintKeys(tables, ()).secrets() for _ in range(10))
            )
            assert len(set(found)) == 1
            own, without_key = found[0]
            assert (len(own), without_key) == (32, b"")
            assert await FingerprintKeys(tables, ()).secrets() == found[0]

    asyncio.run(story())


def test_configured_keys_come_first_and_the_gateways_own_is_still_recognised(
    connection_string: str,
) -> None:
    async def story() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            before = (await FingerprintKeys(tables, ()).body_hashes(BODY))[0]
            first = await FingerprintKeys(tables, (OLD,)).body_hashes(BODY)
            rotated = await FingerprintKeys(tables, (NEW, OLD)).body_hashes(BODY)
            assert before in first
            assert before in rotated
            assert first[0] in rotated
            digest = hashlib.sha256(BODY).digest()
            assert rotated[0] == hmac.digest(NEW.secret, digest, "sha256").hex()
            assert len({before, first[0], rotated[0], digest.hex()}) == 4
            assert rotated[-1] == digest.hex(), "what an earlier version has kept"

    asyncio.run(story())


@pytest.mark.parametrize("stored", ["", "!", "c2hvcnQ="])
def test_a_key_that_cannot_be_read_is_replaced(connection_string: str, stored: str) -> None:
    async def story() -> None:
        async with open_gateway(settings_for(connection_string)) as gateway:
            tables = gateway.account.tables
            broken = Entity(PARTITION, ROW, {"key": stored})
            await tables.write(SIGNING_KEYS, Upsert(broken))
            found = await asyncio.gather(*(FingerprintKeys(tables, ()).secrets() for _ in range(5)))
            assert len(set(found)) == 1
            assert len(found[0][0]) == 32

    asyncio.run(story())
