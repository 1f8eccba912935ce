"""Licenses v1: the definition (light: read when the app is indexed)."""

from __future__ import annotations

from shared.imports.import_type import Contract, ImportType, Rules
from shared.imports.licenses.actions import LicenseAction
from shared.imports.licenses.messages import LICENSE_MESSAGES


def _load_rules() -> Rules:
    from shared.imports.licenses.rules import RULES

    return RULES


# Professional licenses of employees (docs/contracts.md#2).
LICENSES = ImportType(
    name="licenses",
    version=1,
    table="Licenses",
    load_rules=_load_rules,
    contract=Contract("Viventium"),
    messages=LICENSE_MESSAGES,
    route="/v1/imports/licenses",
    default_action=LicenseAction.OVERRIDE,
)
