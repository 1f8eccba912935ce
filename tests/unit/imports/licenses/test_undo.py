"""What an undo does to the licenses of a company, without storage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared.imports.former_values import FormerRecord, FormerState, FormerValues
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.definition import LICENSES
from shared.imports.licenses.license_set import LicenseSet, StoredLicense, as_tombstone
from shared.imports.licenses.undo import FormerLicenses, LicenseUndo, UndoneRow, read_undone_row
from shared.imports.messages import MessageId
from shared.imports.results import MAX_REMOVED, Outcome, RowResult
from shared.services.undo_rules import has_effect, undo_row
from tests.unit.imports.licenses.company import KEYS, Company, of_employee, of_key, outcomes_of

OVERRIDE, MERGE, REPLACE, DELETE = (
    LicenseAction.OVERRIDE,
    LicenseAction.MERGE,
    LicenseAction.REPLACE,
    LicenseAction.DELETE,
)
CHANGED, NOT_KEPT, OTHER_FAILED = (
    MessageId.CHANGED_SINCE_UNDONE_IMPORT,
    MessageId.FORMER_VALUES_NOT_KEPT,
    3007,
)
NEW, UPDATED, UNCHANGED, FAILED, _ = Outcome


@dataclass
class Ledger(Company):
    """A company whose licenses are stored after each import, with tombstones and former values."""

    stored: dict[Any, StoredLicense] = field(default_factory=dict)
    sent: dict[int, tuple[LicenseAction, list[RowResult]]] = field(default_factory=dict)

    def send(self, action: LicenseAction, *rows: dict[str, Any]) -> list[RowResult]:
        before = {each.key: each for each in self.license_set.all_licenses()}
        results = super().send(action, *rows)
        self._store(before)
        self.sent[self.number] = action, results
        return results

    def _store(self, before: dict[str, StoredLicense]) -> None:
        after = {each.key: each for each in self.license_set.all_licenses()}
        for key, was in before.items():
            now = after.get(key)
            if now is None or now.employee != was.employee:
                self.stored[key, was.employee] = as_tombstone(was, self.number)
        self.stored |= {(each.key, each.employee): each for each in after.values()}
        self.license_set = LicenseSet(self.stored.values())

    def former(self) -> FormerLicenses:
        """What each place keeps."""
        return {
            place: (FormerState.KEPT, each.former)
            if isinstance(each.former, FormerRecord)
            else (each.former.state, None)
            for place, each in self.stored.items()
        }

    def undo(self, number: int, *, retries: Sequence[int] = ()) -> list[RowResult]:
        """The results of the undo of an import, in the order of its rows."""
        action, results = self.sent[number]
        lines = [undo_row(LICENSES, result) for result in results if has_effect(result)]
        rows = [read_undone_row(index, line) for index, line in enumerate(lines)]
        return self.undo_rows(number, action, rows, retries)

    def undo_rows(
        self,
        number: int,
        action: LicenseAction,
        rows: Sequence[UndoneRow],
        retries: Sequence[int] = (),
    ) -> list[RowResult]:
        self.number += 1
        before = {each.key: each for each in self.license_set.all_licenses()}
        work = LicenseUndo(
            undoes=number,
            number=self.number,
            import_id=f"import-{self.number}",
            stored=list(self.stored.values()),
            former=self.former(),
            is_own=(self.number, *retries).__contains__,
            is_replace=action is REPLACE,
            license_set=self.license_set,
        )
        for _ in work.apply(rows):
            pass
        results = sorted(work.results.take(), key=lambda result: result.index)
        self._store(before)
        self.sent[self.number] = action, results
        return results

    def documents(self) -> dict[str, Any]:
        return {each.key: each.document for each in self.license_set.all_licenses()}


def test_created_licenses_go_changed_and_deleted_ones_come_back_and_an_undo_can_be_undone() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("L1", notes="x"))
    first = company.documents()
    company.send(MERGE, of_employee("L1", notes="y"), of_employee("L2"))
    second = company.documents()
    results = company.undo(2)
    assert outcomes_of(results) == [(UPDATED, []), (UPDATED, [])]
    assert [result.removed for result in results] == [(), (results[1].key[-1],)]
    assert company.documents() == first
    assert outcomes_of(company.undo(3)) == [(UPDATED, []), (NEW, [])]
    assert company.documents() == second
    company.send(DELETE, of_employee("L1"))
    assert outcomes_of(company.undo(5)) == [(NEW, [])]
    assert company.documents() == second


def test_a_moved_license_goes_back_to_its_employee() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("L1", "7", licenseKey=KEYS[0]))
    first = company.documents()
    company.send(MERGE, of_key(KEYS[0], employeeNumber="8"), of_key(KEYS[0], employeeNumber="9"))
    assert outcomes_of(company.undo(2)) == [(UPDATED, []), (UPDATED, [])]
    assert company.documents() == first
    company.undo(3)
    assert [each["employeeNumber"] for each in company.documents().values()] == ["9"]


def test_replace_brings_back_what_it_removed_also_beside_a_license_that_it_left_as_it_was() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("L1"), of_employee("L2"), of_employee("L3"))
    first = company.documents()
    [kept] = company.send(REPLACE, of_employee("L1"))
    assert (kept.outcome, len(kept.removed)) == (UNCHANGED, 2)
    company.send(MERGE, of_employee("L1", notes="later"))
    [result] = company.undo(2)
    assert (result.outcome, set(result.restored)) == (UNCHANGED, set(kept.removed))
    assert company.documents().keys() == first.keys()
    [again] = company.undo(4)
    assert set(again.removed) == set(kept.removed)


def test_replace_takes_back_all_licenses_of_an_employee_or_none() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("L1"), of_employee("L2"), of_employee("L1", "8"))
    rows = [of_employee("L1", notes="n"), of_employee("L3"), of_employee("L1", "8", notes="n")]
    company.send(REPLACE, *rows)
    company.send(MERGE, of_employee("L3", notes="later"))
    before = company.documents()
    results = company.undo(2)
    assert outcomes_of(results) == [(FAILED, [OTHER_FAILED]), (FAILED, [CHANGED]), (UPDATED, [])]
    changed = [key for key, document in company.documents().items() if before[key] != document]
    assert changed == [results[2].key[-1]]


def test_a_license_that_a_later_import_changed_or_deleted_stays() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("L1"), of_employee("L2"), of_employee("L3"))
    company.send(MERGE, of_employee("L1", notes="later"))
    company.send(DELETE, of_employee("L2"))
    assert outcomes_of(company.undo(1)) == [(FAILED, [CHANGED]), (FAILED, [CHANGED]), (UPDATED, [])]
    assert len(company.documents()) == 1
    assert outcomes_of(company.undo(1, retries=[4])) == [
        (FAILED, [CHANGED]),
        (FAILED, [CHANGED]),
        (UNCHANGED, [1103]),
    ], "a retry finds what its undo has done"


def test_two_licenses_that_changed_numbers_change_back_together() -> None:
    company = Ledger()
    one, other = of_employee("A", licenseKey=KEYS[0]), of_employee("B", licenseKey=KEYS[1])
    company.send(OVERRIDE, one, other)
    first = company.documents()
    numbers = [(KEYS[0], "C"), (KEYS[1], "A"), (KEYS[0], "B")]
    company.send(MERGE, *(of_key(key, licenseNumber=number) for key, number in numbers))
    second = company.documents()
    assert outcomes_of(company.undo(2)) == [(UPDATED, [])] * 3
    assert company.documents() == first
    company.undo(3)
    assert company.documents() == second
    company.send(MERGE, of_key(KEYS[1], notes="later"))
    stopped = [(FAILED, [CHANGED])] * 3
    assert outcomes_of(company.undo(4)) == stopped, "its number stays with the other license"
    assert company.documents()[KEYS[0]] == second[KEYS[0]]


def test_a_number_that_another_license_has_by_now_is_not_taken_from_it() -> None:
    company = Ledger()
    company.send(OVERRIDE, of_employee("A", licenseKey=KEYS[0]))
    company.send(MERGE, of_key(KEYS[0], licenseNumber="B"))
    company.send(OVERRIDE, of_employee("A", licenseKey=KEYS[1]))
    [result] = company.undo(2)
    assert (result.outcome, result.messages[0].id) == (FAILED, CHANGED)
    assert result.messages[0].field == "licenseNumber"
    assert "by now" in (result.messages[0].detail or "")


def test_former_values_that_are_not_kept_leave_the_license_as_it_is() -> None:
    for state in (FormerState.LOST, FormerState.EXPIRED):
        company = Ledger()
        company.send(OVERRIDE, of_employee("L1"))
        company.send(MERGE, of_employee("L1", notes="n"))
        company.stored = {
            place: replace(each, former=FormerValues(state))
            for place, each in company.stored.items()
        }
        assert outcomes_of(company.undo(2)) == [(FAILED, [NOT_KEPT])]


def test_a_row_whose_result_does_not_name_all_that_it_removed_is_not_undone_in_part() -> None:
    company = Ledger()
    [made] = company.send(OVERRIDE, of_employee("L1"))
    result = replace(made, removed=tuple(f"k{at}" for at in range(MAX_REMOVED + 1)))
    row = read_undone_row(0, undo_row(LICENSES, result))
    [kept] = company.undo_rows(1, REPLACE, [row])
    assert (kept.outcome, kept.messages[0].id) == (FAILED, NOT_KEPT)
    assert len(company.documents()) == 1
