"""The page of messages is the catalogue, and every message and refusal says what to do."""

from __future__ import annotations

import re
from typing import Final

import pytest

from cli.reference_pages import MESSAGES_PAGE, Refusal, examples, refusals, render_messages_page
from shared.imports.messages import CATALOGUE, Message, Severity
from shared.web.responses import FAULTS

VERBATIM: Final = (
    "Integration missing for Software Key or disabled",
    "Invalid DB Version",
    "Key name does not match Software Key",
    "Message Type not found/implemented",
    "Pay and Bill Database not active",
    "Required field missing or empty",
    "Worker already exists in the system",
)
"""The vendor's sentences, to which nothing is added."""
WHAT_TO_DO: Final = re.compile(
    r"\b(accept|allowed|ask|begin|check|choose|compare|correct|drop|enable|encode|expected|get|give|"
    r"import|leave|let|look|make|must|name|needed|needs|nothing|process|remove|report|retry|rotate|"
    r"send|set|shows them|stage|take|try|use|usual|wait|percent-encode|the pattern is|it begins)\b"
)
"""Words by which a sentence says what to do, or what is expected in place of what was sent."""
COMPOSED: Final = ("Payload data not supported: ….",)
"""Templates whose advice is in the part that is made at the call, which has tests of its own."""
OF_A_WHOLE_ROW: Final = {
    1101, 1102, 1103, 3003, 3004, 3007, 3008, 4001, 4002, 4003, 4013, 4018,
    *range(5001, 5007), *range(5101, 5106), 9001, 9002,
}  # fmt: skip
"""Messages that are about the row, or the record, and not about one field of it."""


def test_the_page_of_messages_is_the_one_that_the_catalogue_renders() -> None:
    assert MESSAGES_PAGE.read_text(encoding="utf-8") == render_messages_page(), (
        "run: python -m cli.reference_pages"
    )


@pytest.mark.parametrize("message", examples().values(), ids=lambda message: str(message.id))
def test_a_message_of_a_row_names_its_place_and_what_to_do(message: Message) -> None:
    assert (message.field is None) == (message.id in OF_A_WHOLE_ROW)
    text = message.text
    assert text.isprintable()
    if message.severity is not Severity.INFO and text not in VERBATIM:
        assert WHAT_TO_DO.search(text.removeprefix(CATALOGUE[message.id].text)), text


def test_a_message_of_a_field_shows_its_value_but_no_secret_one() -> None:
    without = {id_ for id_, each in examples().items() if each.field and each.value is None}
    assert without == {
        1001,  # nothing was sent
        1004,  # a sort code
        1007,  # the field is not known, so neither is whether its value is secret
        3002,  # the bytes of a file
        4005, 4006, 4014, 4015, 4016, 4017,  # a file
        4007,  # what was sent is no time, and may be anything
    }  # fmt: skip


@pytest.mark.parametrize("refused", refusals(), ids=lambda each: each.text[:60])
def test_a_refusal_says_what_to_do(refused: Refusal) -> None:
    text = refused.text
    if text.startswith(VERBATIM) or text in COMPOSED:
        return
    assert text.endswith((".", "…")), refused
    assert WHAT_TO_DO.search(text[:1].lower() + text[1:]) or text.count("…") >= 2, refused
    assert len(text) < 320, refused


@pytest.mark.parametrize(("status", "text"), FAULTS)
def test_the_answer_to_a_fault_says_what_to_do(status: int, text: str) -> None:
    assert status in (409, 500, 503)
    assert WHAT_TO_DO.search(text)


def test_refusals_are_found_in_the_source() -> None:
    found = {(each.status, each.text) for each in refusals()}
    assert len(found) > 150
    assert (403, "Integration missing for Software Key or disabled") in found
    assert (413, "The payload has … rows and the limit is …: send it in several calls.") in found
    assert (401, "Send your function key in the header X-Functions-Key.") in found
