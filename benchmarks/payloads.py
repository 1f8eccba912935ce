"""What is sent: bodies of workers.

A row is the worker of the vendor's sample, 3.4 KB, under a key and an external reference of its
own. A few of the sample's values look wrong on purpose and would bring eleven warnings per row;
they are replaced by plausible ones, so that rows are clean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from local_host.setup.paths import ROOT

SAMPLE = ROOT / "tests" / "golden" / "payandbill-workers-v1.request.json"
_POSTCODES = {"WorkerAddress": "EC1A 1BB", "NextOfKinAddress": "M1 1AE", "LastAddress": "B33 8TH"}
_NOTES = "Personnel Notes"
_SHORT = (
    "EmployerRef",
    "PersonnelRef",
    "ExternalWorkerRef",
    "Surname",
    "FirstForename",
    "Title",
    "WorkerAddress",
    "Gender",
    "DateOfBirth",
    "StartDate",
    "PrimaryEmailAddress",
)
_BANK = {"IBAN": "GB82WEST12345698765432", "BIC": "WESTGB2L"}


@dataclass(frozen=True, slots=True)
class Case:
    """A payload: so many rows of so many employers, who come in turn.

    Without look-ups the external reference of a row is the worker's own, and nothing is stored
    beside the worker. Short rows have the fields of `_SHORT` only.
    """

    rows: int
    employers: int
    has_lookups: bool = True
    is_short: bool = False

    @property
    def title(self) -> str:
        """For people who wait; every figure names the employers."""
        of = "1 employer" if self.employers == 1 else f"{self.employers} employers"
        rows = f"{self.rows:,} {'short ' if self.is_short else ''}rows"
        return f"{rows} of {of}, with{'' if self.has_lookups else 'out'} look-ups"


def body_of(case: Case, notes: str = _NOTES) -> bytes:
    """The body of a call; other `notes` make every row another one than before."""
    rows = [
        _row(number, number % case.employers, has_lookup=case.has_lookups, notes=notes)
        for number in range(case.rows)
    ]
    if case.is_short:
        rows = [{name: row[name] for name in _SHORT} for row in rows]
    return json.dumps(rows, separators=(",", ":")).encode()


def one_row(number: int) -> bytes:
    """The body of a call with one worker whom no other number has."""
    return json.dumps([_row(number, 0)], separators=(",", ":")).encode()


def _row(
    number: int, employer: int, *, has_lookup: bool = True, notes: str = _NOTES
) -> Mapping[str, Any]:
    reference = f"WORKER{number:06d}"
    return {
        **_clean_sample(),
        "EmployerRef": f"ER{employer + 1}",
        "PersonnelRef": reference,
        "ExternalWorkerRef": f"EXT{number:06d}" if has_lookup else reference,
        "PersonnelNotes": notes,
    }


@cache
def _clean_sample() -> Mapping[str, Any]:
    [row] = json.loads(SAMPLE.read_text("utf-8"))
    for name, postcode in _POSTCODES.items():
        row[name]["Postcode"] = postcode
    for name in ("PrimaryBankDetails", "SecondaryBankDetails"):
        row[name].update(_BANK)
    row["UKPayrollDetails"]["NINumber"] = "AB123456C"
    row["LeavingDate"] = "2022-01-01T00:00:00"
    return dict(row)
