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

from local_host.setup.places import CHECKOUT

SAMPLE = CHECKOUT.root / "tests" / "golden" / "payandbill-workers-v1.request.json"
_POSTCODES = {"WorkerAddress": "EC1A 1BB", "NextOfKinAddress": "M1 1AE", "LastAddress": "B33 8TH"}
_BANK = {"IBAN": "GB82WEST12345698765432", "BIC": "WESTGB2L"}


@dataclass(frozen=True, slots=True)
class Case:
    """The size of a payload: so many rows of so many employers, who come in turn."""

    rows: int
    employers: int

    @property
    def title(self) -> str:
        """Every figure names both."""
        of = "1 employer" if self.employers == 1 else f"{self.employers} employers"
        return f"{self.rows:,} rows, {of}"


def body_of(case: Case, notes: str = "Personnel Notes") -> bytes:
    """The body of a call; other `notes` make every row another one than before."""
    rows = [_row(number, number % case.employers, notes) for number in range(case.rows)]
    return json.dumps(rows, separators=(",", ":")).encode()


def one_row(number: int) -> bytes:
    """The body of a call with one worker whom no other number has."""
    return json.dumps([_row(number, 0, "Personnel Notes")], separators=(",", ":")).encode()


def _row(number: int, employer: int, notes: str) -> Mapping[str, Any]:
    return {
        **_clean_sample(),
        "EmployerRef": f"ER{employer + 1}",
        "PersonnelRef": f"WORKER{number:06d}",
        "ExternalWorkerRef": f"EXT{number:06d}",
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
