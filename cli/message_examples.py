"""An example of each message of the catalogue, from the rules themselves where a row is enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.documents.model import FILE_TYPES, Upload, name_fault, type_fault
from shared.imports.import_type import OnExisting, Options, RecordRules
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.rules import read_license
from shared.imports.messages import CATALOGUE, SEND_AGAIN, Message, MessageId
from shared.imports.workers.rules import RULES as WORKERS

Row = dict[str, Any]

_DAY: Final = "2026-01-31"
_WORKER: Final[Row] = {"EmployerRef": "ER1", "PersonnelRef": "W1", "Surname": "Worker"}
_ASSIGNMENT: Final[Row] = {
    "EmployerRef": "ER1", "AssignmentRef": "A1", "ClientRef": "C1", "PersonnelRef": "W1",
    "DivisionRef": "D1", "DepartmentRef": "DP1", "StartDate": "2026-01-01",
    "ExpectedEndDate": None, "ActualEndDate": None,
}  # fmt: skip
_LICENSE: Final[Row] = {"companyCode": "C1", "employeeNumber": "7"}
_KEY: Final = "12345678-1234-1234-1234-12345678901{}"


def examples() -> dict[int, Message]:
    """A message of each id, in the order of the catalogue."""
    found: dict[int, Message] = {}
    for message in (*_from_bad_rows(), *_from_storage()):
        found.setdefault(message.id, message)
    return {id_: found.get(id_) or Message(id_) for id_ in CATALOGUE}


def _from_bad_rows() -> Iterator[Message]:
    """What reading and deciding say of rows that are bad on purpose."""
    yield from WORKERS.read(0, {**_WORKER, "EmployerRef": " "}).messages
    yield from WORKERS.read(0, {**_WORKER, "IsStudent": "yes"}).messages
    yield from WORKERS.read(0, {**_WORKER, "ExternalWorkerRef": "9" * 61}).messages
    bank = {"BankSortCode": "12-34-56"}
    yield from WORKERS.read(0, {**_WORKER, "PrimaryBankDetails": bank}).messages
    yield from _read_license_with(reminder={"offsetDirection": "Soon"})
    yield from WORKERS.read(0, {**_WORKER, "DateOfBirth": "01/05/1980"}).messages
    yield from WORKERS.read(0, {**_WORKER, "Forename1": "Sample"}).messages
    yield from WORKERS.read(0, {**_WORKER, "Gender": 2**40}).messages
    yield from _decide_new(WORKERS, {"StartDate": "2026-02-01", "LeavingDate": _DAY, **_WORKER})
    yield from _decide_new(ASSIGNMENTS, {**_ASSIGNMENT, "HolOverrideWeeks": -1})
    stored = WORKERS.decide(WORKERS.read(0, _WORKER), None, Options()).document
    yield from WORKERS.decide(WORKERS.read(0, _WORKER), stored, Options()).messages
    no_change = Options(on_existing=OnExisting.ERROR)
    yield from WORKERS.decide(WORKERS.read(0, _WORKER), stored, no_change).messages
    assignment = ASSIGNMENTS.read(0, _ASSIGNMENT)
    stored = ASSIGNMENTS.decide(assignment, None, Options()).document
    yield from ASSIGNMENTS.decide(assignment, stored, no_change).messages
    keys = [_KEY.format(digit) for digit in (1, 2)]
    yield from _read_license_with(licenseKey=keys[0], serializableLicenseKey=keys[1])
    yield from _read_license_with(documents=[{"name": "a.pdf", "content": "*"}])
    yield from _read_license_with(employeeNumber=None)


def _decide_new(rules: RecordRules, row: Row) -> Iterable[Message]:
    return rules.decide(rules.read(0, row), None, Options(accepted_on=_DAY)).messages


def _read_license_with(**values: Any) -> Iterable[Message]:
    return read_license(0, {**_LICENSE, **values}, LicenseAction.OVERRIDE).messages


def _from_storage() -> Iterator[Message]:
    """What only storage, a batch or a file brings about."""
    yield Message(
        MessageId.REFERENCE_NOT_FOUND,
        "PersonnelRef",
        "W9",
        "no record of this name is stored with the employer of the row",
    )
    yield Message(MessageId.NO_LICENSE_TO_UPDATE, "licenseKey", _KEY.format(1))
    yield Message(MessageId.NO_LICENSE_TO_DELETE, "licenseKey", _KEY.format(1))
    names: dict[int, str] = {
        MessageId.UNSAFE_FILE_NAME: "../payslip.pdf",
        MessageId.WRONG_FILE_TYPE: "payslip.exe",
    }
    details: dict[int, str | None] = {
        MessageId.UNSAFE_FILE_NAME: name_fault(names[MessageId.UNSAFE_FILE_NAME]),
        MessageId.WRONG_FILE_TYPE: type_fault(names[MessageId.WRONG_FILE_TYPE], FILE_TYPES.keys()),
    }
    for id_ in CATALOGUE:
        if 4000 < id_ < 5000:
            upload = Upload("W1", "2026-01", names.get(id_, "payslip.pdf"), _DAY, 10)
            fault = upload.refused(id_, details.get(id_)).fault
            assert fault is not None
            yield fault
    yield Message(MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=_KEY.format(1)))
