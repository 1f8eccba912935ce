"""The import types with their hooks, by name; `shared/imports/registry.py` has the types alone."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.imports.assignments.module import MODULE as ASSIGNMENTS
from shared.imports.authdata.module import MODULE as AUTHDATA
from shared.imports.documents.module import MODULE as DOCUMENTS
from shared.imports.import_type_module import ImportTypeModule
from shared.imports.licenses.module import MODULE as LICENSES
from shared.imports.placements.module import MODULE as PLACEMENTS
from shared.imports.timesheets.module import MODULE as TIMESHEETS
from shared.imports.workers.module import MODULE as WORKERS

IMPORT_MODULES: Final[Mapping[str, ImportTypeModule]] = MappingProxyType(
    {
        module.definition.name: module
        for module in (WORKERS, ASSIGNMENTS, TIMESHEETS, PLACEMENTS, LICENSES, DOCUMENTS, AUTHDATA)
    }
)
