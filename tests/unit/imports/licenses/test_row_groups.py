"""Rows that depend on each other are one group; groups are independent of each other."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.imports.import_type import Document
from shared.imports.json_rows import fold_names
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.license_set import LicenseSet, StoredLicense
from shared.imports.licenses.model import EMPLOYEE_FIELDS, Employee, natural_key
from shared.imports.licenses.row_groups import RowGroup, RowOutline, group_rows, outline_row
from shared.imports.licenses.rules import read_license
from shared.imports.results import RowResult
from tests.unit.imports.licenses.company import (
    FAILED,
    KEYS,
    TENANT,
    Company,
    employee_in,
    import_on,
    of_employee,
    of_key,
)

MERGE, OVERRIDE, REPLACE = LicenseAction.MERGE, LicenseAction.OVERRIDE, LicenseAction.REPLACE
BY_ROW = [action for action in LicenseAction if action is not REPLACE]


def _sketched(rows: list[dict[str, Any]]) -> list[RowOutline]:
    return [outline_row(TENANT, index, 0, 0, fold_names(row)) for index, row in enumerate(rows)]


def _indexes(
    rows: list[dict[str, Any]],
    owners: Mapping[str, Document] | None = None,
    action: LicenseAction = OVERRIDE,
) -> list[list[int]]:
    return [
        [row.index for row in unit.rows]
        for unit in group_rows(_sketched(rows), owners or {}, action)
    ]


def test_rows_of_one_employee_are_a_unit_and_others_are_not() -> None:
    rows = [of_employee("1", "7"), of_employee("1", "8"), of_employee("2", "7")]
    assert _indexes(rows) == [[0, 2], [1]]


def test_rows_of_one_key_are_a_unit() -> None:
    rows = [of_key(KEYS[0]), of_employee("1", "8", licenseKey=KEYS[0]), of_key(KEYS[1])]
    assert _indexes(rows) == [[0, 1], [2]]


def test_a_key_brings_in_the_employee_who_has_it() -> None:
    rows = [of_employee("1", "7"), of_key(KEYS[0])]
    assert _indexes(rows, {KEYS[0]: {"employeeNumber": "7"}}) == [[0, 1]]
    assert _indexes(rows, {KEYS[1]: {"employeeNumber": "7"}}) == [[0], [1]]


def test_a_key_that_a_row_would_make_joins_a_row_that_gives_it() -> None:
    [new_key] = [each.generated_key for each in _sketched([of_employee("1")])]
    assert new_key is not None
    assert _indexes([of_employee("1"), of_employee("1", "8", licenseKey=new_key)]) == [[0, 1]]


def test_a_merging_row_joins_the_group_of_the_resulting_employee() -> None:
    owners = {KEYS[0]: {"divisionCode": "D1", "employeeNumber": "7", "employeePersonalId": 5}}
    there = of_employee("1", "8", divisionCode="D1")
    for row in (
        of_key(KEYS[0], employeeNumber="8"),
        of_key(KEYS[0], divisionCode="D1", employeeNumber="8"),
    ):
        assert _indexes([there, row], owners, MERGE) == [[0, 1]]
    by_id = of_employee("1", None, divisionCode="D1", employeePersonalId=5)
    assert _indexes([by_id, of_key(KEYS[0], employeeNumber=None)], owners, MERGE) == [[0, 1]]
    moved = of_employee("1", "7", divisionCode="D2")
    for action in (MERGE, OVERRIDE):
        assert _indexes([moved, of_key(KEYS[0], divisionCode="D2")], owners, action) == [[0, 1]]


def test_bad_rows_are_with_the_rows_of_their_employee() -> None:
    rows = [of_employee("1"), of_employee("2", notes=5), of_employee("3", licenseTypeCode=5)]
    assert _indexes(rows) == [[0, 1, 2]]


def test_rows_without_employee_and_key_are_groups_of_their_own() -> None:
    assert _indexes([{"companyCode": "C1"}, {"companyCode": "C1"}]) == [[0], [1]]


def test_each_row_is_in_one_unit_in_the_order_it_was_sent() -> None:
    rows = [of_employee(str(at), str(at % 3), licenseKey=KEYS[at % 2]) for at in range(12)]
    assert _indexes(rows) == [[*range(12)]]


def some_of(**fields: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows with some of the fields."""
    optional = {name: st.sampled_from(values) for name, values in fields.items()}
    return st.fixed_dictionaries({"companyCode": st.just("C1")}, optional=optional)


whose = {"divisionCode": ["D1", None], "employeeNumber": ["7", "8", None]}
anything = some_of(
    **whose,
    employeePersonalId=[5, 6, None],
    licenseNumber=["L1", "L2", None],
    licenseKey=[*KEYS[:3], "<empty>", "no key"],
    serializableLicenseKey=KEYS[:2],
    notes=["x", "y", None, 5],
    issuedDate=["2020-01-01", "no date"],
    documents=[[], [{"name": "a", "content": "QQ=="}], [{"name": "a", "content": "Qg=="}]],
)
moving = st.tuples(some_of(**whose, employeePersonalId=[5, None]), st.sampled_from(KEYS[:2])).map(
    lambda pair: pair[0] | {"licenseKey": pair[1]}
)
settled = st.builds(
    lambda division, employee: of_employee("", employee, divisionCode=division),
    st.sampled_from(["D1", None]),
    st.sampled_from(["7", "8"]),
).map(lambda row: row | {"licenseTypeCode": None})
identities = st.one_of(anything, moving, settled)
rows_of_imports = st.lists(identities, max_size=7)


