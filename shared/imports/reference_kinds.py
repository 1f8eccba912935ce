"""The reference lists that a tenant may load: which kinds there are, and what their entries name.

A list is optional. Where a tenant has loaded one of a kind, the values of that kind must be in it
(CONTRACTS 1); where it has not, any value is taken.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class ReferenceKind(StrEnum):
    """What the entries of a list name; the value is what `--kind` takes.

    kind          fields
    client        ClientRef, ReportToClientRef, InvoiceToClientRef
    comparator    ComparatorRef
    consultant    ConsultantRef of a worker and of each split of an assignment
    contract      ContractRefPrimaryContract
    currency      CurrencyRef
    department    DepartmentRef
    division      DivisionRef
    job-category  JobCategoryRef
    sort-code     BankSortCode, while the pay method of that account is BACS
    """

    CLIENT = "client"
    COMPARATOR = "comparator"
    CONSULTANT = "consultant"
    CONTRACT = "contract"
    CURRENCY = "currency"
    DEPARTMENT = "department"
    DIVISION = "division"
    JOB_CATEGORY = "job-category"
    SORT_CODE = "sort-code"


FIELDS_OF_KIND: Final[dict[ReferenceKind, tuple[str, ...]]] = {
    ReferenceKind.CLIENT: ("ClientRef", "ReportToClientRef", "InvoiceToClientRef"),
    ReferenceKind.COMPARATOR: ("ComparatorRef",),
    ReferenceKind.CONSULTANT: ("ConsultantRef",),
    ReferenceKind.CONTRACT: ("ContractRefPrimaryContract",),
    ReferenceKind.CURRENCY: ("CurrencyRef",),
    ReferenceKind.DEPARTMENT: ("DepartmentRef",),
    ReferenceKind.DIVISION: ("DivisionRef",),
    ReferenceKind.JOB_CATEGORY: ("JobCategoryRef",),
    ReferenceKind.SORT_CODE: ("BankSortCode",),
}
"""The fields of each kind, without the objects that they stand in."""

KIND_OF_FIELD: Final = {field: kind for kind, fields in FIELDS_OF_KIND.items() for field in fields}


def find_kind(text: str) -> ReferenceKind | None:
    """The kind of that name or of the field of that name, in any case; None: there is none.

    `job-category`, `JobCategory` and `JobCategoryRef` are one kind.
    """
    return _KINDS_BY_NAME.get(_letters(text))


def _letters(text: str) -> str:
    return re.sub("[-_ ]", "", text).lower()


_KINDS_BY_NAME: Final = {
    _letters(name): kind
    for kind, fields in FIELDS_OF_KIND.items()
    for name in (kind.value, *fields)
}
