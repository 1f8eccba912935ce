"""Every import type of the gateway, by name: one line each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.definition import ImportType
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.licenses.definition import LICENSES
from shared.imports.workers.definition import WORKERS

_TYPES = (
    WORKERS,
    ASSIGNMENTS,
    LICENSES,
    DOCUMENTS,
    AUTHDATA,
)

IMPORT_TYPES: Mapping[str, ImportType] = MappingProxyType({kind.name: kind for kind in _TYPES})

MESSAGE_TYPES: Mapping[str, ImportType] = MappingProxyType(
    {kind.name: kind for kind in _TYPES if kind.has_schema}
)
"""The types that are sent as JSON, and have a schema."""


def types_of_table(table: str) -> list[ImportType]:
    """The import types that write records of that table."""
    return [kind for kind in IMPORT_TYPES.values() if kind.table == table]


def import_type(name: str) -> ImportType:
    """The import type of that name; raises KeyError where there is none."""
    return IMPORT_TYPES[name]
