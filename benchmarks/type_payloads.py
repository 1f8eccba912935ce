"""What the bench `types` sends: the vendors' sample rows under keys of their own.

Rows of all types go over ten employers or companies, which come in turn. Licenses are without
documents, since each would be a blob and nothing else would be seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.payloads import Case, body_of
from local_host.setup.paths import ROOT
from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.licenses.definition import LICENSES
from shared.imports.workers.definition import WORKERS

_GOLDEN = ROOT / "tests" / "golden"
_GROUPS = 10
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Sending:
    """A body, where it goes and what it is; `name` is what the figures call it."""

    name: str
    address: str
    media_type: str
    body: bytes


def sendings(rows: int) -> list[Sending]:
    """Each type's first load, in an order in which references are there."""
    return [
        Sending("workers", WORKERS.address, _JSON, body_of(Case(rows, _GROUPS, False))),
        Sending("assignments", ASSIGNMENTS.address, _JSON, _assignments(rows)),
        Sending("licenses JSON", LICENSES.address, _JSON, _licenses_json(rows)),
        Sending("licenses XML", LICENSES.address, "application/xml", _licenses_xml(rows)),
    ]


def _assignments(rows: int) -> bytes:
    [sample] = json.loads((_GOLDEN / "payandbill-assignments-v1.request.json").read_text("utf-8"))

    def row(number: int) -> Mapping[str, Any]:
        named = {"AssignmentRef": f"A{number:06d}", "PersonnelRef": f"WORKER{number:06d}"}
        return {**sample, "EmployerRef": f"ER{number % _GROUPS + 1}", **named}

    return _as_json(row, rows)


def _licenses_json(rows: int) -> bytes:
    sample = json.loads((_GOLDEN / "viventium-licenses.request.json").read_text("utf-8"))[0]
    for name in ("documents", "licenseKey", "serializableLicenseKey"):
        del sample[name]

    def row(number: int) -> Mapping[str, Any]:
        named = {"companyCode": f"J{number % _GROUPS}", "employeeNumber": f"{number:06d}"}
        return {**sample, **named}

    return _as_json(row, rows)


def _licenses_xml(rows: int) -> bytes:
    text = (_GOLDEN / "viventium-licenses.request.xml").read_text("utf-8")
    opening, sample = re.split(r"(?=<EmployeeLicenseImportDTO>)", text)[:2]
    for name in ("Documents", "LicenseKey", "SerializableLicenseKey"):
        sample = re.sub(rf"<{name}\b.*?</{name}>", "", sample, flags=re.DOTALL)
    parts = [opening]
    for number in range(rows):
        company = re.sub("(<CompanyCode>).*?<", rf"\g<1>X{number % _GROUPS}<", sample)
        parts.append(re.sub("(<EmployeeNumber>).*?<", rf"\g<1>{number:06d}<", company))
    return ("".join(parts) + "</ArrayOfEmployeeLicenseImportDTO>").encode()


def _as_json(row: Callable[[int], Mapping[str, Any]], rows: int) -> bytes:
    return json.dumps([row(number) for number in range(rows)], separators=(",", ":")).encode()
