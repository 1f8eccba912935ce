"""Functions, routes and queues follow from the definition of each import type."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest

from local_host.indexing import AppFunction
from local_host.routes import find_route, sort_key
from shared.auth.clients import Scope
from shared.imports.import_type import ImportType
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import IMPORT_TYPES
from shared.storage.names import TABLES
from tests.unit.house.source_tree import ROOT, modules

CONNECTION = "AzureWebJobsStorage"
QUEUED = [kind for kind in IMPORT_TYPES.values() if kind.has_queues]


@pytest.mark.parametrize("kind", QUEUED, ids=lambda kind: kind.name)
def test_an_import_type_has_its_two_queues(
    functions: Mapping[str, AppFunction], kind: ImportType
) -> None:
    expected = {
        f"{kind.name}_rows": kind.queue,
        f"{kind.name}_rows_bulk": kind.bulk_queue,
    }
    triggers = {name: functions[name].trigger for name in expected}
    assert {name: trigger["queueName"] for name, trigger in triggers.items()} == expected
    assert {trigger["connection"] for trigger in triggers.values()} == {CONNECTION}


def test_every_queue_trigger_belongs_to_an_import_type(
    functions: Mapping[str, AppFunction],
) -> None:
    triggers = [item.trigger for item in functions.values() if item.kind == "queueTrigger"]
    names = [name for kind in IMPORT_TYPES.values() for name in kind.queues]
    assert sorted(trigger["queueName"] for trigger in triggers) == sorted(names)


@pytest.mark.parametrize("kind", IMPORT_TYPES.values(), ids=lambda kind: kind.name)
def test_an_import_type_has_its_schemas_address_and_its_own_table(kind: ImportType) -> None:
    assert kind.schema_name == f"{kind.name}.v{kind.version}.schema"
    assert kind.table not in TABLES, "a type's table is made because the type names it"
    assert IMPORT_TYPES[kind.name] is kind


def test_the_catch_all_comes_last_of_the_import_routes(
    functions: Mapping[str, AppFunction],
) -> None:
    """The host takes the first route that matches in order of function name.

    See docs/platform.md#1.3.
    """
    routes = {
        name: item.route.text
        for name, item in functions.items()
        if item.route is not None and item.route.text.lstrip("/").startswith("api/import/")
    }
    ordered = sorted(routes, key=sort_key)
    assert ordered[-1] == "import_zz_unknown_type"
    assert "{*" in routes["import_zz_unknown_type"]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/api/import/workers", "import_workers"),
        ("POST", "/api/import/documents", "import_documents"),
        ("GET", "/api/documents", "documents_list"),
        ("GET", "/api/documents/1/content", "documents_content"),
        ("POST", "/api/import/wages", "import_zz_unknown_type"),
        ("POST", "/api/import/wages/more", "import_zz_unknown_type"),
        ("GET", "/api/import/workers.v1.schema", "import_schema"),
        ("GET", "/api/imports", "imports_list"),
        ("GET", "/api/imports/1/results", "imports_results"),
        ("GET", "/api/health", "health"),
    ],
)
def test_a_call_reaches_its_function(
    functions: Mapping[str, AppFunction], method: str, path: str, name: str
) -> None:
    assert _reached(functions, method, path) == name


def _reached(functions: Mapping[str, AppFunction], method: str, path: str) -> str:
    routes = [item.route for item in functions.values() if item.route is not None]
    match = find_route(routes, method, path)
    assert match is not None
    return match[0].function_name


# Every import type hands its hooks over in one object, and nothing else lists types.


def test_every_type_of_the_catalogue_has_its_module_in_its_folder() -> None:
    definitions = {name: module.definition for name, module in IMPORT_MODULES.items()}
    assert definitions == dict(IMPORT_TYPES)
    assert [*definitions] == [*IMPORT_TYPES]
    folders = {path.parent.name for path in (ROOT / "shared/imports").glob("*/definition.py")}
    with_module = {path.parent.name for path in (ROOT / "shared/imports").glob("*/module.py")}
    assert folders == with_module - {"pay_and_bill"}
    assert folders == set(IMPORT_TYPES)
    for folder in folders:
        for name in ("model.py", "rules.py"):
            assert (ROOT / "shared/imports" / folder / name).exists(), f"{folder} has no {name}"


# These modules may list types: the two catalogues.
LISTS_TYPES = {"shared.imports.registry", "shared.imports.modules"}


def test_no_module_outside_the_folder_of_a_type_lists_or_compares_types() -> None:
    """A new type needs no change in any of them: what differs between types is a hook."""
    named = [
        f"{module.name}:{line} names {name}"
        for module in modules("function_app.py", "functions", "shared", "cli", "local_host")
        if module.name not in LISTS_TYPES and _type_folder(module.name) is None
        for line, name in _types_in_choices(module.tree)
    ]
    assert named == []


@pytest.mark.parametrize(
    "code",
    [
        "if kind is WORKERS: pass",
        "wait = 5 if name == 'licenses' else 1",
        "match kind.name:\n    case LICENSES.name: pass",
        "match name:\n    case 'authdata': pass",
        "special = {DOCUMENTS.name: 1}",
        "special = dict(documents=1, **{'documents': 2})",
        "order = [definition.WORKERS]",
        "if name in ('workers', 'x'): pass",
        "special['assignments'] = 1",
    ],
)
def test_a_list_or_comparison_of_types_is_found(code: str) -> None:
    assert len(_types_in_choices(ast.parse(code))) == 1


def test_a_type_may_be_named_in_a_call() -> None:
    assert _types_in_choices(ast.parse("import_call(gateway, WORKERS, 'workers')")) == []


def _type_folder(name: str) -> str | None:
    parts = name.split(".")
    return parts[2] if parts[:2] == ["shared", "imports"] and len(parts) == 4 else None


def _types_in_choices(tree: ast.AST) -> list[tuple[int, str]]:
    return sorted({type_name for node in _choices(tree) for type_name in _types_in(node)})


def _choices(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        match node:
            case ast.If(test=choice) | ast.IfExp(test=choice) | ast.While(test=choice):
                yield choice
            case ast.match_case(pattern=choice) | ast.Subscript(slice=choice):
                yield choice
            case ast.Compare() | ast.Dict() | ast.List() | ast.Tuple() | ast.Set():
                yield node


def _types_in(node: ast.AST) -> Iterator[tuple[int, str]]:
    constants = {name.upper() for name in IMPORT_TYPES}
    for each in ast.walk(node):
        match each:
            case ast.Constant(value=str(name), lineno=line) if name in IMPORT_TYPES:
                yield line, name
            case ast.Name(id=name, lineno=line) | ast.Attribute(attr=name, lineno=line):
                if name in constants:
                    yield line, name


def test_every_scope_but_read_and_admin_shows_the_imports_of_one_type() -> None:
    scopes = [kind.scope for kind in IMPORT_TYPES.values() if kind.scope]
    reading = {Scope.READ_RECORDS, Scope.READ_SENSITIVE, Scope.ADMIN}
    assert sorted(scopes) == sorted(scope.value for scope in Scope if scope not in reading)
    assert all(not scope.type_name for scope in reading)


# How the app hears of drops is decided when it is indexed.

_ASKED = """
import json
from functions.documents import documents_drop
from functions.row_drops import row_drops
triggers = (documents_drop, row_drops)
asked = [json.loads(each._function.get_function_json()) for each in triggers]
print(json.dumps([each["bindings"][0] for each in asked]))
"""


@pytest.mark.parametrize(
    ("setting", "source"),
    [
        ("", "LogsAndContainerScan"),
        ("polling", "LogsAndContainerScan"),
        ("EventGrid", "EventGrid"),
        ("wrong", "LogsAndContainerScan"),
    ],
)
def test_the_triggers_have_the_source_of_the_setting_and_hand_on_bytes(
    setting: str, source: str
) -> None:
    environ = {**os.environ, "GATEWAY_DROP_SOURCE": setting}
    ran = subprocess.run(
        [sys.executable, "-c", _ASKED],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=True,
        text=True,
    )
    bindings = json.loads(ran.stdout)
    paths = [(binding["source"], binding["path"]) for binding in bindings]
    assert paths == [(source, "document-drop/{name}"), (source, "row-drop/{name}")]
    assert {binding["dataType"] for binding in bindings} == {"BINARY"}
