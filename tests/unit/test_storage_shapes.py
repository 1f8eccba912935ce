"""What storage writes, without storage: stamps of many rows, answers to transactions, messages."""

from __future__ import annotations

import json

import pytest

from shared.errors import PreconditionFailedError, StorageUnavailableError
from shared.imports.import_type import Options
from shared.imports.messages import Message
from shared.imports.planning import Chunk
from shared.imports.results import Outcome, RowResult
from shared.imports.sender import NO_SENDER, CallerKind, NamedCaller, Sender
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.storage.business_records import RecordKey, Stamp, StoredRecord, from_entity, writing
from shared.storage.import_records import ImportRecord, acceptance, removal
from shared.storage.import_records import from_entity as import_from_entity
from shared.storage.ports import Delete, Entity, Insert
from shared.storage.table_batches import _check_answers


def test_a_hundred_thousand_rows_may_name_one_record() -> None:
    results = [
        RowResult(index, ("E1", "P1"), Outcome.UPDATED, (Message(1102),))
        for index in range(100_000)
    ]
    record = StoredRecord(
        RecordKey("tenant|E1", "r|P1"), {"Surname": "Ada"}, Stamp.of(7, 99_999, results)
    )
    [operation] = writing(record, None)
    assert isinstance(operation, Insert)
    stored = from_entity(operation.entity)
    assert stored.stamp.results() == results
    assert stored.document == {"Surname": "Ada"}


def _answer(*statuses: int) -> bytes:
    parts = [f"--b\r\n\r\nHTTP/1.1 {status} Reason\r\n\r\n\r\n" for status in statuses]
    return "".join(parts).encode()


def test_an_answer_to_a_transaction_counts_only_when_it_is_whole() -> None:
    _check_answers(_answer(204, 204), 2)
    with pytest.raises(StorageUnavailableError):
        _check_answers(_answer(204), 2)
    with pytest.raises(StorageUnavailableError):
        _check_answers(b"", 1)
    with pytest.raises(PreconditionFailedError):
        _check_answers(_answer(412), 2)
    with pytest.raises(StorageUnavailableError):
        _check_answers(_answer(503), 2)


MESSAGE = ChunkMessage("tenant", 3, "import-1", 0)


def test_a_message_comes_back_as_it_was_sent() -> None:
    assert ChunkMessage.from_text(MESSAGE.to_text()) == MESSAGE
    looks_back = ChunkMessage("tenant", 3, "import-1", 0, looks_back=True)
    assert ChunkMessage.from_text(looks_back.to_text()) == looks_back


def test_a_message_that_names_earlier_imports_one_by_one_looks_back() -> None:
    """Messages of this shape may lie on the queues of a gateway that is updated."""
    content = json.loads(MESSAGE.to_text())["chunk"] | {"after": [[1, "import-0"]], "tries": 4}
    assert ChunkMessage.from_text(json.dumps({"chunk": content})).looks_back


@pytest.mark.parametrize(
    "changes",
    [
        {"number": "x"},
        {"number": 1e999},
        {"number": 10**40},
        {"number": -1},
        {"tenant": "a/b"},
        {"tenant": ""},
        {"tenant": "\ud800"},
        {"tenant": "x" * 2_000},
        {"chunk": None},
        {"after": "some"},
        {"after": 5},
    ],
)
def test_a_message_of_another_shape_is_unreadable(changes: dict[str, object]) -> None:
    content = json.loads(MESSAGE.to_text())["chunk"] | changes
    with pytest.raises(UnreadableMessageError):
        ChunkMessage.from_text(json.dumps({"chunk": content}))


@pytest.mark.parametrize("text", ["garbage", "", "[]", "5", '{"chunk": []}', "[" * 100_000])
def test_what_is_no_message_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableMessageError):
        ChunkMessage.from_text(text)


SENDER = Sender(NamedCaller(CallerKind.CLIENT, "c1"), "rows.csv", "ab" * 32)
OF_SENDER = {"CallerKind", "Caller", "Source", "BodyHash"}


def _an_import(sender: Sender, body_hash: str = "") -> ImportRecord:
    return ImportRecord(
        tenant="tenant",
        number=7,
        import_id="i7",
        type_name="workers",
        rows=1,
        chunks=(Chunk(0, 0, 2, 1, None),),
        options=Options(),
        accepted_at="2026-01-01T00:00:00.000Z",
        body_hash=body_hash,
        sender=sender,
    )


def test_who_had_an_import_made_rides_in_its_record_and_costs_no_entity() -> None:
    record, bare = _an_import(SENDER), _an_import(NO_SENDER)
    accepted = acceptance(record)
    assert [each.entity.row for each in accepted] == [each.entity.row for each in acceptance(bare)]
    assert import_from_entity(accepted[0].entity).sender == SENDER
    gone = removal(record)
    assert all(isinstance(each, Delete) for each in gone)
    assert {each.entity.row for each in gone} < {each.entity.row for each in accepted}


def test_an_import_of_an_earlier_version_has_no_caller_and_the_hash_that_it_was_found_by() -> None:
    found_by = "cd" * 32
    [first, *_] = acceptance(_an_import(SENDER, found_by))
    values = {name: each for name, each in first.entity.values.items() if name not in OF_SENDER}
    old = import_from_entity(Entity(first.entity.partition, first.entity.row, values))
    assert old.sender == Sender(None, "", found_by)
    broken = {**first.entity.values, "CallerKind": "somebody", "Source": 7}
    read = import_from_entity(Entity(first.entity.partition, first.entity.row, broken))
    assert read.sender.caller is None
    assert not read.is_broken
