"""The rules of the workers import (docs/contracts.md#1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from shared.imports.import_type import Document, FoundBy, ListedValue
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message, MessageId
from shared.imports.row_reader import as_sent
from shared.imports.workers.definition import EXTERNAL, PERSONNEL
from shared.imports.workers.meanings import MEANINGS
from shared.imports.workers.model import Worker

# Implausible values of a worker: Warning 2003 (docs/contracts.md#1).
#
# Only the values that a row sends are checked. The pay authorities allow more than any pattern, so
# nothing here fails a row. Messages never show secret and identity values.

MAX_COUNTRY: Final = 100

ADDRESSES: Final = ("WorkerAddress", "NextOfKinAddress", "LastAddress")
BANK_DETAILS: Final = ("PrimaryBankDetails", "SecondaryBankDetails")
EMAILS: Final = ("PrimaryEmailAddress", "SecondaryEmailAddress")

_UK: Final = frozenset(
    (
        "uk",
        "gb",
        "gbr",
        "united kingdom",
        "great britain",
        "england",
        "scotland",
        "wales",
        "northern ireland",
    )
)
_POSTCODE = re.compile(r"GIR ?0AA|[A-Z]{1,2}[0-9][A-Z0-9]? ?[0-9][ABD-HJLNP-UW-Z]{2}")
_NI_NUMBER = re.compile(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][0-9]{6}")
_NI_PREFIXES_NOT_USED: Final = frozenset(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"))
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def find_implausible(values: Document) -> Iterator[Message]:
    """A Warning for each implausible value of the row."""
    for name in EMAILS:
        email = values.get(name)
        if email is not None and not _EMAIL.fullmatch(email):
            yield Message(
                MessageId.IMPLAUSIBLE_VALUE,
                name,
                as_sent(email),
                "an e-mail address has one @ between two parts",
            )
    for name in ADDRESSES:
        yield from _check_address(name, values.get(name) or {})
    for name in BANK_DETAILS:
        yield from _check_bank_details(name, values.get(name) or {})
    payroll = values.get("UKPayrollDetails") or {}
    yield from _check_ni_number("UKPayrollDetails.NINumber", payroll.get("NINumber"))


def _check_address(name: str, address: dict[str, Any]) -> Iterator[Message]:
    country, postcode = address.get("Country"), address.get("Postcode")
    if country is not None:
        if len(country) > MAX_COUNTRY:
            yield _country_warning(name, country, f"at most {MAX_COUNTRY} characters are usual")
        if "?" in country or "*" in country:
            yield _country_warning(
                name, country, "names of countries have no question mark and no asterisk"
            )
    if postcode is not None and is_british(country) and not is_postcode(postcode):
        detail = (
            "postcodes of the United Kingdom have the form AA9A 9AA; correct it, or the country"
        )
        yield Message(MessageId.IMPLAUSIBLE_VALUE, f"{name}.Postcode", as_sent(postcode), detail)


def _country_warning(name: str, country: str, detail: str) -> Message:
    return Message(MessageId.IMPLAUSIBLE_VALUE, f"{name}.Country", as_sent(country), detail)


def _check_bank_details(name: str, details: dict[str, Any]) -> Iterator[Message]:
    iban, bic = details.get("IBAN"), details.get("BIC")
    if iban is not None and not is_iban(iban):
        yield Message(
            MessageId.IMPLAUSIBLE_VALUE,
            f"{name}.IBAN",
            detail="its form or its check digits are wrong; compare it with its source",
        )
    if bic is not None and not _BIC.fullmatch(_compact(bic)):
        yield Message(
            MessageId.IMPLAUSIBLE_VALUE,
            f"{name}.BIC",
            detail="8 or 11 letters and digits are usual",
        )


def _check_ni_number(path: str, number: str | None) -> Iterator[Message]:
    compact = _compact(number or "")
    if not compact:
        return
    body, suffix = compact[:8], compact[8:]
    if not _NI_NUMBER.fullmatch(body) or body[:2] in _NI_PREFIXES_NOT_USED:
        yield Message(
            MessageId.IMPLAUSIBLE_VALUE,
            path,
            detail="two letters, six digits and a letter are usual",
        )
    elif not suffix:
        yield Message(MessageId.IMPLAUSIBLE_VALUE, path, detail="the letter at the end is missing")
    elif suffix not in ("A", "B", "C", "D"):
        yield Message(
            MessageId.IMPLAUSIBLE_VALUE, path, detail="the letter at the end is none of A to D"
        )


def is_british(country: str | None) -> bool:
    """Whether an address with this country, or without one, counts as being in the UK."""
    return country is None or country.strip().lower().replace(".", "") in _UK


def is_postcode(text: str) -> bool:
    """Whether the text has the form of a UK postcode, in any case."""
    return _POSTCODE.fullmatch(text.strip().upper()) is not None


def is_iban(text: str) -> bool:
    """Whether form and check digits are valid (ISO 13616: the remainder by 97 is 1)."""
    compact = _compact(text)
    if not _IBAN.fullmatch(compact):
        return False
    digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


def _compact(text: str) -> str:
    return text.replace(" ", "").upper()


# Columns for searching, and for finding the worker of a document.
COLUMNS: Final = (
    "EmployerRef",
    "PersonnelRef",
    "Surname",
    "FirstForename",
    "ExternalWorkerRef",
)
# Fields whose values must be in the tenant's reference lists; see `listed` for sort codes.
LISTED_FIELDS: Final = (
    "DivisionRef",
    "DepartmentRef",
    "JobCategoryRef",
    "CurrencyRef",
    "ConsultantRef",
)
ACCOUNTS: Final = {
    "PrimaryPayMethod": "PrimaryBankDetails",
    "SecondaryPayMethod": "SecondaryBankDetails",
}


def _review(sent: Document, merged: Document) -> Iterator[Message]:
    if "LeavingDate" in sent or "StartDate" in sent:
        start, leaving = merged.get("StartDate"), merged.get("LeavingDate")
        if start is not None and leaving is not None and leaving < start:
            detail = "it is before StartDate; check both"
            yield Message(MessageId.VALUES_DISAGREE, "LeavingDate", as_sent(leaving), detail)
    yield from find_implausible(sent)


def lookups(document: Document) -> tuple[str, ...]:
    """The external reference, where it differs from the worker's own."""
    external = document.get("ExternalWorkerRef")
    return () if external is None or external == document["PersonnelRef"] else (external,)


def found_by(document: Document) -> tuple[FoundBy, ...]:
    """The names by which a document may refer to the worker (docs/contracts.md#4)."""
    external = document.get("ExternalWorkerRef")
    by_personnel = FoundBy(PERSONNEL, document["PersonnelRef"])
    return (by_personnel,) if external is None else (by_personnel, FoundBy(EXTERNAL, external))


def listed(document: Document) -> tuple[ListedValue, ...]:
    """The values that must be in the tenant's reference lists.

    A sort code is one of them where its account is paid by BACS [the vendor's rule]; no message
    shows it.
    """
    values = [*listed_values(document, LISTED_FIELDS)]
    for method, account in ACCOUNTS.items():
        if document.get(method, "").strip().upper() == "BACS":
            details = document.get(account, {})
            values += listed_values(details, ("BankSortCode",), f"{account}.", is_sensitive=True)
    return tuple(values)


RULES = merging_rules(
    model=Worker,
    title="Workers v1",
    key_fields=("EmployerRef", "PersonnelRef"),
    record_id_fields=("EmployerRef", "PersonnelRef"),
    exists=MessageId.WORKER_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    lookups=lookups,
    found_by=found_by,
    listed=listed,
)
