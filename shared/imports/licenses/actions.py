"""The actions of a licenses import: the vendor's importAction, and DELETE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.errors import InvalidRequestError


class LicenseAction(StrEnum):
    """The five import actions of the vendor, and deletion, which is a separate call."""

    INSERT = "Insert"
    UPDATE = "Update"
    MERGE = "Merge"
    OVERRIDE = "Override"
    REPLACE = "Replace"
    DELETE = "Delete"

    @property
    def keeps_what_is_absent(self) -> bool:
        """Whether a missing property keeps its stored value; else the whole record is replaced."""
        return self in (LicenseAction.UPDATE, LicenseAction.MERGE)


@dataclass(frozen=True, slots=True)
class ActionMeaning:
    """The effect of an action on a stored license, a new license, and an absent property."""

    stored: str
    missing: str
    absent: str


_CLEARED: Final = "clears the field"
_KEPT: Final = "keeps the stored value; an empty text clears it"
# The meaning of each importAction, for the OpenAPI document and the docs.
ACTION_MEANINGS: Final[Mapping[LicenseAction, ActionMeaning]] = {
    LicenseAction.INSERT: ActionMeaning("fails with 3004", "is made", "stays empty"),
    LicenseAction.UPDATE: ActionMeaning("is changed", "fails with 3005", _KEPT),
    LicenseAction.MERGE: ActionMeaning("is changed", "is made", _KEPT),
    LicenseAction.OVERRIDE: ActionMeaning("is replaced whole", "is made", _CLEARED),
    LicenseAction.REPLACE: ActionMeaning(
        "is replaced whole; the employee's licenses that are not sent are removed",
        "is made",
        _CLEARED,
    ),
}
IMPORT_ACTIONS = tuple(action for action in LicenseAction if action is not LicenseAction.DELETE)


def import_action(text: str) -> LicenseAction:
    """The action of a call's `importAction`, in any case. Raises InvalidRequestError."""
    for action in IMPORT_ACTIONS:
        if action.value.lower() == text.strip().lower():
            return action
    names = ", ".join(IMPORT_ACTIONS)
    raise InvalidRequestError(f"importAction must be one of {names}.")
