"""Values of an assignment that are taken, but look wrong: Warnings 2002 and 2003 (CONTRACTS 1).

Lists are judged when a row sends them. Of a rate: a type that is neither of the two, fields that
only the other type has, and an expiry before it takes effect. A rate without a type is not judged
by type: the contract does not ask for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

from shared.imports.definition import Document
from shared.imports.faults import as_sent
from shared.imports.fields import MAX_PERCENTAGE
from shared.imports.messages import Message

CONTRADICTION: Final = 2002
IMPLAUSIBLE: Final = 2003

PAY_AND_BILL_FIELDS: Final = (
    "PayRate",
    "BillRate",
    "RateFrequency",
    "BillingGroup",
    "RateEffectiveDate",
    "RateExpiryDate",
)
ADHOC_FIELDS: Final = ("ReceiptOption", "PayAmount", "BillAmount", "PayrollTaxCode")
FOREIGN_FIELDS: Final = {"PayAndBill": ADHOC_FIELDS, "Adhoc": PAY_AND_BILL_FIELDS}
"""By rate type, the fields that only rates of the other type have."""


def implausible(sent: Document) -> Iterator[Message]:
    """A Warning for each thing of the row that looks wrong."""
    for name in ("ExpectedEndDate", "ActualEndDate"):
        yield from _order(sent, "StartDate", name)
    yield from _splits(sent.get("ConsultantSplits") or ())
    for place, rate in enumerate(sent.get("Rates") or ()):
        yield from _rate(rate, f"Rates[{place}].")


def _order(values: Document, first: str, last: str, path: str = "") -> Iterator[Message]:
    begin, end = values.get(first), values.get(last)
    if begin is not None and end is not None and end < begin:
        detail = f"it is before {first}; check both"
        yield Message(CONTRADICTION, path + last, as_sent(end), detail)


def _splits(splits: Sequence[dict[str, Any]]) -> Iterator[Message]:
    if any("Split" not in split for split in splits):
        return  # a part of the sum could not be read
    if splits and sum(Fraction(split["Split"]) for split in splits) != MAX_PERCENTAGE:
        detail = f"they do not add up to {MAX_PERCENTAGE}; correct the shares"
        yield Message(CONTRADICTION, "ConsultantSplits", detail=detail)


def _rate(rate: dict[str, Any], path: str) -> Iterator[Message]:
    kind = rate.get("RateType")
    if kind is not None and kind not in FOREIGN_FIELDS:
        detail = f"{' or '.join(FOREIGN_FIELDS)} is expected"
        yield Message(IMPLAUSIBLE, f"{path}RateType", as_sent(kind), detail)
    for name in FOREIGN_FIELDS.get(kind or "", ()):
        if name in rate:
            detail = f"rates of the type {kind} do not have this field; leave it out"
            yield Message(IMPLAUSIBLE, path + name, as_sent(rate[name]), detail)
    yield from _order(rate, "RateEffectiveDate", "RateExpiryDate", path)
