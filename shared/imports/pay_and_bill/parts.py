"""Parts of records that several types of Pay & Bill have (docs/contracts.md#1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Any, Final

from pydantic import StringConstraints

from shared.imports.import_type import Document, ListedValue
from shared.imports.merge_rules import listed_values
from shared.imports.messages import Message, MessageId
from shared.imports.model import MAX_PERCENTAGE, Percentage, Record, Text
from shared.imports.row_reader import as_sent

# Meanings that fields of several types share, for the published schemas.

ANY_TEXT: Final = "The vendor publishes no list of values; any text is taken."
VENDOR_NUMBER: Final = "A number of the vendor's; what each one stands for is not published."
DAY: Final = "A calendar day; a time of day is ignored."


def listed_code(what: str) -> str:
    """The meaning of a field with a code of the tenant's lists."""
    return f"Code of the {what}; checked against the tenant's list, where one is loaded."


MAX_SPLITS: Final = 100
ConsultantCode = Annotated[Text, StringConstraints(pattern=r"^([^(*?a-z)]{1,10})$")]


class ConsultantSplit(Record):
    """A consultant's share, in percent."""

    ConsultantRef: ConsultantCode
    Split: Percentage


SPLIT_MEANINGS: Final[Mapping[str, str]] = {
    "ConsultantRef": "Code of the consultant: 1 to 10 characters without lower-case letters, "
    "brackets, question marks and asterisks.",
    "Split": "The consultant's share in percent, from 0 to 100.",
}


def check_splits(splits: Sequence[dict[str, Any]]) -> Iterator[Message]:
    """A Warning where the shares do not add up to 100."""
    if any("Split" not in split for split in splits):
        return  # a split is unreadable, so there is no sum
    if splits and sum(Fraction(split["Split"]) for split in splits) != MAX_PERCENTAGE:
        detail = f"they do not add up to {MAX_PERCENTAGE}; correct the shares"
        yield Message(MessageId.VALUES_DISAGREE, "ConsultantSplits", detail=detail)


def listed_splits(document: Document) -> Iterator[ListedValue]:
    """The consultants of the shares, who must be in the tenant's list, if there is one."""
    for index, split in enumerate(document.get("ConsultantSplits", ())):
        yield from listed_values(split, ("ConsultantRef",), f"ConsultantSplits[{index}].")


def check_order(
    values: Document, start_name: str, end_name: str, path: str = ""
) -> Iterator[Message]:
    """A Warning where the day of one field is after that of the other."""
    begin, end = values.get(start_name), values.get(end_name)
    if begin is not None and end is not None and end < begin:
        detail = f"it is before {start_name}; check both"
        yield Message(MessageId.VALUES_DISAGREE, path + end_name, as_sent(end), detail)
