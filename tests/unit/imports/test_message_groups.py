"""Messages in groups, and which messages rows keep where there are very many."""

from __future__ import annotations

import random

from shared.imports.message_groups import MAX_INDEXES, MessageGroups
from shared.imports.messages import Message, Severity
from shared.imports.results import MAX_CHUNK_MESSAGES, Outcome, RowResult, cap_messages

ERROR, WARNING, INFO = Message(1002, "Gender"), Message(2002, "EndDate"), Message(1007, "Odd")


def test_the_first_indexes_are_the_lowest_whatever_the_order_of_the_rows() -> None:
    rows = [RowResult(at, ("K",), Outcome.NEW, (INFO, WARNING)) for at in range(100)]
    random.Random(1).shuffle(rows)
    groups = MessageGroups()
    groups.add(rows[:50])
    groups.add(rows[50:])
    assert [(each.id, each.field_name, each.count, each.indexes) for each in groups.sorted()] == [
        (2002, "EndDate", 100, list(range(MAX_INDEXES))),
        (1007, "Odd", 100, list(range(MAX_INDEXES))),
    ]


def test_a_row_with_two_messages_of_a_group_is_named_once() -> None:
    groups = MessageGroups()
    groups.add([RowResult(3, ("K",), Outcome.FAILED, (ERROR, ERROR, INFO))], Severity.ERROR)
    [group] = groups.sorted()
    assert (group.count, group.indexes) == (2, [3])


def test_rows_past_the_cap_of_a_chunk_keep_a_message_of_each_severity() -> None:
    full = RowResult(0, ("K",), Outcome.NEW, (INFO,) * MAX_CHUNK_MESSAGES)
    late = RowResult(1, ("K",), Outcome.FAILED, (WARNING, INFO, ERROR, INFO, WARNING, ERROR))
    kept, short = cap_messages([full, late])
    assert kept == full
    assert short.messages == (WARNING, INFO, ERROR)
