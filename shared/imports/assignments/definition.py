"""What the assignments import is, without its models: read whenever the app is indexed."""

from __future__ import annotations

from shared.imports.import_type import ImportType, ReferenceField, Rules
from shared.imports.workers.definition import WORKERS


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.assignments.rules import RULES

    return RULES


ASSIGNMENTS = ImportType(
    name="assignments",
    version=1,
    table="Assignments",
    load_rules=_load_rules,
    references=(ReferenceField("PersonnelRef", WORKERS),),
)
