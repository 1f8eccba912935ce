"""Log lines: an action and ids on one line, and no value that was not asked for."""

from __future__ import annotations

import logging
import re

import pytest

from shared import log


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="gateway")


def test_an_event_is_its_action_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    log.event("import.accepted", import_id="0b1c", tenant="demo", rows=3)
    assert caplog.messages == ["import.accepted import_id=0b1c tenant=demo rows=3"]
    assert vars(caplog.records[0])["gateway_rows"] == 3


def test_a_field_that_is_not_listed_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    log.event("import.accepted", tenant="demo", surname="Sample")  # type: ignore[call-arg]
    assert caplog.messages == ["import.accepted tenant=demo"]
    assert "Sample" not in str(vars(caplog.records[0]))


def test_an_id_cannot_forge_a_line_or_a_field(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("chunk.dropped", import_id="a\nb rows=9", queue="q" * 500)
    assert caplog.messages == [f"chunk.dropped import_id=a_b_rows=9 queue={'q' * 120}…"]


def test_a_failure_names_class_and_place_and_not_the_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        try:
            int("AB123456C")
        except ValueError as cause:
            raise RuntimeError("bad NINumber AB123456C") from cause
    except RuntimeError as error:
        log.failure("row.unforeseen", error, chunk=2)
    (line,) = caplog.messages
    assert "AB123456C" not in line
    assert re.fullmatch(
        r"row\.unforeseen chunk=2 error=RuntimeError at=test_log\.py:\d+ cause=ValueError", line
    )


def test_libraries_that_log_addresses_are_calmed() -> None:
    log.configure("debug")
    assert logging.getLogger("azure.core.pipeline").getEffectiveLevel() == logging.WARNING
    assert logging.getLogger("gateway").level == logging.DEBUG
