"""The published document: every call is described, and its page is the package unchanged."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from local_host.indexing import AppFunction
from local_host.routes import find_route
from shared.auth.integrations import ANY, IMPORT, PERMISSIONS
from shared.imports.files.templates import SAMPLES
from shared.imports.registry import IMPORT_TYPES, TYPE_CATALOGUE
from shared.imports.registry import MESSAGE_CATALOGUE as CATALOGUE
from shared.web.openapi.document import (
    VERSION,
    capabilities,
    catalogue_view,
    document,
    operations,
)
from shared.web.openapi.operations import JSON, Access, Limits, Operation
from shared.web.openapi.page import FOLDER
from tests.emulator import settings_for
from tests.unit.house.source_tree import ROOT, Module, modules

# Every function that is called over HTTP is described, and the document made of it is valid.

LIMITS = Limits.of(settings_for(""))
OPERATIONS = operations(LIMITS)


@pytest.fixture(name="published", scope="module")
def fixture_published() -> dict[str, Any]:
    return document(LIMITS)


def test_every_function_with_a_route_is_described(functions: Mapping[str, AppFunction]) -> None:
    routed = {
        (item.name, method)
        for item in functions.values()
        if item.route is not None
        for method in item.route.methods
    }
    assert {(item.function, item.method) for item in OPERATIONS} == routed


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda item: f"{item.method} {item.path}")
def test_a_described_call_reaches_its_function(
    functions: Mapping[str, AppFunction], operation: Operation
) -> None:
    routes = [item.route for item in functions.values() if item.route is not None]
    guid = "00000000-0000-0000-0000-000000000001"
    match = find_route(routes, operation.method, re.sub(r"\{\w+\}", guid, operation.path))
    assert match is not None
    assert match[0].function_name == operation.function


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda item: f"{item.method} {item.path}")
def test_the_parameters_of_an_address_are_those_of_its_route(
    functions: Mapping[str, AppFunction], operation: Operation
) -> None:
    named = re.findall(r"\{(\w+)\}", operation.path)
    described = [item.name for item in operation.parameters if item.place == "path"]
    assert sorted(described) == sorted(named)


def test_every_call_with_a_credential_names_its_permission_and_no_other_call_does() -> None:
    unnamed = [item for item in OPERATIONS if bool(item.permission) is (item.access is Access.OPEN)]
    assert unnamed == []
    assert {item.permission for item in OPERATIONS} - {"", ANY} == {*PERMISSIONS} - {IMPORT}


def test_the_document_is_valid(published: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(published).iter_errors()] == []


def test_every_property_of_the_document_says_what_it_means(published: dict[str, Any]) -> None:
    properties = dict(properties_in(published, ""))
    assert len(properties) > 300
    assert [path for path, schema in properties.items() if not schema.get("description")] == []


def properties_in(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every schema, references among them, by its place in the document."""
    if isinstance(node, list):
        for place, item in enumerate(node):
            yield from properties_in(item, f"{path}[{place}]")
    elif isinstance(node, dict):
        properties = node.get("properties")
        if isinstance(properties, dict) and "type" in node:
            yield from ((f"{path}.{name}", item) for name, item in properties.items())
        for name, item in node.items():
            yield from properties_in(item, f"{path}/{name}")


def test_a_misspelt_document_is_not_valid(published: dict[str, Any]) -> None:
    broken = json.loads(json.dumps(published))
    broken["paths"]["/api/health"]["psot"] = broken["paths"]["/api/health"].pop("get")
    assert [*OpenAPIV31SpecValidator(broken).iter_errors()] != []


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION


def test_every_import_type_has_a_call_and_every_body_of_rows_a_sample() -> None:
    carried = [item for item in OPERATIONS if item.message_type]
    assert {item.message_type for item in carried} == set(IMPORT_TYPES)
    samples = {item.body.sample for item in carried if item.body and JSON in item.body.media}
    assert samples == {path.name for path in SAMPLES.glob("*.json")}


def test_what_the_document_reads_is_deployed() -> None:
    ignored = (ROOT / ".funcignore").read_text("utf-8").split()
    assert {"samples", "shared"} & set(ignored) == set()


def test_capabilities_follow_the_catalogue() -> None:
    view = capabilities(LIMITS)
    assert [item["type"] for item in view["messageTypes"]] == [
        kind.name for kind in TYPE_CATALOGUE.all
    ]
    assert all(item["calls"] for item in view["messageTypes"])


def test_the_errors_are_the_message_table() -> None:
    errors = catalogue_view()["errors"]
    assert [item["errorID"] for item in errors] == sorted(CATALOGUE)
    assert all(item["message"] == CATALOGUE[item["errorID"]].text for item in errors)


def test_the_document_opens_with_the_keys_and_how_to_get_them(published: dict[str, Any]) -> None:
    opening = published["info"]["description"]
    assert "Which key goes where" in opening
    schemes = published["components"]["securitySchemes"].values()
    assert all(scheme["description"].endswith(".") for scheme in schemes)
    for name in ("X-Functions-Key", "X-Software-Key", "/connect/token", "how to get it"):
        assert name in opening


