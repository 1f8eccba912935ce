"""Which room of the house may look into which (docs/design.md#3)."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Mapping

import pytest

from tests.unit.house.source_tree import OUTSIDE, PRODUCT, ROOT, Module, modules

LAYERS = ("rules", "storage", "services", "web", "hooks")
"""From the lowest to the highest. A module imports modules of its own layer and of lower ones."""
LAYER_OF_ROOM = {
    "shared.imports": "rules",
    "shared.storage": "storage",
    "shared.services": "services",
    "shared.web": "web",
}
LAYER_OF_FILE = {
    "batch_records": "storage",
    "blobs": "storage",
    "drops": "services",
    "export": "services",
    "person": "services",
    "processing": "services",
    "processor": "services",
    "records": "services",
    "rounds": "services",
    "services": "services",
    "staging": "services",
    "store": "services",
    "transactions": "services",
    "undo_processor": "services",
    "uploads": "services",
    "http": "web",
    "openapi": "web",
    "module": "hooks",
}
"""In the folder of an import type a module's file name is its layer; all other names are rules."""
HOOKS = {"shared.imports.modules", "shared.imports.import_type_module"}
"""Other modules of `shared/imports` whose hooks call services and `shared.web` by late imports."""

FORBIDDEN = {
    "rules": (
        "azure",
        "functions",
        "shared.auth",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.services",
        "shared.settings",
        "shared.storage",
        "shared.storage_account",
        "shared.web",
    ),
    "storage": (
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.services",
        "shared.web",
    ),
    "services": (
        "azure",
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.web",
    ),
    "shared.auth": (
        "azure",
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.services",
        "shared.web",
    ),
    "web": (
        "functions",
        "shared.app",
        "shared.bootstrap",
        "azure.core",
        "azure.data",
        "azure.storage",
        "azure.identity",
    ),
    "hooks": ("functions", "shared.app", "shared.bootstrap"),
    "shared.app": ("azure", "functions", "shared.bootstrap", "shared.web"),
    "shared.dependencies": ("azure", "functions", "shared.app", "shared.bootstrap", "shared.web"),
    "shared.gateway": ("azure", "functions", "shared.app", "shared.bootstrap", "shared.web"),
    "functions": ("azure.core", "azure.data", "azure.storage", "azure.identity", "shared.storage"),
    "shared.errors": ("azure", "shared", "functions"),
    "shared.clock": ("azure", "shared", "functions"),
    "shared.log": ("azure", "shared", "functions"),
}
"""Layer or room → packages that nothing there imports, not even late."""

PURE = {"pydantic", "pydantic_core", "annotated_types", "lxml", "xlsxwriter"}
"""Libraries that compute and know no file, network or clock of ours."""
READS_ENVIRONMENT = {"shared.settings", "shared.bootstrap", "shared.early_settings"}
"""The two readers of settings, and the root that hands the environment on."""


def test_no_module_looks_into_a_room_or_a_layer_that_it_must_not_know() -> None:
    arrows = [each for module in modules(*PRODUCT) for each in _wrong_arrows(module)]
    assert arrows == []


def _layer(name: str) -> str | None:
    """The layer of a module of the house, by its room, and in a type's folder by its file name."""
    if name in HOOKS:
        return "hooks"
    room = ".".join(name.split(".")[:2])
    if room == "shared.imports" and name.count(".") == 3:
        return LAYER_OF_FILE.get(name.rpartition(".")[2], "rules")
    return LAYER_OF_ROOM.get(room)


def _wrong_arrows(module: Module) -> list[str]:
    return _wrong_arrows_of(module.name, module.imported())


def _wrong_arrows_of(name: str, imported: Collection[str]) -> list[str]:
    layer = _layer(name)
    places = [layer, name, ".".join(name.split(".")[:2]), name.partition(".")[0]]
    forbidden = {each for place in places for each in FORBIDDEN.get(place or "", ())}
    if name.startswith("functions.") and "shared.storage.ports" not in imported:
        # `functions` may name a table or a queue, as an import type does.
        forbidden -= {"shared.storage"}
    return sorted(
        f"{name} imports {each}"
        for each in imported
        if (layer and _is_above(each, layer))
        or any(each == package or each.startswith(f"{package}.") for package in forbidden)
    )


