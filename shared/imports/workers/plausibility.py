"""Values of a worker that are taken, but look wrong: Warning 2003 (CONTRACTS 1).

Judged on what a row sends, not on what is stored. The pay authorities' own rules are wider than
any shape, so nothing here fails a row. Secret and identity values are never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from shared.imports.definition import Document
from shared.imports.faults import as_sent
from shared.imports.messages import Message

IMPLAUSIBLE: Final = 2003
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


def implausible(sent: Document) -> Iterator[Message]:
    """A Warning for each value of the row that looks wrong."""
    for name in EMAILS:
        email = sent.get(name)
        if email is not None and not _EMAIL.fullmatch(email):
            yield Message(
                IMPLAUSIBLE, name, as_sent(email), "an e-mail address has one @ between two parts"
            )
    for name in ADDRESSES:
        yield from _address(name, sent.get(name) or {})
    for name in BANK_DETAILS:
        yield from _bank_details(name, sent.get(name) or {})
    payroll = sent.get("UKPayrollDetails") or {}
    yield from _ni_number("UKPayrollDetails.NINumber", payroll.get("NINumber"))


def _address(name: str, address: dict[str, Any]) -> Iterator[Message]:
    country, postcode = address.get("Country"), address.get("Postcode")
    if country is not None:
        if len(country) > MAX_COUNTRY:
            yield _country(name, country, f"at most {MAX_COUNTRY} characters are usual")
        if "?" in country or "*" in country:
            yield _country(
                name, country, "names of countries have no question mark and no asterisk"
            )
    if postcode is not None and is_british(country) and not is_postcode(postcode):
        detail = (
            "postcodes of the United Kingdom have the form AA9A 9AA; correct it, or the country"
        )
        yield Message(IMPLAUSIBLE, f"{name}.Postcode", as_sent(postcode), detail)


def _country(name: str, country: str, detail: str) -> Message:
    return Message(IMPLAUSIBLE, f"{name}.Country", as_sent(country), detail)


def _bank_details(name: str, details: dict[str, Any]) -> Iterator[Message]:
    iban, bic = details.get("IBAN"), details.get("BIC")
    if iban is not None and not is_iban(iban):
        yield Message(
            IMPLAUSIBLE,
            f"{name}.IBAN",
            detail="its form or its check digits are wrong; compare it with its source",
        )
    if bic is not None and not _BIC.fullmatch(_compact(bic)):
        yield Message(IMPLAUSIBLE, f"{name}.BIC", detail="8 or 11 letters and digits are usual")


def _ni_number(path: str, number: str | None) -> Iterator[Message]:
    compact = _compact(number or "")
    if not compact:
        return
    body, suffix = compact[:8], compact[8:]
    if not _NI_NUMBER.fullmatch(body) or body[:2] in _NI_PREFIXES_NOT_USED:
        yield Message(IMPLAUSIBLE, path, detail="two letters, six digits and a letter are usual")
    elif not suffix:
        yield Message(IMPLAUSIBLE, path, detail="the letter at the end is missing")
    elif suffix not in ("A", "B", "C", "D"):
        yield Message(IMPLAUSIBLE, path, detail="the letter at the end is none of A to D")


def is_british(country: str | None) -> bool:
    """Whether an address without a country, or with this one, is taken to be in the UK."""
    return country is None or country.strip().lower().replace(".", "") in _UK


def is_postcode(text: str) -> bool:
    """Whether the text has the form of a UK postcode, in any case."""
    return _POSTCODE.fullmatch(text.strip().upper()) is not None


def is_iban(text: str) -> bool:
    """Whether form and check digits are right (ISO 13616: the remainder by 97 is 1)."""
    compact = _compact(text)
    if not _IBAN.fullmatch(compact):
        return False
    digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


def _compact(text: str) -> str:
    return text.replace(" ", "").upper()
