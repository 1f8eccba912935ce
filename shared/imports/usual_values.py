"""Values that the rules allow but that are implausible: Warning 2003.

See docs/contracts.md#1.

The fields of a model declare what is usual (`UsualLength`, `UsualDays`, `UsualNumbers`), so this
works for every type. Each value of a row is checked once.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from shared.imports.import_type import Document
from shared.imports.messages import Message, MessageId
from shared.imports.model import MAX_TEXT, SHORTEST, Shape
from shared.imports.row_reader import as_sent

FIRST_DAY: Final = "1900-01-01"
LAST_DAY: Final = "2199-12-31"
# Many systems write an open end date like this.
OPEN_END: Final = "9999-12-31"


def unusual_values(
    sent: Document, shape: Shape, accepted_on: str = "", path: str = ""
) -> Iterator[Message]:
    """A Warning for each value of a row, by contract names, that is not usual for its field.

    `accepted_on` is the day of the import as ISO text, to compare dates of birth with; "" where it
    is unknown. `path` is the prefix of the names.
    """
    usual = shape.usual
    details: dict[str, str] = {}
    # Nearly all texts are short, so this costs one comparison each.
    long = [name for name, value in sent.items() if type(value) is str and len(value) > SHORTEST]
    for name in long:
        max_length = usual.lengths[name].most if name in usual.lengths else MAX_TEXT
        if len(sent[name]) > max_length:
            details[name] = f"it has {len(sent[name])} characters, at most {max_length} are usual"
    for name, days in usual.days.items():
        value = sent.get(name)
        if value is None:
            continue
        if value < FIRST_DAY:
            details[name] = f"it is before {FIRST_DAY}"
        elif days.is_past and accepted_on and value > accepted_on:
            details[name] = "it is in the future"
        elif value > LAST_DAY and value != OPEN_END:
            details[name] = f"it is after {LAST_DAY}"
    for name, numbers in usual.numbers.items():
        value = sent.get(name)
        if value is not None and not numbers.least <= Decimal(value) <= numbers.most:
            details[name] = f"{numbers.least} to {numbers.most} is usual"
    for name, detail in details.items():
        shown = None if shape.fields[name].is_sensitive else as_sent(sent[name])
        yield Message(MessageId.IMPLAUSIBLE_VALUE, path + name, shown, f"{detail}; check it")
    for name, nested in shape.nested.items():
        value = sent.get(name)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield from unusual_values(item, nested, accepted_on, f"{path}{name}[{index}].")
        elif value is not None:
            yield from unusual_values(value, nested, accepted_on, f"{path}{name}.")
