"""The page of states, actions and options is what the code says, and leaves none of them out."""

from __future__ import annotations

from cli.reference_pages import VALUES_PAGE, render_values_page
from shared.imports.import_type import ON_EXISTING_MEANINGS, OnExisting
from shared.imports.licenses.actions import ACTION_MEANINGS, IMPORT_ACTIONS
from shared.imports.results import OUTCOME_MEANINGS, Outcome
from shared.services.status import STATE_MEANINGS, ImportState


def test_the_page_of_values_is_the_one_that_the_code_renders() -> None:
    assert VALUES_PAGE.read_text(encoding="utf-8") == render_values_page(), (
        "run: python -m cli.reference_pages"
    )


def test_every_value_has_its_meaning() -> None:
    assert tuple(STATE_MEANINGS) == tuple(ImportState)
    assert tuple(OUTCOME_MEANINGS) == tuple(Outcome)
    assert tuple(ACTION_MEANINGS) == IMPORT_ACTIONS
    assert tuple(ON_EXISTING_MEANINGS) == tuple(OnExisting)
