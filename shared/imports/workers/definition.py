"""What the workers import is, without its models: read whenever the app is indexed."""

from __future__ import annotations

from shared.imports.import_type import ImportType, Rules


def _load_rules() -> Rules:
    """The rules, imported late because they bring pydantic along."""
    from shared.imports.workers.rules import RULES

    return RULES


WORKERS = ImportType(
    name="workers",
    version=1,
    table="Workers",
    load_rules=_load_rules,
)
EXTERNAL = "external"
# Kinds of names that a worker is found by.
PERSONNEL = "personnel"
