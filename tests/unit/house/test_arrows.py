"""Which room of the house may look into which (docs/design.md#3)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.unit.house.source_tree import OUTSIDE, PRODUCT, ROOT, Module, modules

FORBIDDEN = {
    "shared/imports": (
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
    "shared/storage": (
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.services",
        "shared.web",
    ),
    "shared/services": (
        "azure",
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.web",
    ),
    "shared/auth": (
        "azure",
        "functions",
        "shared.app",
        "shared.bootstrap",
        "shared.gateway",
        "shared.services",
        "shared.web",
    ),
    "shared/web": (
        "functions",
        "shared.app",
        "shared.bootstrap",
        "azure.core",
        "azure.data",
        "azure.storage",
        "azure.identity",
    ),
    "shared/app.py": ("azure", "functions", "shared.bootstrap", "shared.web"),
    "shared/gateway.py": ("azure", "functions", "shared.app", "shared.bootstrap", "shared.web"),
    "functions": ("azure.core", "azure.data", "azure.storage", "azure.identity", "shared.storage"),
    "shared/errors.py": ("azure", "shared", "functions"),
    "shared/clock.py": ("azure", "shared", "functions"),
    "shared/log.py": ("azure", "shared", "functions"),
}
"""Place → packages that nothing there imports, not even late."""
HOOKS = ("module", "modules", "import_type_module", "pay_and_bill_module")
"""Modules of `shared/imports` whose hooks call services and `shared.web` by late imports."""

PURE = {"pydantic", "pydantic_core", "annotated_types", "lxml"}
"""Libraries that compute and know no file, network or clock of ours."""
SLOW = (
    "aiohttp",
    "azure.core",
    "azure.data",
    "azure.identity",
    "azure.storage",
    "cryptography",
    "jwt",
    "msal",
    "pydantic",
    "requests",
)
READS_ENVIRONMENT = {"shared.settings", "shared.bootstrap"}
"""The reader, and the root that hands the environment to it."""


@pytest.mark.parametrize("place", FORBIDDEN)
def test_a_room_does_not_look_into_those_it_must_not_know(place: str) -> None:
    looks = [
        f"{module.name} imports {package}"
        for module in modules(place)
        for package in FORBIDDEN[place]
        if module.imports(package)
        and not _is_own_table(module, package)
        and not (place == "shared/imports" and module.path.stem in HOOKS)
    ]
    assert looks == []


def _is_own_table(module: Module, package: str) -> bool:
    """`functions` may name a table or a queue, as an import type does."""
    return package == "shared.storage" and not module.imports("shared.storage.ports")


def test_hooks_of_types_import_services_late_and_never_the_composition_root() -> None:
    hooks = [each for each in modules("shared/imports") if each.path.stem in HOOKS]
    for module in hooks:
        at_once = {"shared." + name for name in ("services", "web", "storage", "auth", "gateway")}
        assert not any(module.imports(name, at_import_time=True) for name in at_once), module.name
        for name in ("functions", "shared.app", "shared.bootstrap"):
            assert not module.imports(name), module.name


def test_the_rules_use_the_standard_library_and_pure_libraries_only() -> None:
    for module in modules("shared/imports"):
        if module.path.stem in HOOKS:
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
    found = {name for name in module.imported() if name in known} - {module.name}
    is_package = {name for name in found if known[name].path.name == "__init__.py"}
    own_rules = {
        f"{module.name.removesuffix('.definition')}.{name}" for name in ("rules", "schema")
    }
    return found - is_package - (own_rules if module.name.endswith(".definition") else set())


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
    """Exceptions measure a call for its log line, and make a license's key from its content."""
    askers = {
        module.name
        for module in modules("shared", "functions")
        if {"time", "uuid", "random", "secrets"} & module.imported()
    }
    assert askers <= {
        "shared.clock",
        "shared.auth.client_secrets",
        "shared.auth.integrations",
        "shared.imports.licenses.model",
        "shared.services.fingerprint_keys",
        "shared.storage.table_batches",
        "shared.web.responses",
    }


def test_importing_the_function_app_loads_nothing_slow() -> None:
    """Cold starts count: storage, HTTP clients and models come with the first call."""
    asked = (
        "import sys, function_app; "
        f"print(*[name for name in sys.modules if name.startswith({SLOW!r})])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, capture_output=True, check=True, text=True
    )
    assert ran.stdout.split() == []
