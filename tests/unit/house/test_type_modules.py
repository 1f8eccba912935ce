"""Every import type hands its hooks over in one object, and nothing else lists types."""

from __future__ import annotations

from shared.auth.clients import Scope
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import IMPORT_TYPES
from tests.unit.house.source_tree import ROOT


def test_every_type_of_the_catalogue_has_its_module_in_its_folder() -> None:
    found = {name: module.definition for name, module in IMPORT_MODULES.items()}
    assert found == dict(IMPORT_TYPES)
    assert [*found] == [*IMPORT_TYPES]
    folders = {path.parent.name for path in (ROOT / "shared/imports").glob("*/definition.py")}
    with_module = {path.parent.name for path in (ROOT / "shared/imports").glob("*/module.py")}
    assert folders == with_module - {"pay_and_bill"}
    assert folders == set(IMPORT_TYPES)


def test_every_scope_shows_the_imports_of_one_type() -> None:
    scopes = [kind.scope for kind in IMPORT_TYPES.values() if kind.scope]
    assert sorted(scopes) == sorted(scope.value for scope in Scope)
