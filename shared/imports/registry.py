"""Every import type of the gateway, by name and version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from shared.imports.assignments.definition import ASSIGNMENTS
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.documents.definition import DOCUMENTS
from shared.imports.import_type import ImportType
from shared.imports.licenses.definition import LICENSES
from shared.imports.messages import CATALOGUE, CatalogueEntry
from shared.imports.persons import PERSON_ERASURE
from shared.imports.placements.definition import PLACEMENTS
from shared.imports.timesheets.definition import TIMESHEETS, TIMESHEETS_V2
from shared.imports.workers.definition import WORKERS


class Catalogue:
    """Import types by name and version.

    The versions of a type share all but the rules: so their imports run in one order, write the
    same records and refer to the same ones. `lowest` has the lowest version of each
    type by name, `all` has every version. `internal` are types that no call imports; only `find`
    knows them.
    """

    def __init__(self, types: Sequence[ImportType], internal: Sequence[ImportType] = ()) -> None:
        """Raises ValueError where two types of one name cannot be versions of one type."""
        self._internal = {kind.name: kind for kind in internal}
        self._versions: dict[str, tuple[ImportType, ...]] = {}
        for kind in types:
            others = self._versions.get(kind.name, ())
            if any(
                kind.version == other.version or _shared(kind) != _shared(other) for other in others
            ):
                raise ValueError(f"{kind.name} v{kind.version} is no version beside the others")
            versions = sorted((*others, kind), key=lambda version: version.version)
            self._versions[kind.name] = tuple(versions)
        self.all: Final = tuple(kind for versions in self._versions.values() for kind in versions)
        self.lowest: Final[Mapping[str, ImportType]] = MappingProxyType(
            {name: versions[0] for name, versions in self._versions.items()}
        )

    def versions(self, name: str) -> tuple[ImportType, ...]:
        """The versions of the type of that name, the lowest first; empty where there is no type."""
        return self._versions.get(name, ())

    def find(self, name: str, version: int | None = None) -> ImportType | None:
        """The type of that name and version, by default the lowest; None where there is none."""
        if name in self._internal:
            return self._internal[name]
        if version is None:
            return self.lowest.get(name)
        return next((kind for kind in self.versions(name) if kind.version == version), None)


def _shared(kind: ImportType) -> tuple[object, ...]:
    """What is the same for all versions of a type."""
    return (
        *(kind.table, kind.address, kind.queues),
        *(kind.contract, kind.on_existing, kind.messages, kind.references, kind.belongs_to),
    )


TYPE_CATALOGUE: Final = Catalogue(
    (WORKERS, ASSIGNMENTS, TIMESHEETS, TIMESHEETS_V2, PLACEMENTS, LICENSES, DOCUMENTS, AUTHDATA),
    internal=(PERSON_ERASURE,),
)

# Every message: those of all types, and those that belong to none.
MESSAGE_CATALOGUE: Final[Mapping[int, CatalogueEntry]] = MappingProxyType(CATALOGUE)

# The lowest version of each type by name, for what the versions of a type share.
IMPORT_TYPES: Final = TYPE_CATALOGUE.lowest

# The types whose rows are JSON messages with a schema.
MESSAGE_TYPES: Mapping[str, ImportType] = MappingProxyType(
    {name: kind for name, kind in IMPORT_TYPES.items() if kind.has_schema}
)


def types_referring_to(name: str) -> list[str]:
    """The names of the import types whose records refer to records of that type."""
    return [kind.name for kind in IMPORT_TYPES.values() if name in _referred_types(kind)]


def _referred_types(lowest: ImportType) -> set[str]:
    """The names of the types that records of any version of a type refer to."""
    versions = TYPE_CATALOGUE.versions(lowest.name)
    return {name for kind in versions for name in (*kind.waits_for, *kind.belongs_to)}


def types_of_table(table: str) -> list[ImportType]:
    """The import types that write records of that table."""
    return [kind for kind in IMPORT_TYPES.values() if kind.table == table]


def import_type(name: str, version: int | None = None) -> ImportType:
    """The import type of that name and version; raises KeyError where there is none."""
    kind = TYPE_CATALOGUE.find(name, version)
    if kind is None:
        raise KeyError(name)
    return kind
