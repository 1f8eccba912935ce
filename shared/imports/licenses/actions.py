"""What an import of licenses does with its rows: the vendor's importAction, and DELETE."""

from __future__ import annotations

from enum import StrEnum

from shared.errors import InvalidRequestError


class LicenseAction(StrEnum):
    """The five import actions of the vendor, and deletion, which is a call of its own."""

    INSERT = "Insert"
    UPDATE = "Update"
    MERGE = "Merge"
    OVERRIDE = "Override"
    REPLACE = "Replace"
    DELETE = "Delete"

    @property
    def keeps_what_is_absent(self) -> bool:
        """Whether a missing property keeps its stored value; else the record is replaced whole."""
        return self in (LicenseAction.UPDATE, LicenseAction.MERGE)


IMPORT_ACTIONS = tuple(action for action in LicenseAction if action is not LicenseAction.DELETE)


def import_action(text: str) -> LicenseAction:
    """The action of a call's `importAction`, in any case. Raises InvalidRequestError."""
    for action in IMPORT_ACTIONS:
        if action.value.lower() == text.strip().lower():
            return action
    names = ", ".join(IMPORT_ACTIONS)
    raise InvalidRequestError(f"importAction must be one of {names}.")
