"""The page of messages is the catalogue."""

from __future__ import annotations

from cli.messages_page import PAGE, render


def test_the_page_of_messages_is_the_one_that_the_catalogue_renders() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m cli.messages_page"
