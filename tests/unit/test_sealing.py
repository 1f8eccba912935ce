"""Sealed values and data keys: where a value opens, what a rotation and a lost key leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.errors import DataKeysNotSetError, SealedDataError
from shared.imports.authdata.hashing import HashKey
from shared.storage.names import DATA_KEYS, IMPORT_PAYLOADS
from shared.storage.ports import Entity, Merge, Upsert
from shared.storage.sealed_storage import (
    BLOCK_BYTES,
    SealedFields,
    SealingBlobs,
    SealingTables,
    unreadable_paths,
)
from shared.storage.sealing import OVERHEAD, DataKeys, is_sealed, key_number
from tests.memory_storage import MemoryBlobs, MemoryTables

OLD = HashKey("2026", b"o" * 32)
NEW = HashKey("2027", b"n" * 40)
PLACE = ("Workers", "acme|1", "r|7")


def data_keys(tables: MemoryTables, keys: Sequence[HashKey] = (OLD,)) -> DataKeys:
    return DataKeys(tables, keys, SystemClock(), cache_seconds=3)


def test_a_value_opens_only_where_it_was_sealed() -> None:
    async def run() -> None:
        tables = MemoryTables()
        keys = data_keys(tables)
        sealer = await keys.sealer("acme")
        sealed = sealer.seal(b"12345678", *PLACE)
        assert is_sealed(sealed)
        assert b"12345678" not in sealed
        assert len(sealed) == 8 + OVERHEAD
        assert sealer.seal(b"12345678", *PLACE) != sealed
        assert sealer.open(sealed, *PLACE) == b"12345678"
        other_process = await data_keys(tables).opener("acme")
        assert other_process.open(sealed, *PLACE) == b"12345678"
        for other in (("Workers", "acme|1", "r|8"), ("Workers", "acme|2", "r|7"), PLACE[:2], ()):
            with pytest.raises(SealedDataError):
                sealer.open(sealed, *other)
        with pytest.raises(SealedDataError):
            (await keys.sealer("other")).open(sealed, *PLACE)

    asyncio.run(run())


@pytest.mark.parametrize("at", [0, 4, 10, 30, -1])
def test_a_changed_or_cut_value_does_not_open(at: int) -> None:
    async def run() -> None:
        sealer = await data_keys(MemoryTables()).sealer("acme")
        sealed = bytearray(sealer.seal(b"12345678", *PLACE))
        sealed[at] ^= 1
        for broken in (bytes(sealed), bytes(sealed)[:at], b""):
            with pytest.raises(SealedDataError):
                sealer.open(broken, *PLACE)

    asyncio.run(run())


def test_two_processes_make_one_data_key() -> None:
    async def run() -> None:
        tables = MemoryTables()
        one, other = await asyncio.gather(
            data_keys(tables).sealer("acme"), data_keys(tables).sealer("acme")
        )
        assert other.open(one.seal(b"x", *PLACE), *PLACE) == b"x"
        assert len(tables.tables[DATA_KEYS]) == 1

    asyncio.run(run())


def test_after_a_rotation_old_values_open_and_new_ones_have_the_new_key() -> None:
    async def run() -> None:
        keys = data_keys(MemoryTables())
        sealed = (await keys.sealer("acme")).seal(b"x", *PLACE)
        assert await keys.rotate("acme") == 2
        sealer = await keys.sealer("acme")
        assert sealer.open(sealed, *PLACE) == b"x"
        assert key_number(sealed) == 1
        assert key_number(sealer.seal(b"x", *PLACE)) == 2
        assert await keys.rotate("another") == 1

    asyncio.run(run())


def test_data_keys_are_wrapped_anew_under_the_first_key_of_the_setting() -> None:
    async def run() -> None:
        tables = MemoryTables()
        sealed = (await data_keys(tables).sealer("acme")).seal(b"x", *PLACE)
        both = data_keys(tables, (NEW, OLD))
        assert (await both.sealer("acme")).open(sealed, *PLACE) == b"x"
        assert await both.rewrap("acme") == 1
        assert await both.rewrap("acme") == 0
        assert (await data_keys(tables, (NEW,)).sealer("acme")).open(sealed, *PLACE) == b"x"

    asyncio.run(run())


@pytest.mark.parametrize("wrong", [NEW, HashKey(OLD.id, NEW.secret)])
def test_with_a_wrong_key_nothing_opens_and_nothing_is_sealed(wrong: HashKey) -> None:
    async def run() -> None:
        tables = MemoryTables()
        sealed = (await data_keys(tables).sealer("acme")).seal(b"x", *PLACE)
        before = dict(tables.tables[DATA_KEYS])
        keys = data_keys(tables, (wrong,))
        with pytest.raises(DataKeysNotSetError, match="GATEWAY_DATA_KEYS has no key"):
            await keys.sealer("acme")
        with pytest.raises(SealedDataError):
            (await keys.opener("acme")).open(sealed, *PLACE)
        assert await keys.rewrap("acme") == 0
        assert tables.tables[DATA_KEYS] == before
        # A rotation gives up what cannot be opened, and the tenant can be imported again.
        assert await keys.rotate("acme") == 2
        sealer = await keys.sealer("acme")
        assert sealer.open(sealer.seal(b"y", *PLACE), *PLACE) == b"y"
        # With the right key beside it all of it opens again.
        sealer = await data_keys(tables, (OLD, wrong) if wrong.id != OLD.id else (OLD,)).opener(
            "acme"
        )
        assert sealer.open(sealed, *PLACE) == b"x"

    asyncio.run(run())


def test_only_a_lost_key_of_hashes_is_replaced() -> None:
    async def run() -> None:
        tables = MemoryTables()
        first = await data_keys(tables).hash_key("acme")
        await data_keys(tables, (NEW, OLD)).replace_lost_hash_key("acme")
        assert await data_keys(tables).hash_key("acme") == first
        keys = data_keys(tables, (NEW,))
        with pytest.raises(DataKeysNotSetError):
            await keys.hash_key("acme")
        await keys.replace_lost_hash_key("acme")
        assert await keys.hash_key("acme") == await data_keys(tables, (NEW,)).hash_key("acme")
        assert await keys.hash_key("acme") != first

    asyncio.run(run())


def test_without_the_setting_nothing_is_sealed() -> None:
    async def run() -> None:
        keys = data_keys(MemoryTables(), ())
        assert not keys.are_set
        for call in (keys.sealer, keys.rotate):
            with pytest.raises(DataKeysNotSetError, match="GATEWAY_DATA_KEYS is not set"):
                await call("acme")

    asyncio.run(run())


FIELDS = SealedFields.of({"A", "B", "N"})


def some_value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, with the marks of JSON in its texts."""
    match random.randrange(8 if depth < 3 else 5):
        case 5:
            return [some_value(random, depth + 1) for _ in range(random.randrange(3))]
        case 6 | 7:
            return {random.choice("ABCDN"): some_value(random, depth + 1) for _ in range(3)}
        case 4:
            return random.choice([None, True, 12, -3, ""])
        case _:
            return "".join(random.choices('ab"\\{}[],:AN null\n é', k=random.randrange(9)))