@st.composite
def payloads(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows, some of which give the key that the gateway makes for another one."""
    rows: list[dict[str, Any]] = draw(rows_of_imports)
    generated_keys = [
        each.generated_key for each in _sketched(rows) if each.generated_key is not None
    ]
    gives_one: bool = draw(st.booleans())
    if generated_keys and gives_one:
        moved = draw(identities) | {"licenseKey": draw(st.sampled_from(generated_keys))}
        rows.insert(draw(st.integers(0, len(rows))), moved)
    return rows


# The last row would move the license of the second to the employee of the first.
MOVED_BY_AN_UNREADABLE_ROW: list[dict[str, Any]] = [
    of_employee("", "8", divisionCode="D1", licenseTypeCode=None),
    of_key(KEYS[1], divisionCode="D1"),
    of_key(KEYS[1], divisionCode=None, employeeNumber="8", issuedDate="no date"),
]


def _by_units(
    action: LicenseAction, number: int, rows: list[dict[str, Any]], stored: list[StoredLicense]
) -> tuple[dict[str, Document], list[RowResult]]:
    """What the import leaves and says when its units know of nothing but their own licenses."""
    sketches = _sketched(rows)
    keys = {each.key for each in sketches}
    owners = {each.key: _whose(each) for each in stored if each.key in keys}
    also: dict[int, set[Employee]] = {}
    while True:
        stored_after, results, needed_employees = _one_round(
            action, number, rows, stored, owners, also
        )
        if not needed_employees:
            return stored_after, results
        for index, employee in needed_employees.items():
            assert employee not in also.get(index, set()), "a look further did not help"
            also.setdefault(index, set()).add(employee)


def _one_round(
    action: LicenseAction,
    number: int,
    rows: list[dict[str, Any]],
    stored: list[StoredLicense],
    owners: Mapping[str, Document],
    also: Mapping[int, Set[Employee]],
) -> tuple[dict[str, Document], list[RowResult], dict[int, Employee]]:
    stored_after = {each.key: each.document or {} for each in stored}
    results: list[RowResult] = []
    needed_employees: dict[int, Employee] = {}
    for unit in group_rows(_sketched(rows), owners, action, also):
        mine = _held_by(unit, stored)
        license_set = LicenseSet(mine, [each.key for each in stored], (), unit.employees)
        work = import_on(license_set, action, number)
        read = [read_license(each.index, rows[each.index], action) for each in unit.rows]
        for _ in work.apply(read, lambda row: employee_in(rows[row.index])):
            pass
        results += work.results.take()
        needed_employees |= work.needed_employees
        for each in mine:
            del stored_after[each.key]
        after = {each.key: each.document or {} for each in license_set.all_licenses()}
        assert not stored_after.keys() & after.keys(), "two licenses with one key"
        stored_after |= after
    return stored_after, sorted(results, key=lambda result: result.index), needed_employees


def _held_by(unit: RowGroup, stored: list[StoredLicense]) -> list[StoredLicense]:
    """All licenses of the employees of the group, and those of which its rows give the keys."""
    keys = {row.key for row in unit.rows}
    return [
        each
        for each in stored
        if each.employee in unit.employees or (not each.employee.is_named and each.key in keys)
    ]


def _whose(stored: StoredLicense) -> Document:
    document = stored.document or {}
    return {name: document[name] for name in EMPLOYEE_FIELDS if name in document}


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(BY_ROW), payloads()), min_size=1, max_size=3))
@example([(MERGE, MOVED_BY_AN_UNREADABLE_ROW)])
def test_unit_by_unit_is_the_same_as_one_after_another(
    imports: list[tuple[LicenseAction, list[dict[str, Any]]]],
) -> None:
    company = Company()
    for action, rows in imports:
        stored = company.license_set.all_licenses()
        expected = company.send(action, *rows)
        stored_after, results = _by_units(action, company.number, rows, stored)
        licenses = {each.key: each.document or {} for each in company.license_set.all_licenses()}
        assert results == expected
        assert stored_after == licenses
        _check_natural_keys(stored_after)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(list(LicenseAction)), payloads()), max_size=4))
def test_no_two_licenses_ever_have_one_natural_key(
    imports: list[tuple[LicenseAction, list[dict[str, Any]]]],
) -> None:
    stored: list[StoredLicense] = []
    for number, (action, rows) in enumerate(imports, 1):
        stored_after, results = _by_units(action, number, rows, stored)
        assert [result.index for result in results] == [*range(len(rows))]
        _check_natural_keys(stored_after)
        license_set = LicenseSet()
        for key, document in stored_after.items():
            license_set.put(key, document, number)
        stored = license_set.all_licenses()


def _check_natural_keys(licenses: Mapping[str, Document]) -> None:
    natural_keys = [natural_key(document) for document in licenses.values()]
    named = [each for each in natural_keys if each is not None]
    assert len(set(named)) == len(named)
    assert all(document["licenseKey"] == key for key, document in licenses.items())


@settings(deadline=None, max_examples=100)
@given(payloads(), payloads())
def test_replaced_employees_have_what_the_payload_says_and_nothing_else(
    before: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    company = Company()
    company.send(OVERRIDE, *before)
    named = {employee_in(row) for row in rows if employee_in(row).is_named}
    results = company.send(REPLACE, *rows)
    reported_keys = {result.key[-1] for result in results}
    for employee in named:
        mine = {results[at].outcome for at, row in enumerate(rows) if employee_in(row) == employee}
        stored_keys = {each.key for each in company.license_set.find_by_employee(employee)}
        assert mine == {FAILED} or (FAILED not in mine and stored_keys <= reported_keys)
