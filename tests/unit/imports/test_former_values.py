"""Former values: applied to the present document they make the former one, byte for byte."""

from __future__ import annotations

import asyncio
import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import UnreadableDataError
from shared.imports.assignments.rules import RULES as ASSIGNMENT_RULES
from shared.imports.authdata.model import Employee
from shared.imports.former_values import (
    LOST_FORMER,
    MAX_INLINE,
    NOTHING_FORMER,
    FormerRecord,
    FormerState,
    FormerValues,
    pack_former,
    previous_fields,
    unpack_former,
)
from shared.imports.import_type import Document, Options, RecordRules
from shared.imports.licenses import model as license_model
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.store import (
    LicenseWriter,
    license_from_entity,
    license_row,
    operations_of,
)
from shared.imports.workers.rules import RULES as WORKER_RULES
from shared.services.stamps import stamped_record
from shared.storage import business_records
from shared.storage.business_records import (
    RecordKey,
    RecordTooLargeError,
    Stamp,
    StoredRecord,
    from_entity,
    writing,
)
from shared.storage.former_columns import Spilled, former_values, keep_spilled
from shared.storage.names import IMPORT_RESULT_BLOBS
from shared.storage.ports import MAX_ENTITY_BYTES, Delete, Entity
from tests.unit.imports.builders import a_worker, good_rows

KEY = RecordKey("T|E1", "r|P1")
CREATED = (1, "import-1", "t1")
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | any_text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text, inner, max_size=2),
    max_leaves=4,
)
documents = st.lists(st.tuples(st.sampled_from("abcdefgh"), values), max_size=8).map(dict)
good_workers = good_rows(WORKER_RULES.json_schema()).map(lambda fields: a_worker(**fields))
good_assignments = good_rows(ASSIGNMENT_RULES.json_schema())


