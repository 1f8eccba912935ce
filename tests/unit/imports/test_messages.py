"""The message catalogue (docs/contracts.md#6) and how messages travel."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.imports.messages import (
    CATALOGUE,
    DETAILED,
    CatalogueEntry,
    Message,
    MessageId,
    Severity,
    bounded,
)

SEVERITIES = {
    Severity.ERROR: {
        *range(1001, 1007),
        *(1008, 1101, 2001),
        *range(3001, 3009),
        *range(4001, 4019),
        *range(5001, 5007),
        *(9001, 9002, 10000, 10001),
    },
    Severity.WARNING: {2002, 2003},
    Severity.INFO: {1007, 1102, 1103, *range(5101, 5106)},
}


@pytest.mark.parametrize("severity", Severity)
def test_the_catalogue_has_the_ids_of_the_contract(severity: Severity) -> None:
    ids = {entry.id for entry in CATALOGUE.values() if entry.severity is severity}
    assert ids == SEVERITIES[severity]


def test_every_id_has_an_entry() -> None:
    assert [entry.id for entry in CATALOGUE.values()] == list(CATALOGUE)
    assert set(CATALOGUE) == set(MessageId)


def test_a_message_with_an_id_of_the_enum_is_stored_and_shown_as_its_number() -> None:
    message = Message(MessageId.CHANGED_BY_LATER_IMPORT)
    assert json.dumps(message.pack()) == "[1101]"
    assert json.dumps({message.id: message.id}) == '{"1101": 1101}'
    assert f"{message.id} {message.id!s}" == "1101 1101"
    assert message == Message.unpack([1101])
    assert len({message, Message(1101)}) == 1


@pytest.mark.parametrize(
    ("id_", "words"),
    [
        (1001, "Required field missing or empty"),
        (10000, "Worker already exists in the system"),
    ],
)
def test_the_vendors_words_are_kept(id_: int, words: str) -> None:
    assert Message(id_, "Surname").text == words
    assert CATALOGUE[id_].source == "vendor"


def test_every_entry_says_what_to_do_and_where_it_comes_from() -> None:
    for entry in CATALOGUE.values():
        assert entry.text
        assert entry.advice.endswith(".")
        assert entry.source == "vendor" or entry.source.startswith("docs/contracts.md#")


def test_texts_tell_ids_apart() -> None:
    assert len({entry.text for entry in CATALOGUE.values()}) == len(CATALOGUE)


def test_a_detail_makes_the_sentence_specific() -> None:
    assert Message(2003, "IBAN", detail="too short").text == "Value looks wrong: too short"


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=str)
def test_a_message_without_a_detail_says_what_to_do(entry: CatalogueEntry) -> None:
    text = Message(entry.id).text
    if entry.is_verbatim or entry.id in DETAILED or not entry.asks_for_something:
        assert text == entry.text
    else:
        assert text.lower() == f"{entry.text}: {entry.advice}".lower().rstrip(".")


def test_too_many_messages_end_with_how_many_more_there_were() -> None:
    messages = [Message(2002), Message(2003), Message(1007)]
    assert bounded(messages, 3) == tuple(messages)
    assert bounded(messages, 2) == (
        Message(2002),
        Message(2003, detail="and 2 more messages that are left out"),
    )
    more = "and 6 more messages that are left out"
    assert bounded(messages, 3, dropped=5)[-1] == Message(1007, detail=more)


texts = st.none() | st.text()


@given(st.builds(Message, st.sampled_from(sorted(CATALOGUE)), texts, texts, texts))
def test_packing_loses_nothing(message: Message) -> None:
    packed = message.pack()
    assert Message.unpack(packed) == message
    assert packed[-1] is not None
