"""What storage writes, how long a call waits for it, conflicts, and the stamps of a record."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    ConflictError,
    GatewayError,
    PreconditionFailedError,
    StorageBusyError,
    StorageUnavailableError,
)
from shared.imports.import_type import Options, ReadRow
from shared.imports.messages import Message
from shared.imports.planning import Chunk
from shared.imports.results import STORED_OUTCOMES, Outcome, RowResult, pack_result
from shared.imports.sender import NO_SENDER, CallerKind, NamedCaller, Sender
from shared.imports.workers.definition import WORKERS
from shared.services import stamps
from shared.services.chunk_messages import ChunkMessage, UnreadableMessageError
from shared.services.record_processor import operation_bytes
from shared.services.row_processor import KeyRows, RecordOutcome, SupersededError
from shared.storage import business_records
from shared.storage.azure_tables import _check_answers, _format_transaction
from shared.storage.business_records import (
    MOST_ENDED,
    RecordKey,
    Stamp,
    StoredRecord,
    from_entity,
    writing,
)
from shared.storage.import_records import ImportRecord, acceptance_operations, removal_operations
from shared.storage.import_records import from_entity as import_from_entity
from shared.storage.ports import (
    MAX_TEXT,
    Delete,
    Entity,
    Insert,
    Merge,
    Upsert,
    Value,
    retry_on_conflict,
)
from shared.storage_time import (
    BACKGROUND_SECONDS,
    CALL_SECONDS,
    limited_wait,
    retried,
    storage_time,
    storage_time_now,
)
from tests.model.harness import run_at_once

# What storage writes, without storage: stamps of many rows, answers to transactions, messages.


def test_a_hundred_thousand_rows_may_name_one_record() -> None:
    results = [
        RowResult(index, ("E1", "P1"), Outcome.UPDATED, (Message(1102),))
        for index in range(100_000)
    ]
    record = StoredRecord(
        RecordKey("tenant|E1", "r|P1"), {"Surname": "Ada"}, Stamp.from_results(7, 99_999, results)
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


@given(
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 204 No Content\r\n",
                b"HTTP/1.1 204",
                b"HTTP/1.1 202 Accepted\r\n",
                b"HTTP/1.1 412 Precondition Failed\r\n",
                b"HTTP/1.1 503 Busy\r\n",
                b"HTTP/1.1 ",
                b"Location: http://a/HTTP/1.1 204 \r\n",
                b"--b\r\n",
                b"\r\n",
                b"\n",
            ]
        ),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_an_answer_that_is_only_counted_is_one_whose_statuses_are_all_good(
    parts: list[bytes], operations: int
) -> None:
    content = b"".join(parts)
    lines = re.findall(rb"^HTTP/1\.1 ([0-9]{3})", content, re.MULTILINE)
    is_good = len(lines) >= operations and all(int(status) < 300 for status in lines)
    if is_good:
        _check_answers(content, operations)
    else:
        with pytest.raises(GatewayError):
            _check_answers(content, operations)


MESSAGE = ChunkMessage("tenant", 3, "import-1", 0)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    st.integers(0, 200),
    st.binary(max_size=100),
)
def test_the_size_of_an_operation_is_never_taken_for_less(
    text: str, times: int, data: bytes
) -> None:
    values: dict[str, Value] = {"Document0": text * times, "Short": text, "Sealed0": data * times}
    for operation in (Upsert(Entity("p", "r", values)), Insert(Entity("p", "r", {}))):
        address = "https://an-account.table.core.windows.net/Workers"
        assert len(_format_transaction([operation], address, "batch")) <= operation_bytes(operation)


@given(st.text("aZ09._=|-", max_size=9) | st.text(st.characters(codec="utf-8"), max_size=9))
def test_a_row_key_is_quoted_in_the_address_of_its_operation(row: str) -> None:
    body = _format_transaction([Upsert(Entity("p", row, {}))], "http://storage/T", "batch")
    line = f"PUT http://storage/T(PartitionKey='p',RowKey='{quote(row, safe='._-')}') HTTP/1.1\r\n"
    assert line.encode() in body


@given(
    st.lists(
        st.builds(
            RowResult,
            index=st.integers(0, 10**6),
            key=st.tuples(st.none() | st.text(st.characters(exclude_categories=["Cs"]))),
            outcome=st.sampled_from(STORED_OUTCOMES),
            messages=st.tuples(
                st.builds(Message, st.just(1002), value=st.text(st.characters(codec="utf-8")))
            ),
        )
    )
)
def test_the_results_in_a_stamp_are_the_same_text_as_before(results: list[RowResult]) -> None:
    packed = [pack_result(result) for result in results]
    as_before = json.dumps(packed, ensure_ascii=False, separators=(",", ":"))
    assert Stamp.from_results(1, 0, results).packed == as_before


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
def test_a_text_that_is_not_a_message_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableMessageError):
        ChunkMessage.from_text(text)


# Who had an import made, in its record.

SENDER = Sender(NamedCaller(CallerKind.CLIENT, "c1"), "rows.csv", "ab" * 32)
OF_SENDER = {"CallerKind", "Caller", "Source", "BodyHash"}


def _a_sent_import(sender: Sender, body_hash: str = "") -> ImportRecord:
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
    record, bare = _a_sent_import(SENDER), _a_sent_import(NO_SENDER)
    accepted = acceptance_operations(record)
    assert [each.entity.row for each in accepted] == [
        each.entity.row for each in acceptance_operations(bare)
    ]
    assert import_from_entity(accepted[0].entity).sender == SENDER
    gone = removal_operations(record)
    assert all(isinstance(each, Delete) for each in gone)
    assert {each.entity.row for each in gone} < {each.entity.row for each in accepted}


def test_an_import_of_an_earlier_version_has_no_caller_and_the_hash_that_it_was_found_by() -> None:
    found_by = "cd" * 32
    [first, *_] = acceptance_operations(_a_sent_import(SENDER, found_by))
    values = {name: each for name, each in first.entity.values.items() if name not in OF_SENDER}
    old = import_from_entity(Entity(first.entity.partition, first.entity.row, values))
    assert old.sender == Sender(None, "", found_by)
    broken = {**first.entity.values, "CallerKind": "somebody", "Source": 7}
    read = import_from_entity(Entity(first.entity.partition, first.entity.row, broken))
    assert read.sender.caller is None
    assert not read.is_broken


# How long storage may keep a call waiting: what runs down, and what an answer gives back.


def test_time_runs_down_while_storage_is_waited_for_and_at_no_other_time() -> None:
    async def run() -> float:
        with storage_time(8) as time:
            await asyncio.sleep(100)
            async with limited_wait():
                await asyncio.sleep(3)
            await asyncio.sleep(100)
            return time.left

    assert run_at_once(run()) == pytest.approx(5)


def test_several_waits_at_once_count_once() -> None:
    async def wait() -> None:
        async with limited_wait():
            await asyncio.sleep(3)

    async def run() -> float:
        with storage_time(8) as time:
            await asyncio.gather(*(wait() for _ in range(10)))
            return time.left

    assert run_at_once(run()) == pytest.approx(5)


def test_a_wait_ends_when_the_time_is_used_up_and_none_begins_after_that() -> None:
    async def run() -> tuple[float, float]:
        begun = asyncio.get_running_loop().time()
        with storage_time(8):
            with pytest.raises(StorageUnavailableError):
                async with limited_wait():
                    await asyncio.Event().wait()
            first = asyncio.get_running_loop().time() - begun
            with pytest.raises(StorageUnavailableError):
                async with limited_wait():
                    raise AssertionError("nothing is asked any more")
        return first, asyncio.get_running_loop().time() - begun

    assert run_at_once(run()) == pytest.approx((8, 8))


def test_answers_give_time_back_but_never_more_than_there_was() -> None:
    async def run() -> tuple[float, float]:
        with storage_time(8) as time:
            async with limited_wait():
                await asyncio.sleep(3)
            time.note_answer(128 * 1024)
            after_one = time.left
            for _ in range(100):
                time.note_answer(0)
            return after_one, time.left

    assert run_at_once(run()) == pytest.approx((6.25, 8))


def test_attempts_that_hang_end_within_the_time_of_the_call() -> None:
    async def hang() -> None:
        async with limited_wait(storage_time_now().longest_try):
            await asyncio.Event().wait()

    async def run() -> float:
        with storage_time(8), pytest.raises(StorageUnavailableError):
            await retried(hang)
        return asyncio.get_running_loop().time()

    assert run_at_once(run()) == pytest.approx(8)


def test_a_shared_task_does_not_use_the_time_of_the_call_that_began_it() -> None:
    async def shared() -> float:
        with storage_time(5) as own:
            async with limited_wait():
                await asyncio.sleep(2)
            return own.left

    async def run() -> tuple[float, float]:
        with storage_time(8) as time:
            task = asyncio.create_task(shared())
            seconds_left = await task
            return time.left, seconds_left

    assert run_at_once(run()) == pytest.approx((8, 3))


# Storage that throttles: a call is refused soon, a message goes on instead of coming back later.


class Busy:
    """Storage that answers some requests that it is busy, or does not answer them."""

    def __init__(self, times: float, error: type[GatewayError] = StorageBusyError) -> None:
        self.times = times
        self.tries = 0
        self._error = error

    async def ask(self) -> str:
        self.tries += 1
        if self.tries <= self.times:
            raise self._error("storage answered 503")
        return "answered"


def test_a_message_waits_until_storage_that_throttles_takes_its_request() -> None:
    async def run() -> tuple[str, int, float]:
        busy = Busy(times=15)
        with storage_time(BACKGROUND_SECONDS) as time:
            return await retried(busy.ask), busy.tries, time.left

    answer, tries, seconds_left = run_at_once(run())
    assert (answer, tries) == ("answered", 16)
    assert seconds_left == pytest.approx(BACKGROUND_SECONDS)


@pytest.mark.parametrize(
    ("seconds", "error", "most_tries", "most_seconds"),
    [
        (CALL_SECONDS, StorageBusyError, 3, 1),
        (BACKGROUND_SECONDS, StorageUnavailableError, 3, 1),
        (BACKGROUND_SECONDS, StorageBusyError, 20, 60),
    ],
)
def test_tries_have_an_end(
    seconds: float, error: type[GatewayError], most_tries: int, most_seconds: float
) -> None:
    async def run() -> tuple[int, float]:
        busy = Busy(math.inf, error)
        with storage_time(seconds), pytest.raises(error):
            await retried(busy.ask)
        return busy.tries, asyncio.get_running_loop().time()

    tries, took = run_at_once(run())
    assert tries == most_tries
    assert took <= most_seconds


# Repeating conditional writes.


class _Counter:
    def __init__(self, conflicts: int) -> None:
        self.conflicts = conflicts
        self.attempts = 0

    @retry_on_conflict(3, lambda: ConflictError("The counter keeps changing."))
    async def add(self, number: int, *, twice: bool = False) -> int:
        self.attempts += 1
        if self.attempts <= self.conflicts:
            raise PreconditionFailedError("another writer was faster")
        return number * 2 if twice else number


@pytest.mark.parametrize("conflicts", [0, 1, 2])
def test_a_conflicting_write_is_tried_again(conflicts: int) -> None:
    counter = _Counter(conflicts)
    assert asyncio.run(counter.add(4, twice=True)) == 8
    assert counter.attempts == conflicts + 1


def test_after_the_last_conflict_the_caller_gets_the_error() -> None:
    counter = _Counter(3)
    with pytest.raises(ConflictError, match="keeps changing"):
        asyncio.run(counter.add(4))
    assert counter.attempts == 3


def test_other_errors_are_not_retried() -> None:
    @retry_on_conflict(3, lambda: ConflictError("unused"))
    async def fail() -> None:
        raise ValueError("of another kind")

    with pytest.raises(ValueError, match="of another kind"):
        asyncio.run(fail())


# Stamps and ended imports of one record: who may still write it, and what a record must keep.

KEY = RecordKey("T|E1", "r|P1")
ROWS = KeyRows(KEY, (ReadRow(0, ("E1", "P1"), {}, ()),))


def an_import(number: int) -> ImportRecord:
    return ImportRecord("T", number, f"import-{number}", WORKERS.name, 1, (), Options(), "")


@dataclass
class StoredEntity:
    """One record, through the mapping of entities."""

    entity: Entity | None = None

    @property
    def record(self) -> StoredRecord | None:
        return None if self.entity is None else business_records.from_entity(self.entity)

    def write(self, number: int) -> None:
        before = self.record
        result = RowResult(0, ("E1", "P1"), Outcome.UPDATED, ())
        written = StoredRecord(
            KEY,
            {"Surname": "Ada"},
            Stamp.from_results(number, 0, [result]),
            ended=before.ended if before else business_records.NOTHING_ENDED,
        )
        [operation] = business_records.writing(written, before)
        self.entity = operation.entity

    def end(self, number: int, code: int, closed_through: int) -> RecordOutcome:
        resolve = stamps.ending(an_import(number), Message(code), closed_through)
        settlement = resolve(ROWS, self.record)
        for operation in settlement.operations:
            assert isinstance(operation, Insert | Merge)
            columns = self.entity.values if self.entity is not None else {}
            values = {**columns, **operation.entity.values}
            self.entity = replace(operation.entity, values=values)
        return settlement

    def codes(self, number: int) -> list[int] | None:
        """The message ids of the row of an import that comes to the record; None: it may write."""
        results = stamps.recorded_results(an_import(number), ROWS, self.record)
        return None if results is None else [m.id for each in results for m in each.messages]


@pytest.mark.parametrize("code", [9001, 9002])
def test_only_the_import_that_was_ended_is_kept_out(code: int) -> None:
    stored = StoredEntity()
    stored.end(7, code, closed_through=2)
    assert stored.codes(7) == [code]
    for other in (3, 4, 6, 8):
        assert stored.codes(other) is None, f"import {other} was not ended"


def test_each_ended_import_reports_its_own_end() -> None:
    stored = StoredEntity()
    stored.write(2)
    stored.end(7, 9002, closed_through=2)
    stored.end(5, 9001, closed_through=2)
    assert (stored.codes(5), stored.codes(7)) == ([9001], [9002])
    assert stored.codes(4) is None


def test_a_row_that_is_ended_again_keeps_its_first_end_and_writes_nothing() -> None:
    stored = StoredEntity()
    stored.end(7, 9001, closed_through=2)
    again = stored.end(7, 9002, closed_through=3)
    assert again.operations == ()
    assert [message.id for message in again.results[0].messages] == [9001]


def test_the_end_of_a_later_import_stays_while_earlier_ones_write() -> None:
    stored = StoredEntity()
    stored.end(7, 9002, closed_through=2)
    stored.write(3)
    stored.write(5)
    assert stored.codes(7) == [9002]
    assert stored.codes(6) is None


def test_a_stamp_makes_the_ends_below_it_superfluous() -> None:
    stored = StoredEntity()
    stored.end(5, 9002, closed_through=4)
    stored.end(7, 9002, closed_through=5)
    stored.write(8)
    assert stored.record is not None
    assert stored.record.ended == business_records.NOTHING_ENDED
    for straggler in (5, 7):
        with pytest.raises(SupersededError):
            stored.codes(straggler)


def test_a_later_stamp_needs_no_mark_of_an_earlier_import() -> None:
    stored = StoredEntity()
    stored.write(8)
    assert stored.end(5, 9001, closed_through=4).operations == ()


def test_imports_that_are_over_are_stragglers() -> None:
    stored = StoredEntity()
    stored.end(4, 9002, closed_through=3)
    stored.end(9, 9002, closed_through=8)
    assert stored.record is not None
    assert set(stored.record.ended.codes) == {9}
    with pytest.raises(SupersededError):
        stored.codes(4)
    assert stored.codes(10) is None


def test_a_thousand_cancelled_imports_leave_one_mark_while_no_earlier_one_is_open() -> None:
    stored = StoredEntity()
    for number in range(1, 1_001):
        stored.end(number, 9002, closed_through=number - 1)
    assert stored.record is not None
    assert set(stored.record.ended.codes) == {1_000}


def test_marks_are_bounded_while_an_earlier_import_is_open_and_go_when_it_has_ended() -> None:
    stored = StoredEntity()
    first = 10**11
    for number in range(first, first + MOST_ENDED):
        stored.end(number, 9002, closed_through=3)
    assert stored.entity is not None
    assert len(stored.entity.text("Ended")) <= MAX_TEXT
    next_one = first + MOST_ENDED
    with pytest.raises(StorageUnavailableError):
        stored.end(next_one, 9002, closed_through=3)
    assert stored.codes(4) is None, "the open import is healthy"
    stored.end(next_one, 9002, closed_through=next_one - 1)
    assert stored.record is not None
    assert set(stored.record.ended.codes) == {next_one}


def test_an_entity_of_the_first_version_is_read() -> None:
    old = StoredEntity(Entity(*("T|E1", "r|P1"), {"Ended": 7, "Deleted": True}))
    assert old.codes(7) == [9001]
    assert old.codes(6) is None


@dataclass
class OpenImports:
    numbers: Sequence[int]

    async def oldest_open_before(self, record: ImportRecord, type_name: str) -> int | None:
        assert type_name == record.type_name
        return min((each for each in self.numbers if each < record.number), default=None)


@pytest.mark.parametrize(("open_numbers", "expected"), [([], 8), ([4, 6], 3), ([12], 8)])
def test_imports_are_over_up_to_the_oldest_open_one(open_numbers: list[int], expected: int) -> None:
    number = asyncio.run(stamps.closed_through(OpenImports(open_numbers), WORKERS, an_import(9)))
    assert number == expected


def test_a_record_keeps_who_created_it_and_which_imports_ended_there() -> None:
    ended = business_records.EndedImports({5: 9001})
    stored = StoredRecord(
        KEY,
        {"Surname": "Ada"},
        Stamp.from_results(6, 0, []),
        ended,
        created_by=2,
        created_at="then",
    )
    written = stamps.stamped_record(
        KEY, {"Surname": "Eve"}, Stamp.from_results(7, 0, []), stored, "now"
    )
    assert (written.created_by, written.created_at, written.updated_at) == (2, "then", "now")
    assert (written.stamp.number, written.ended) == (7, ended)


def test_an_import_creates_a_record_anew_over_a_tombstone() -> None:
    ended = business_records.EndedImports({5: 9001})
    tombstone = StoredRecord(
        KEY,
        None,
        Stamp.from_results(6, 0, []),
        ended,
        created_by=2,
        created_at="then",
    )
    for stored in (None, tombstone):
        written = stamps.stamped_record(
            KEY, {"Surname": "Eve"}, Stamp.from_results(7, 0, []), stored, "now"
        )
        assert (written.created_by, written.created_at) == (7, "now")
        assert written.ended == (stored.ended if stored else business_records.NOTHING_ENDED)


def test_a_renamed_record_keeps_who_created_it_under_its_old_id() -> None:
    old = StoredRecord(
        RecordKey("acme", "r|E0"), {}, Stamp.from_results(6, 0, []), created_by=2, created_at="then"
    )
    written = stamps.stamped_record(KEY, {}, Stamp.from_results(7, 0, []), None, "now", renamed=old)
    assert (written.key, written.created_by, written.created_at) == (KEY, 2, "then")