# Texts for callers over HTTP name no command: a caller has the gateway's address only.

COMMAND = re.compile(
    r"manage\.py|dev\.py|`(tenant|integration|key|client|feature|round|threshold|format|reference"
    r"|poison|records|imports|signing-key) [a-z]"
)
# These texts are for administrators: the use cases of `manage.py` alone, the settings, and the page
# of the contract, which says to the user of a local gateway how to make keys.
FOR_ADMINISTRATORS = {
    "shared.web.openapi.document",
    "shared.settings",
    "shared.services.admin.clients",
    "shared.services.record_repair",
    "shared.imports.documents.rounds",
    "shared.services.admin.tenants",
}
# The refusals of these are for administrators too; each is a change that only a command makes.
ADMINISTRATORS_CALLS = {
    ("shared.imports.documents.rounds", "switch"),
    ("shared.imports.documents.rounds", "add"),
    ("shared.imports.documents.rounds", "change"),
    ("shared.imports.authdata.staging", "_merge"),
}
FOR_CALLERS = [
    each for each in modules("shared", "functions") if each.name not in FOR_ADMINISTRATORS
]


@pytest.mark.parametrize("module", FOR_CALLERS, ids=lambda module: module.name)
def test_no_text_names_a_command(module: Module) -> None:
    assert [text for text in texts(module) if COMMAND.search(text)] == []


def texts(module: Module) -> Iterator[str]:
    """Every literal text of a module that is no docstring."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(module.tree):
        name = getattr(node, "name", "")
        if (module.name, name) in ADMINISTRATORS_CALLS:
            skipped.update(ast.walk(node))
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                skipped.add(statement.value)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in skipped:
            yield node.value


# The page's files are those of the npm package, unchanged, and they are deployed.

SWAGGER_UI_VERSION = "5.35.0"
FILES = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui-bundle.js.LICENSE.txt": "37eb6e7e59aed57b2c1acf076574b818ea07b74265717e0bd67b59e0baf9abbb",  # noqa: E501
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_package_is_unchanged(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == FILES[name]


def test_the_folder_of_the_page_has_no_other_files() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*FILES, "README.md"}


def test_the_documents_name_the_version_of_swagger_ui() -> None:
    for page in (FOLDER / "README.md", ROOT / "docs" / "supply-chain.md"):
        assert SWAGGER_UI_VERSION in page.read_text("utf-8")


# The console's packages are those of its lock file, unchanged.

CONSOLE = ROOT / "console"
OF_PACKAGES = {
    "htm/standalone.module.js": "htm/preact/standalone.module.js",
    "htm/LICENSE": "htm/LICENSE",
    "htm/LICENSE.preact": "preact/LICENSE",
    "pico/pico.min.css": "@picocss/pico/css/pico.min.css",
    "pico/LICENSE.md": "@picocss/pico/LICENSE.md",
}
INSTALLED = CONSOLE / "node_modules"


@pytest.mark.skipif(not INSTALLED.is_dir(), reason="`dev.py check` has not set up the console")
def test_the_files_of_the_consoles_packages_are_unchanged() -> None:
    changed = [
        name
        for name, source in OF_PACKAGES.items()
        if (CONSOLE / "packages" / name).read_bytes() != (INSTALLED / source).read_bytes()
    ]
    assert changed == [], "copy them out of console/node_modules (console/packages/README.md)"


def test_the_console_has_no_other_files_of_packages() -> None:
    folder = CONSOLE / "packages"
    there = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    assert there == {*OF_PACKAGES, "README.md", "htm/standalone.module.d.ts"}


def test_the_documents_name_the_versions_of_the_consoles_packages() -> None:
    locked = json.loads((CONSOLE / "package-lock.json").read_bytes())["packages"]
    for page in (CONSOLE / "packages" / "README.md", ROOT / "docs" / "supply-chain.md"):
        text = page.read_text("utf-8")
        for package in ("htm", "@picocss/pico"):
            assert f"{package} {locked[f'node_modules/{package}']['version']}" in text


def test_the_console_searches_by_the_filters_of_the_records(published: dict[str, Any]) -> None:
    page = (ROOT / "console" / "pages" / "records.js").read_text("utf-8")
    table = page.partition("export const FILTERS = ")[2].partition(";")[0]
    filters = json.loads(re.sub(r",(\s*})", r"\1", re.sub(r"(\w+):", r'"\1":', table)))
    of_all = {"importId", "deleted", "pageSize", "continuation"}
    assert filters == {
        path.removeprefix("/api/records/"): [
            each["name"] for each in item["get"]["parameters"] if each.get("in") == "query"
            and each["name"] not in of_all
        ]
        for path, item in published["paths"].items()
        if path.startswith("/api/records/")
    }  # fmt: skip
