"""The rules of the workers import (docs/contracts.md#1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from shared.imports.import_type import Document, FoundBy, ListedValue
from shared.imports.merge_rules import listed_values, merging_rules
from shared.imports.messages import Message, MessageId
from shared.imports.pay_and_bill.parts import ANY_TEXT, DAY, VENDOR_NUMBER, listed_code
from shared.imports.row_reader import as_sent
from shared.imports.workers.definition import EXTERNAL, PERSONNEL, WORKER_EXISTS
from shared.imports.workers.model import Worker

# What the fields of workers mean, for the published schema: by model class and field.
#
# Where the vendor's page says nothing of a field's values, the text says so.

_METHOD: Final = (
    "BACS means a payment into the bank account, whose sort code is then checked against the "
    "tenant's list, where there is one; other values are not published."
)
_PRINT: Final = "The vendor's example is Electronic; other values are not published."
_ACCOUNT: Final = "One value, replaced whole; no message and no log shows it."


MEANINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "Worker": {
        "EmployerRef": "Reference of the employer; with PersonnelRef it is the worker's key.",
        "PersonnelRef": "Reference of the worker, unique within the employer.",
        "Surname": "Family name. A stored worker always has one.",
        "FirstForename": "First given name.",
        "SecondForename": "Second given name.",
        "ThirdForename": "Third given name.",
        "Title": f"Form of address, such as Mr. {ANY_TEXT}",
        "KnownAs": "The name that the worker goes by.",
        "PreviousSurname": "Family name before a change of it.",
        "ExternalWorkerRef": "The worker's reference in another system. A document names its "
        "worker by it, or else by PersonnelRef.",
        "UserIndex": "A code for searching. Its use is not published; any text is taken.",
        "WorkerAddress": "Where the worker lives; one value, replaced whole.",
        "TelephoneNumber": "Telephone at home. Its form is not checked.",
        "Gender": VENDOR_NUMBER,
        "DateOfBirth": f"{DAY} One before 1900 or in the future gets a Warning.",
        "MaritalStatus": ANY_TEXT,
        "Nationality": f"Nationality in words, such as British. {ANY_TEXT}",
        "Citizenship": f"Country of citizenship. {ANY_TEXT}",
        "PassportHeld": f"Which kind of passport the worker has, such as Full. {ANY_TEXT}",
        "PassportNumber": "Number of the passport; no message and no log shows it.",
        "NextOfKin": "Name of the next of kin.",
        "NextOfKinRelation": f"How the next of kin is related to the worker. {ANY_TEXT}",
        "NextOfKinAddress": "Where the next of kin lives; one value, replaced whole.",
        "NextOfKinTelephone": "Telephone of the next of kin. Its form is not checked.",
        "EmergencyContact": "Name of the person to tell in an emergency.",
        "EmergencyContactTelephone": "Telephone of that person. Its form is not checked.",
        "LastAddress": "The address before the present one; one value, replaced whole.",
        "WorkTelephone": "Telephone at work. Its form is not checked.",
        "WorkFax": "Fax at work. Its form is not checked.",
        "MobileTelephone": "Mobile telephone. Its form is not checked.",
        "PrimaryEmailAddress": "First e-mail address; one without an @ gets a Warning.",
        "SecondaryEmailAddress": "Second e-mail address; one without an @ gets a Warning.",
        "StartDate": f"First day of the employment. {DAY}",
        "LeavingDate": f"Last day of the employment; before StartDate it gets a Warning. {DAY}",
        "LeavingCode": f"Why the worker left. {ANY_TEXT}",
        "DivisionRef": listed_code("division"),
        "DepartmentRef": listed_code("department"),
        "JobCategoryRef": listed_code("job category"),
        "EmploymentType": f"Kind of employment, such as PAYE. {ANY_TEXT}",
        "CurrencyRef": listed_code("currency of the pay, such as GBP"),
        "ConsultantRef": listed_code("consultant who looks after the worker"),
        "AnalysisCode": f"First analysis code of the customer. {ANY_TEXT}",
        "AnalysisCode3": f"Third analysis code of the customer. {ANY_TEXT}",
        "AnalysisCode4": f"Fourth analysis code of the customer. {ANY_TEXT}",
        "AnalysisCode5": f"Fifth analysis code of the customer. {ANY_TEXT}",
        "PersonnelNotes": "Notes of the personnel department; more than 10,000 characters "
        "get a Warning.",
        "PayrollNotes": "Notes of the payroll department; more than 10,000 characters get a "
        "Warning.",
        "EIREngagementStatus": "Status in reports of employment intermediaries to the UK's tax "
        f"authority, such as PAYE. {ANY_TEXT}",
        "PrimaryPayMethod": f"How the first part of the pay goes out. {_METHOD}",
        "SecondaryPayMethod": f"How the second part of the pay goes out. {_METHOD}",
        "PrimaryBankDetails": f"Account of the first part of the pay. {_ACCOUNT}",
        "SecondaryBankDetails": f"Account of the second part of the pay. {_ACCOUNT}",
        "PayslipPrintMethod": f"How the worker gets payslips. {_PRINT}",
        "eP45PrintMethod": f"How the worker gets the P45 of a leaver. {_PRINT}",
        "STITemplate": "A template of the vendor's product STi. Its values are not published; any "
        "text is taken.",
        "STIUserRef": "The worker's user in the vendor's product STi. Its form is not published.",
        "IsStudent": "Whether the worker is a student.",
        "IsWorkerAlertedBySMS": "Whether the worker is told of news by text message.",
        "IsWorkerAlertedByEmail": "Whether the worker is told of news by e-mail.",
        "IsExpat": "Whether the worker works abroad for the employer.",
        "IsApprentice": "Whether the worker is an apprentice.",
        "IsExcludedFromWTR": "Whether the UK's Working Time Regulations do not apply.",
        "HasOnlineAccess": "Whether the worker may use the online portal.",
        "UKPayrollDetails": "What UK payroll needs to know; its fields merge one by one.",
    },
    "Address": {
        **{
            f"AddressLine{line}": f"Line {line} of the address, as it is written on an envelope."
            for line in range(1, 6)
        },
        "Postcode": "Postcode. In the UK one of another form gets a Warning.",
        "Country": "Name or code of the country; none means the UK. More than 100 characters, a "
        "question mark or an asterisk gets a Warning.",
    },
    "BankDetails": {
        "BankAccountType": VENDOR_NUMBER,
        "BankRef": "Reference of the bank. Its form is not published; any text is taken.",
        "BuildingSocietyName": "Name of the building society, where the account is with one.",
        "BuildingSocietyNumber": "Roll number at the building society. Its form is not checked.",
        "BankSortCode": "Sort code: six digits without hyphens.",
        "BankAccountNumber": "Account number: 8 to 10 digits.",
        "BankAccountName": "Name of the account holder: at most 30 characters.",
        "IBAN": "International account number; wrong check digits get a Warning.",
        "BIC": "International code of the bank; other than 8 or 11 characters get a Warning.",
    },
    "UKPayroll": {
        "NINumber": "National Insurance number: two letters, six digits and a letter. Another "
        "form gets a Warning; no message and no log shows it.",
        "NITableLetter": "Category letter of National Insurance. The letters are those of the "
        "UK's tax authority and are not checked.",
        "IsContractedOut": "Whether the worker is contracted out of the state pension.",
        "PAYECode": "Tax code, such as 1257L. It is not checked.",
        "PAYEMethod": f"How tax is computed, cumulatively or for the period alone. {VENDOR_NUMBER}",
        "TaxRegime": f"Which country's rates of income tax apply. {ANY_TEXT}",
        "IsExcludedFromRegPension": "Whether the worker is left out of the registered pension.",
        "StartingDecCategory": "Which statement of the starter declaration holds. The UK's tax "
        "authority has A, B and C; the vendor publishes no list, and any text is taken.",
        "HasStudentLoan": "Whether the worker repays a student loan.",
        "StartingDecByEmployee": "Whether the worker made the starter declaration in person.",
        "OptIn": "A choice of the worker; what it is about is not published.",
        "StudentLoanPlanType": f"Plan of the student loan. {ANY_TEXT}",
        "IsStudentFinishedStudies": "Whether the studies behind the student loan have ended.",
        "IsStudentLoanPaidExternally": "Whether the student loan is repaid outside of payroll.",
        "HasPostgradLoan": "Whether the worker repays a postgraduate loan.",
        "PostgradLoanPlanType": f"Plan of the postgraduate loan. {ANY_TEXT}",
        "IsPostgradFinishedStudies": "Whether the studies behind the postgraduate loan have ended.",
        "IsPostgradLoanPaidExternally": "Whether the postgraduate loan is repaid outside of "
        "payroll.",
    },
}


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
_NI_SUFFIXES: Final = frozenset("ABCD")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
# A letter counts as a number, from 10 for A to 35 for Z.
_IBAN_DIGITS: Final = str.maketrans({chr(code): str(code - 55) for code in range(65, 91)})
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def find_implausible(values: Document) -> list[Message]:
    """A Warning for each implausible value of the row."""
    warnings: list[Message] = []
    for name in EMAILS:
        email = values.get(name)
        if email is not None and not _EMAIL.fullmatch(email):
            detail = "an e-mail address has one @ between two parts"
            warnings.append(_implausible(name, as_sent(email), detail))
    for name in ADDRESSES:
        address = values.get(name)
        if address:
            warnings += _check_address(name, address)
    for name in BANK_DETAILS:
        details = values.get(name)
        if details:
            warnings += _check_bank_details(name, details)
    payroll = values.get("UKPayrollDetails")
    number = payroll.get("NINumber") if payroll else None
    fault = None if number is None else _ni_number_fault(number)
    if fault is not None:
        warnings.append(_implausible("UKPayrollDetails.NINumber", None, fault))
    return warnings


def _implausible(field: str, value: str | None, detail: str) -> Message:
    return Message(MessageId.IMPLAUSIBLE_VALUE, field, value, detail)


def _check_address(name: str, address: Document) -> list[Message]:
    country, postcode = address.get("Country"), address.get("Postcode")
    warnings: list[Message] = []
    if country is not None:
        field = f"{name}.Country"
        if len(country) > MAX_COUNTRY:
            detail = f"at most {MAX_COUNTRY} characters are usual"
            warnings.append(_implausible(field, as_sent(country), detail))
        if "?" in country or "*" in country:
            detail = "names of countries have no question mark and no asterisk"
            warnings.append(_implausible(field, as_sent(country), detail))
    if postcode is not None and not is_postcode(postcode) and is_british(country):
        detail = (
            "postcodes of the United Kingdom have the form AA9A 9AA; correct it, or the country"
        )
        warnings.append(_implausible(f"{name}.Postcode", as_sent(postcode), detail))
    return warnings


def _check_bank_details(name: str, details: Document) -> list[Message]:
    iban, bic = details.get("IBAN"), details.get("BIC")
    warnings: list[Message] = []
    if iban is not None and not is_iban(iban):
        detail = "its form or its check digits are wrong; compare it with its source"
        warnings.append(_implausible(f"{name}.IBAN", None, detail))
    if bic is not None and not _BIC.fullmatch(_compact(bic)):
        detail = "8 or 11 letters and digits are usual"
        warnings.append(_implausible(f"{name}.BIC", None, detail))
    return warnings


def _ni_number_fault(number: str) -> str | None:
    compact = _compact(number)
    if not compact:
        return None
    body, suffix = compact[:8], compact[8:]
    if not _NI_NUMBER.fullmatch(body) or body[:2] in _NI_PREFIXES_NOT_USED:
        return "two letters, six digits and a letter are usual"
    if not suffix:
        return "the letter at the end is missing"
    return None if suffix in _NI_SUFFIXES else "the letter at the end is none of A to D"


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
    return int((compact[4:] + compact[:4]).translate(_IBAN_DIGITS)) % 97 == 1


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


def _review(sent: Document, merged: Document) -> list[Message]:
    warnings = find_implausible(sent)
    if "LeavingDate" in sent or "StartDate" in sent:
        start, leaving = merged.get("StartDate"), merged.get("LeavingDate")
        if start is not None and leaving is not None and leaving < start:
            detail = "it is before StartDate; check both"
            order = Message(MessageId.VALUES_DISAGREE, "LeavingDate", as_sent(leaving), detail)
            warnings.insert(0, order)
    return warnings


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
    exists=WORKER_EXISTS,
    review=_review,
    meanings=MEANINGS,
    columns=COLUMNS,
    lookups=lookups,
    found_by=found_by,
    listed=listed,
)