class KeptBlobs:
    """The blobs that were put."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def put(
        self,
        container: str,
        name: str,
        parts: Iterable[bytes],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.kept[container, name] = b"".join(parts)

    async def read(
        self, container: str, name: str, start: int = 0, length: int | None = None
    ) -> bytes | None:
        data = self.kept.get((container, name))
        return None if data is None else data[start : None if length is None else start + length]

    async def touch(self, container: str, name: str) -> bool:
        return (container, name) in self.kept

    async def delete(self, container: str, name: str) -> None:
        self.kept.pop((container, name), None)


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def a_former(document: Document, number: int = 1) -> FormerRecord:
    return FormerRecord(document, number, f"import-{number}", f"t{number}", *CREATED)


def written(number: int, document: Document | None, before: StoredRecord | None) -> StoredRecord:
    """What is read back of a record that an import has written."""
    stamp = Stamp.from_results(number, 0, [], f"import-{number}")
    if document is None:
        assert before is not None
        former = before.before_import(number)
        record = StoredRecord(KEY, None, stamp, updated_at=f"t{number}", former=former)
    else:
        record = stamped_record(KEY, document, stamp, before, f"t{number}")
    [operation] = writing(record, before)
    return from_entity(replace(operation.entity, etag="e"))


def former_of(stored: StoredRecord | StoredLicense) -> FormerRecord:
    assert isinstance(stored.former, FormerValues)
    assert stored.former.state is FormerState.KEPT
    return unpack_former(stored.former, b"", stored.document, stored.created)


@settings(deadline=None, max_examples=300)
@given(documents, documents, st.booleans())
def test_former_values_restore_any_document(
    former: Document, present: Document, is_deleted: bool
) -> None:
    now = None if is_deleted else present
    packed = pack_former(a_former(former), now, CREATED)
    unpacked = unpack_former(packed, b"", now, CREATED)
    assert text(unpacked.document) == text(former)
    assert replace(unpacked, document=former) == a_former(former)
    shown = previous_fields(former, present)
    restored = {**present, **shown}
    assert {name: value for name, value in restored.items() if value is not None} == {
        name: value for name, value in former.items() if value is not None
    }


@pytest.mark.parametrize(
    ("rules", "rows"), [(WORKER_RULES, good_workers), (ASSIGNMENT_RULES, good_assignments)]
)
def test_former_values_restore_a_merged_record(
    rules: RecordRules, rows: st.SearchStrategy[dict[str, Any]]
) -> None:
    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.tuples(rows, st.booleans()), min_size=2, max_size=4))
    def check(sent: list[tuple[dict[str, Any], bool]]) -> None:
        stored: StoredRecord | None = None
        before: StoredRecord | None = None
        number = 0
        for row, is_other_import in sent:
            if is_other_import or not number:
                number, before = number + 1, stored
            document = None if stored is None else stored.document
            decision = rules.decide(rules.read(0, row), document, Options())
            if decision.document is None:
                continue
            stored = written(number, decision.document, stored)
            assert (stored.stamp.import_id, stored.updated_at) == (f"import-{number}", f"t{number}")
            if before is None:
                assert stored.former == NOTHING_FORMER
                continue
            former = former_of(stored)
            assert text(former.document) == text(before.document)
            assert former.number == before.stamp.number
            assert former.import_id == before.stamp.import_id
            assert former.created_import_id == before.created_import_id

    check()


ids = st.sampled_from(["A", "B"])
triples = st.tuples(*[st.none() | st.sampled_from(["x", "y"])] * 3)
employees = st.builds(Employee, ids, st.none() | any_text, st.just("key"), triples)


@settings(deadline=None, max_examples=100)
@given(employees, employees)
def test_former_values_restore_an_employee_who_has_another_id(old: Employee, new: Employee) -> None:
    holder = written(3, old.document(), None)
    renamed = stamped_record(
        KEY, new.document(), Stamp.from_results(4, 0, [], "import-4"), None, "t4", renamed=holder
    )
    [operation] = writing(renamed, None)
    stored = from_entity(operation.entity)
    assert text(former_of(stored).document) == text(old.document())
    assert stored.created == (3, "import-3", "t3")
    tombstone = written(4, None, holder)
    assert text(former_of(tombstone).document) == text(old.document())
    assert former_of(tombstone).created_import_id == "import-3", "it keeps its creator"
    taken_again = written(4, new.document(), tombstone)
    assert text(former_of(taken_again).document) == text(old.document())
    assert taken_again.created_import_id == "import-4"


keys = st.sampled_from(["k1", "k2"])
licenses = st.fixed_dictionaries(
    {"employeeNumber": st.sampled_from(["7", "8"])},
    optional={"notes": any_text, "licenseNumber": st.sampled_from(["A", "B"])},
)
steps = st.tuples(keys, st.none() | licenses, st.sampled_from(["go on", "commit", "read anew"]))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(steps, max_size=5), min_size=1, max_size=4))
def test_a_license_keeps_what_it_was_before_an_import_of_several_transactions(
    imports: list[list[tuple[str, Document | None, str]]],
) -> None:
    stored: dict[str, Entity] = {}
    for number, changes in enumerate(imports, 1):
        before = dict(stored)
        company = _company(stored)
        for key, document, then in changes:
            if document is not None:
                company.put(key, document, number)
            elif company.find_by_key(key) is not None:
                company.remove(key, number)
            if then != "go on":
                _commit(company, number, stored)
            if then == "read anew":
                company = _company(stored)
        _commit(company, number, stored)
        for row, entity in stored.items():
            if row.startswith("r|") and entity.number("Number") == number:
                _check_license(entity, before, stored)


def _company(stored: dict[str, Entity]) -> LicenseSet:
    licenses = [
        license_from_entity(entity) for row, entity in stored.items() if row.startswith("r|")
    ]
    return LicenseSet(licenses)


def _commit(company: LicenseSet, number: int, stored: dict[str, Entity]) -> None:
    writer = LicenseWriter(number, f"import-{number}", f"t{number}")
    for change in company.changes():
        for operation in operations_of("T|C1", change, writer):
            stored[operation.entity.row] = operation.entity
    company.mark_stored()


def _check_license(entity: Entity, before: dict[str, Entity], stored: dict[str, Entity]) -> None:
    """`before` are the entities before the import: those of the license, in any place."""
    license_ = license_from_entity(entity)
    own = [
        license_from_entity(each)
        for row, each in before.items()
        if row.endswith(license_.key) and row.startswith("r|")
    ]
    was = next((each for each in own if each.document is not None), None)
    assert isinstance(license_.former, FormerValues)
    if license_.former.state is FormerState.NONE:
        if was is not None and license_.document is not None:
            tombstone = license_from_entity(stored[license_row(was.employee, was.key)])
            assert (tombstone.document, tombstone.number) == (None, license_.number), (
                "it was removed before"
            )
        return
    assert was is not None
    assert text(former_of(license_).document) == text(was.document)
    assert former_of(license_).import_id == was.import_id


def test_a_license_that_an_import_removes_and_brings_back_keeps_what_it_was() -> None:
    first = {"employeeNumber": "7", "notes": "first"}
    company = LicenseSet([StoredLicense("k1", EMPLOYEE, first, 1, import_id="import-1")])
    company.remove("k1", 2)
    company.mark_stored()
    company.put("k1", first | {"notes": "second"}, 2)
    [change] = company.changes()
    assert change.after is not None
    assert isinstance(change.after.former, FormerRecord)
    assert change.after.former.document == first


EMPLOYEE = license_model.Employee(number="7")
LONG = {f"Field{number}": f"{number:x}" * 3_000 for number in range(1, 90)}


def random_text(size: int, seed: int = 0) -> str:
    """Text that hardly compresses."""
    digests = (hashlib.sha256(f"{seed} {at}".encode()).hexdigest() for at in range(size // 64 + 1))
    return "".join(digests)[:size]


def test_long_former_values_are_compressed_and_lie_in_the_record() -> None:
    before = written(1, LONG, None)
    stored = written(2, {"Field1": "short"}, before)
    assert isinstance(stored.former, FormerValues)
    assert 0 < len(stored.former.data) <= MAX_INLINE
    assert former_of(stored).document == LONG


def test_former_values_that_are_too_long_lie_in_a_blob() -> None:
    async def scenario() -> None:
        long = {"Notes": random_text(40_000), "Other": "x"}
        before = written(1, long, None)
        record = stamped_record(
            KEY, {"Other": "y"}, Stamp.from_results(2, 0, [], "i2"), before, "t2"
        )
        spilled: Spilled = {}
        operations = writing(record, before, spilled)
        assert from_entity(operations[0].entity).former == FormerValues(FormerState.LOST, 1)
        beside = Entity(KEY.partition, "x|beside", {})

        blobs = KeptBlobs()
        kept, other = await keep_spilled(blobs, "i2", [*operations, Delete(beside)], spilled)
        stored = from_entity(kept.entity)
        assert other == Delete(beside)
        [(container, name)] = blobs.kept
        assert (container, name.startswith("i2/former-")) == (IMPORT_RESULT_BLOBS, True)
        assert isinstance(stored.former, FormerValues)
        state, former = await former_values(blobs, stored)
        assert state is FormerState.KEPT
        assert former is not None
        assert text(former.document) == text(long)
        assert (former.number, former.created_import_id) == (1, "import-1")

        # The import writes the record again: the blob is carried along, unread.
        again = written(2, {"Other": "z"}, stored)
        assert again.former == stored.former
        # A straggler with other values writes a blob of another name.
        await keep_spilled(blobs, "i2", operations, {KEY.row: b"other"})
        assert len(blobs.kept) == 2

        await blobs.delete(container, name)
        assert await former_values(blobs, stored) == (FormerState.EXPIRED, None)

    asyncio.run(scenario())


def test_a_record_that_fits_only_without_its_former_values_is_written_without_them() -> None:
    before = written(1, {"Notes": random_text(3_000)}, None)

    def is_taken(length: int) -> bool:
        try:
            written(2, {"Notes": "y" * length}, before)
        except RecordTooLargeError:
            return False
        return True

    most = bisect_left(range(MAX_ENTITY_BYTES), True, key=lambda length: not is_taken(length)) - 1
    largest = written(2, {"Notes": "y" * most}, before)
    assert largest.former == FormerValues(FormerState.LOST, 1)
    assert largest.document == {"Notes": "y" * most}
    assert not is_taken(most + 1)
    smaller = written(2, {"Notes": "y" * (most - 4_000)}, before)
    assert former_of(smaller).document == before.document


def _entity_of(record: StoredRecord) -> Entity:
    [operation] = writing(record, None)
    return operation.entity


def test_an_ended_import_leaves_former_values_alone() -> None:
    stored = written(2, {"Notes": "b"}, written(1, {"Notes": "a"}, None))
    ended = business_records.EndedImports({3: 9001})
    operation = business_records.ending(KEY, stored, ended)
    assert not {name for name in operation.entity.values if name.startswith("Previous")}


@pytest.mark.parametrize(
    "columns",
    [
        {"Previous": "no JSON"},
        {"Previous": b"not compressed"},
        {"Previous": "{}"},
        {"Previous": '{"import":"i","at":"t","document":5}'},
        {"PreviousBlob": "name"},
        {"PreviousNumber": "x"},
        {},
    ],
)
def test_former_values_that_cannot_be_read_are_lost_and_the_record_is_not(
    columns: dict[str, Any],
) -> None:
    async def scenario() -> None:
        record = written(2, {"Notes": "b"}, written(1, {"Notes": "a"}, None))
        entity = _entity_of(record)
        values = {name: value for name, value in entity.values.items() if name != "Previous"}
        stored = from_entity(replace(entity, values={**values, **columns}))
        assert stored.document == {"Notes": "b"}
        assert isinstance(stored.former, FormerValues)
        assert await former_values(KeptBlobs(), stored) == (FormerState.LOST, None)
        if stored.former.state is FormerState.KEPT:
            with pytest.raises(UnreadableDataError):
                unpack_former(stored.former, b"", stored.document, stored.created)
        again = written(2, {"Notes": "c"}, stored)
        assert isinstance(again.former, FormerValues)
        assert again.former.state is FormerState.LOST

    asyncio.run(scenario())


def test_a_record_of_an_earlier_version_has_lost_them() -> None:
    entity = _entity_of(written(1, {"Notes": "a"}, None))
    values = {name: value for name, value in entity.values.items() if name != "ChangedBy"}
    assert from_entity(replace(entity, values=values)).former == LOST_FORMER