def open_values(node: Any) -> Iterator[Any]:
    """What an open document has under the names of sealed fields."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from [value] if name in "ABN" else open_values(value)
    elif isinstance(node, list):
        for value in node:
            yield from open_values(value)


def test_a_document_is_divided_and_put_together_byte_for_byte() -> None:
    assert FIELDS is not None
    random = Random(7)
    divided = 0
    for _ in range(3_000):
        document = {random.choice("ABCDEN"): some_value(random) for _ in range(4)}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        open_text, values = FIELDS.take_out(text)
        if not values:
            assert (open_text, set(open_values(document)) - {None}) == (text, set())
            continue
        divided += 1
        assert FIELDS.put_back(open_text, values) == text
        assert set(open_values(json.loads(open_text))) <= {None, True}
        assert len(FIELDS.remove(open_text)[1]) == len(values.split("\n"))
        with pytest.raises(SealedDataError):
            FIELDS.put_back(f" {open_text}", values)
    assert divided > 2_000


def test_sealed_values_that_were_removed_are_unreadable_until_they_are_sent_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run() -> None:
        stored = MemoryTables()
        tables = SealingTables(
            stored,  # type: ignore[arg-type]
            data_keys(stored),
            lambda _: FIELDS,
        )
        place = "acme|1", "r|1"

        async def write(text: str, **values: Any) -> None:
            await tables.write("T", Upsert(Entity(*place, {"Document0": text, **values})))

        async def remove() -> None:
            entity = await stored.get("T", *place)
            assert entity is not None
            values = {name: each for name, each in entity.values.items() if name != "Sealed0"}
            await stored.write("T", Upsert(Entity(*place, values)))

        async def read() -> tuple[str, list[Any]]:
            entity = await tables.get("T", *place)
            assert entity is not None
            return entity.text("Document0"), unreadable_paths(entity)

        await write('{"A":null,"C":{"B":null},"D":true}')
        assert await read() == ('{"A":null,"C":{"B":null},"D":true}', [])
        await write('{"A":"x","B":null,"C":[{"N":[1]}],"D":1}', Previous="p")
        await remove()
        lost = [["A"], ["C", 0, "N"]]
        assert await read() == ('{"B":null,"C":[{}],"D":1}', lost)
        # They stay so in a record that is written again, but for a field that is sent.
        again = await tables.get("T", *place)
        assert again is not None
        await write('{"A":"y","C":[{}],"D":2}', Unreadable=again.text("Unreadable"))
        assert await read() == ('{"A":"y","C":[{}],"D":2}', lost[1:])
        await remove()
        assert await read() == ('{"C":[{}],"D":2}', [lost[1], lost[0]])

    asyncio.run(run())
    assert "record.sealed_values_missing tenant=acme type=T rows=1" in caplog.text


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", "[[1,2]]", '[[[["A",1]],""]]', '[[[[]],""]]', '[[["A"],""]]', '[[[{}],""]]'],
)
def test_a_list_of_unreadable_fields_that_is_none_does_not_keep_the_record_from_being_read(
    text: str,
) -> None:
    async def run() -> None:
        stored = MemoryTables()
        tables = SealingTables(
            stored,  # type: ignore[arg-type]
            data_keys(stored),
            lambda _: FIELDS,
        )
        await tables.write("T", Upsert(Entity("acme|1", "r|1", {"Document0": '{"A":"x"}'})))
        await stored.write("T", Merge(Entity("acme|1", "r|1", {"Unreadable": text})))
        found = await tables.get("T", "acme|1", "r|1")
        assert found is not None
        assert (found.text("Document0"), unreadable_paths(found)) == ('{"A":"x"}', [])
        await tables.write("T", Upsert(Entity("acme|1", "r|1", found.values)))

    asyncio.run(run())


def test_blobs_are_read_in_ranges_as_they_were_written() -> None:
    async def run() -> None:
        stored = MemoryBlobs()
        keys = data_keys(MemoryTables())
        blobs = SealingBlobs(stored, keys)
        data = bytes(Random(1).randbytes(BLOCK_BYTES * 18 + 7))
        name = "acme/import"
        parts = (data[at : at + 9_999] for at in range(0, len(data), 9_999))
        await blobs.put(IMPORT_PAYLOADS, name, parts)
        sealed = await stored.read(IMPORT_PAYLOADS, name)
        assert sealed is not None
        assert data[100:140] not in sealed
        edges = (0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES * 16 + 3, len(data) - 1, len(data))
        for start in edges:
            assert await blobs.read(IMPORT_PAYLOADS, name, start) == data[start:]
            for length in (1, 5, BLOCK_BYTES, BLOCK_BYTES + 1, len(data)):
                found = await blobs.read(IMPORT_PAYLOADS, name, start, length)
                assert found == data[start : start + length], (start, length)
        assert await blobs.read(IMPORT_PAYLOADS, name, BLOCK_BYTES * 19) == b""
        # A blob under another name, and a block in another place, do not open.
        swapped = sealed[BLOCK_BYTES + OVERHEAD :] + sealed[: BLOCK_BYTES + OVERHEAD]
        for other, content in (("acme/other", sealed), (name, swapped)):
            await stored.put(IMPORT_PAYLOADS, other, [content])
            with pytest.raises(SealedDataError):
                await blobs.read(IMPORT_PAYLOADS, other, 0, 9)
        # What was written without keys is read with them.
        await stored.put(IMPORT_PAYLOADS, "acme/open", [data])
        assert await blobs.read(IMPORT_PAYLOADS, "acme/open", 5, 7) == data[5:12]
        assert await blobs.read(IMPORT_PAYLOADS, "acme/open", len(data) - 1) == data[-1:]

    asyncio.run(run())


def test_what_another_process_has_sealed_after_a_rotation_opens_at_once() -> None:
    async def run() -> None:
        tables, stored = MemoryTables(), MemoryBlobs()
        one, other = (DataKeys(tables, (OLD,), SystemClock(), 60) for _ in range(2))
        our_blobs, their_blobs = (SealingBlobs(stored, keys) for keys in (one, other))
        our_tables, their_tables = (
            SealingTables(tables, keys, lambda _: FIELDS)  # type: ignore[arg-type]
            for keys in (one, other)
        )
        assert await our_blobs.read(IMPORT_PAYLOADS, "acme/x") is None
        for content in ("first", "second", "third"):
            await their_blobs.put(IMPORT_PAYLOADS, "acme/x", [content.encode()])
            assert await our_blobs.read(IMPORT_PAYLOADS, "acme/x") == content.encode()
            await other.rotate("acme")
            values = {"Document0": f'{{"A":"{content}"}}'}
            await their_tables.write("T", Upsert(Entity("acme|1", "r|1", values)))
            assert content not in str(await tables.get("T", "acme|1", "r|1"))
            found = await our_tables.get("T", "acme|1", "r|1")
            assert found is not None
            assert found.values == values

    asyncio.run(run())
