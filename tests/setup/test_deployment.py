"""What is deployed is what .funcignore leaves, and its packages are one locked, hashed set."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pathspec import GitIgnoreSpec

from local_host.setup.build import app_files

ROOT = Path(__file__).resolve().parents[2]
# Nothing imports aiohttp by name: the asynchronous clients of Azure Storage load it.
LOADED_BY_OTHERS = {"aiohttp"}
HASH = re.compile(r"\s+--hash=sha256:[0-9a-f]{64}")
THIS_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSIONS = ("3.11", "3.12", "3.13")

# Imports every module of the folder, indexes the functions, and renders the published document.
USE_EVERYTHING = """
import importlib, json, pathlib, sys
folder, packages = sys.argv[1:]
sys.path[:0] = [folder, packages]
for path in sorted(pathlib.Path(folder).rglob("*.py")):
    parts = path.relative_to(folder).with_suffix("").parts
    importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
import function_app
print(len(function_app.app.get_functions()))
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the files that a deployment takes from a clean checkout."""
    folder = tmp_path_factory.mktemp("deployed")
    for name in app_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def test_only_the_app_and_its_papers_are_deployed() -> None:
    assert {name.partition("/")[0] for name in app_files()} == {
        "function_app.py", "functions", "shared", "samples", "console", "host.json",
        "requirements.txt", "README.md", "LICENSE",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["data-keys", "authdata-keys", "workers.json", "gateway.env", ".azure/prod/.env", "x/y.csv"],
)
def test_a_file_that_lies_in_the_checkout_by_chance_is_not_deployed(name: str) -> None:
    """The package lies in the account whose sealed values those keys open."""
    left_out = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    assert left_out.match_file(name)
    assert not left_out.match_file("shared/app.py")


def test_of_the_console_its_files_are_deployed_and_nothing_that_only_its_checks_need() -> None:
    ends = {Path(name).suffix for name in app_files() if name.startswith("console/")}
    assert ends == {"", ".css", ".html", ".js", ".md", ".preact"}


def test_the_deployed_app_has_no_control_call_of_the_stand_in_and_nothing_that_moves_its_clock(
    deployed: Path,
) -> None:
    """docs/stand-in.md: the control calls belong to the local host."""
    code = {path: path.read_text("utf-8") for path in deployed.rglob("*.py")}
    assert [str(path) for path, text in code.items() if "_standin" in text] == []
    hooks = ("use_clock(", "renew_gateway(")
    assert [(path.name, hook) for path, text in code.items() for hook in hooks if hook in text] == [
        ("bootstrap.py", hook) for hook in hooks
    ]


def test_every_locked_package_has_hashes_so_that_pip_checks_them() -> None:
    requirements = [line for line in logical_lines("requirements.txt") if line]
    assert len(requirements) > 30
    assert [line for line in requirements if not HASH.search(line)] == []
    for line in requirements:
        assert re.fullmatch(r"==[0-9][0-9A-Za-z.]*", str(Requirement(HASH.sub("", line)).specifier))


def test_every_package_that_the_deployed_code_imports_is_required_directly(deployed: Path) -> None:
    imported = {package for path in deployed.rglob("*.py") for package in packages_of(path)}
    assert {"werkzeug", "azure-core", "pydantic-core"} <= imported
    optional = direct_names("requirements-telemetry.in")
    assert direct_names("requirements.in") == (imported | LOADED_BY_OTHERS) - optional


def test_every_package_that_the_other_code_imports_is_required_directly() -> None:
    outside = ("cli", "local_host", "tests", "benchmarks")
    # The peers of the benchmarks run in environments of their own, which benchmarks/peers lists.
    paths = [path for folder in outside for path in (ROOT / folder).rglob("*.py")]
    imported = {
        package
        for path in paths
        if not {"node_modules", "apps", "peers"} & set(path.parts)
        for package in packages_of(path)
    }
    files = (
        "requirements.in",
        "requirements-telemetry.in",
        "requirements-dev.txt",
        "requirements-worker.txt",
    )
    required = {name for file in files for name in direct_names(file)}
    assert {"rich", "typer", "pytest"} <= imported
    assert imported - required == set()


def test_the_set_with_telemetry_is_the_locked_one_and_more() -> None:
    locked = set(requirements_of("requirements.txt"))
    larger = requirements_of("requirements-telemetry.txt")
    assert locked < set(larger)
    assert all(HASH.search(line) for line in logical_lines("requirements-telemetry.txt"))
    [api] = [item for item in larger if item.name == "opentelemetry-api"]
    assert api.specifier.contains(metadata.version("opentelemetry-api"))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_locked_set_is_complete_and_has_nothing_else(version: str) -> None:
    """Follows what each package says that it needs. The installed metadata is that of the lock."""
    locked = {canonicalize_name(item.name) for item in locked_requirements(version)}
    assert len(locked) == len(locked_requirements(version))
    environment = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    needed: set[str] = set()
    rest = requirements_of("requirements.in")
    while rest:
        requirement = rest.pop()
        name = canonicalize_name(requirement.name)
        extras = ("", *requirement.extras)
        if requirement.marker and not any(
            requirement.marker.evaluate({**environment, "extra": extra}) for extra in extras
        ):
            continue
        if name in needed:
            continue
        needed.add(name)
        for text in metadata.requires(name) or ():
            inner = Requirement(text)
            if inner.marker is None or any(
                inner.marker.evaluate({**environment, "extra": extra}) for extra in extras
            ):
                inner.marker = None
                rest.append(inner)
    assert locked == needed


def test_this_environment_has_exactly_the_locked_versions() -> None:
    differing = [
        f"{item.name}: {metadata.version(item.name)} is installed, not {item.specifier}"
        for item in locked_requirements(THIS_VERSION)
        if not item.specifier.contains(metadata.version(item.name))
    ]
    assert differing == []


def test_the_deployed_folder_runs_on_the_locked_packages_alone(
    deployed: Path, tmp_path: Path
) -> None:
    for item in locked_requirements(THIS_VERSION):
        link_package(item.name, tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", USE_EVERYTHING, str(deployed), str(tmp_path)],
        env={"PATH": os.environ["PATH"], "AzureWebJobsStorage": "UseDevelopmentStorage=true"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_the_page_of_licences_lists_every_package_of_a_deployment() -> None:
    page = (ROOT / "docs/supply-chain.md").read_text("utf-8")
    listed = re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \|$", page, re.MULTILINE)[2:]
    names = {canonicalize_name(item.name) for item in locked_requirements(THIS_VERSION)}
    here = [(name, licence_of(name)) for name in sorted(names)]
    # A package of another version of Python is listed too.
    assert [row for row in listed if row[0] in names] == here
    everywhere = {canonicalize_name(item.name) for item in requirements_of("requirements.txt")}
    assert {name for name, _ in listed} == everywhere


def test_the_bill_of_materials_has_the_locked_set_with_versions_and_licences(
    tmp_path: Path,
) -> None:
    file = tmp_path / "sbom.json"
    command = [sys.executable, "dev.py", "sbom", str(file)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    components = json.loads(file.read_text("utf-8"))["components"]
    listed = {f"{canonicalize_name(each['name'])}=={each['version']}" for each in components}
    locked = locked_requirements(THIS_VERSION)
    assert listed == {f"{canonicalize_name(each.name)}{each.specifier}" for each in locked}
    assert all(each["licenses"] for each in components)


def test_no_requirement_file_names_a_host() -> None:
    for path in ROOT.glob("*require*"):
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text()), path


def packages_of(path: Path) -> set[str]:
    """The packages that bring the modules that a file imports, at its head or later."""
    packages: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        packages.update(package for name in names if (package := package_of(name)))
    return packages


@cache
def package_of(module: str) -> str:
    """The package that brings a module; "" for the standard library and for our own code."""
    top = module.partition(".")[0]
    ours = (ROOT / top, ROOT / f"{top}.py", ROOT / "standin" / top)
    if top in sys.stdlib_module_names or any(path.exists() for path in ours):
        return ""
    owners = set(owners_of_modules().get(top, [top]))
    if len(owners) > 1:
        # A namespace of several packages, as azure is: the longest known name decides.
        parts = module.split(".")
        names = [".".join(parts[:length]) for length in range(len(parts), 1, -1)]
        owners = next(owned for name in names if (owned := modules_in_namespaces().get(name)))
    assert len(owners) == 1, f"{module} comes from {owners}"
    return canonicalize_name(next(iter(owners)))


@cache
def owners_of_modules() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


@cache
def modules_in_namespaces() -> dict[str, set[str]]:
    """Dotted name of a package inside a shared namespace -> the distribution that has it."""
    shared = {top for top, owners in owners_of_modules().items() if len(set(owners)) > 1}
    modules: dict[str, set[str]] = {}
    for owner in {owner for top in shared for owner in owners_of_modules()[top]}:
        for file in metadata.files(owner) or ():
            if file.parts[0] in shared and file.name.endswith(".py"):
                parts = file.with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                modules.setdefault(name, set()).add(owner)
    return modules


def link_package(name: str, folder: Path) -> None:
    """Give `folder` the files of one installed package."""
    distribution = metadata.distribution(name)
    for file in distribution.files or ():
        if file.parts[0] not in ("..", "bin"):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(distribution.locate_file(file))))


def logical_lines(name: str) -> list[str]:
    """The requirements of a file, each on one line, without comments and options."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def requirements_of(name: str) -> list[Requirement]:
    return [Requirement(HASH.sub("", line)) for line in logical_lines(name)]


def direct_names(name: str) -> set[str]:
    return {canonicalize_name(item.name) for item in requirements_of(name)}


def locked_requirements(version: str) -> list[Requirement]:
    """What pip takes from requirements.txt for a version of Python on this platform."""
    environment = {"python_version": version, "python_full_version": f"{version}.0"}
    return [
        item
        for item in requirements_of("requirements.txt")
        if item.marker is None or item.marker.evaluate(environment)
    ]


def licence_of(name: str) -> str:
    """What a package says of its licence: the expression, else the classifier, else the text."""
    about = metadata.metadata(name)
    classifiers = about.get_all("Classifier") or []
    named = [
        line.rpartition(":: ")[2]
        for line in classifiers
        if line.startswith("License ::") and line != "License :: OSI Approved"
    ]
    texts: list[str] = [*(about.get_all("License-Expression") or []), ", ".join(named)]
    texts += [*(about.get_all("License") or []), "unknown"]
    return next(text for text in texts if text)