def _is_above(imported: str, layer: str) -> bool:
    # The catalogue of hooks loads nothing, so a service asks it for what a type does.
    other = "services" if imported in HOOKS else _layer(imported)
    return other is not None and LAYERS.index(other) > LAYERS.index(layer)


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("shared.imports.workers.rules", "shared.storage.ports"),
        ("shared.imports.workers.rules", "shared.imports.licenses.processor"),
        ("shared.imports.licenses.answer", "azure.functions"),
        ("shared.imports.licenses.processor", "shared.web.responses"),
        ("shared.imports.licenses.processor", "shared.imports.licenses.http"),
        ("shared.imports.documents.blobs", "shared.services.references"),
        ("shared.imports.documents.blobs", "shared.imports.documents.processor"),
        ("shared.imports.documents.store", "azure.storage.blob"),
        ("shared.imports.documents.http", "azure.storage.blob"),
        ("shared.imports.documents.http", "shared.imports.documents.module"),
        ("shared.imports.documents.rules", "shared.imports.modules"),
        ("shared.imports.documents.module", "shared.bootstrap"),
        ("shared.services.status", "shared.imports.pay_and_bill.http"),
        ("shared.storage.ports", "shared.imports.licenses.store"),
        ("shared.app", "shared.web.responses"),
        ("shared.errors", "shared.log"),
        ("functions.workers", "azure.storage.blob"),
    ],
)
def test_a_wrong_arrow_is_found(name: str, imported: str) -> None:
    assert _wrong_arrows_of(name, {imported})


def test_every_file_name_with_a_layer_is_in_use() -> None:
    folders = (ROOT / "shared/imports").glob("*/*.py")
    assert LAYER_OF_FILE.keys() <= {path.stem for path in folders}


def test_hooks_of_types_import_services_late() -> None:
    late = {"shared." + name for name in ("services", "web", "storage", "auth", "gateway")}
    for module in modules("shared/imports"):
        if _layer(module.name) == "hooks":
            names = module.imported(at_import_time=True)
            assert not any(module.imports(name, at_import_time=True) for name in late), module.name
            assert {_layer(name) for name in names} <= {None, "rules", "hooks"}, module.name


def test_the_rules_use_the_standard_library_and_pure_libraries_only() -> None:
    for module in modules("shared/imports"):
        if _layer(module.name) != "rules":
            continue
        tops = {name.partition(".")[0] for name in module.imported()}
        assert tops - sys.stdlib_module_names - PURE <= {"shared"}, module.name


def test_no_modules_import_in_a_circle() -> None:
    """Late imports count too. The one exception: a definition loads its own rules late."""
    known = {module.name: module for module in modules(*PRODUCT)}
    below = {name: _imports_of(module, known) for name, module in known.items()}
    # What imports nothing that is left is no part of a circle: take it away until nothing goes.
    while free := [name for name, others in below.items() if not others & below.keys()]:
        for name in free:
            del below[name]
    while free := [name for name in below if not any(name in each for each in below.values())]:
        for name in free:
            del below[name]
    assert sorted(below) == []


def _imports_of(module: Module, known: Mapping[str, Module]) -> set[str]:
    own = {name for name in module.imported() if name in known} - {module.name}
    is_package = {name for name in own if known[name].path.name == "__init__.py"}
    own_rules = {f"{module.name.removesuffix('.definition')}.{name}" for name in ("rules",)}
    return own - is_package - (own_rules if module.name.endswith(".definition") else set())


def test_the_deployed_app_imports_nothing_that_is_not_deployed() -> None:
    outside = [place.removesuffix(".py") for place in OUTSIDE]
    for module in modules(*PRODUCT):
        assert not any(module.imports(place) for place in outside), module.name


def test_only_the_settings_read_the_environment() -> None:
    readers = {module.name for module in modules(*PRODUCT) if _reads_environment(module)}
    assert readers <= READS_ENVIRONMENT


def _reads_environment(module: Module) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(module.tree)
    ) or bool({"os.environ", "os.getenv"} & module.imported())


def test_only_the_clock_asks_for_the_time_or_for_chance() -> None:
    """Exceptions measure a call for its log line, make a license's key from its content, and name
    the type of an id."""
    askers = {
        module.name
        for module in modules("shared", "functions")
        if {"time", "uuid", "random", "secrets"} & module.imported()
    }
    assert askers <= {
        "shared.clock",
        "shared.auth.clients",
        "shared.auth.integrations",
        "shared.imports.licenses.model",
        "shared.services.idempotency",
        "shared.storage.azure_tables",
        "shared.web.openapi.schemas",
        "shared.web.responses",
    }
