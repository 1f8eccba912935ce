"""The templates and scripts of a deployment: what can be checked without Azure and its compiler."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pycep
import pytest
import tree_sitter
import tree_sitter_bicep

from local_host.indexing import AppFunction
from local_host.setup.build import BUILD, PYTHON_VERSION
from shared.settings import read_settings
from tests.unit.house.source_tree import ROOT

INFRA = ROOT / "infra"
TEMPLATES = sorted(INFRA.glob("*.bicep"))
KEY = "1:" + "a" * 43 + "="
# The log lines of our own code that an alert may look for.
LOGGED = re.compile(r'log\.(?:event|warning|failure)\(\s*"([a-z_.]+)"')


def parsed(name: str) -> dict[str, Any]:
    return dict(pycep.BicepParser().parse(text=(INFRA / name).read_text("utf-8")))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_valid_bicep(template: Path) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    root = parser.parse(template.read_bytes()).root_node
    assert [error.start_point for error in faults(root)] == []
    parsed(template.name)


def test_a_broken_template_would_be_found() -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    assert list(faults(parser.parse(b"resource app 'x' = { name: }").root_node))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_module_gets_the_parameters_that_it_declares(template: Path) -> None:
    for module in parsed(template.name).get("modules", {}).values():
        config = module["config"].get("config", module["config"])
        declared = parsed(module["detail"]["path"])["parameters"]
        required = {name for name, each in declared.items() if each["default"] is None}
        assert required <= set(config["params"]) <= set(declared)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_name_in_a_template_is_declared_there(template: Path) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_bicep.language()))
    root = parser.parse(template.read_bytes()).root_node
    document = parsed(template.name)
    kinds = ("parameters", "variables", "resources", "modules")
    declared = {name for kind in kinds for name in document.get(kind, {})}
    # The items of loops, and the functions and types of the language.
    loops = set(re.findall(r"\[for \(?(\w+)(?:, (\w+)\))? in", template.read_text("utf-8")))
    declared |= {name for names in loops for name in names if name}
    assert set(used_names(root)) - declared == set()


def test_the_parameters_that_azd_fills_are_those_of_the_template() -> None:
    filled = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
    declared = parsed("main.bicep")["parameters"]
    required = {name for name, each in declared.items() if each["default"] is None}
    assert required <= set(filled) <= set(declared)


def test_the_gateway_accepts_the_settings_of_the_deployment() -> None:
    settings = parsed("gateway.bicep")["variables"]["settings"]["value"]
    environ = {name: value if isinstance(value, str) else "" for name, value in settings.items()}
    for service in ("blob", "queue", "table"):
        address = f"https://account.{service}.core.windows.net/"
        environ[f"AzureWebJobsStorage__{service}ServiceUri"] = address
    environ["AzureWebJobsStorage__clientId"] = "11111111-1111-1111-1111-111111111111"
    for name in ("GATEWAY_DATA_KEYS", "GATEWAY_AUTHDATA_KEYS"):
        secret = name.removeprefix("GATEWAY_").replace("_", "-").lower()
        assert f"/{secret}" in json.dumps(settings[name])
        assert secret in (INFRA / "hooks/make-keys.sh").read_text()
        environ[name] = KEY
    environ["WEBSITE_HOSTNAME"] = "func-x.azurewebsites.net"
    settings_read = read_settings(environ)
    assert settings_read.storage.uses_identity
    assert int(environ["FUNCTIONS_REQUEST_BODY_SIZE_LIMIT"]) > settings_read.max_body_bytes


def test_event_grid_calls_every_blob_trigger_of_the_app(
    functions: Mapping[str, AppFunction],
) -> None:
    triggers = {
        (function.trigger["path"].partition("/")[0], name)
        for name, function in functions.items()
        if function.kind == "blobTrigger"
    }
    drops = parsed("events.bicep")["variables"]["drops"]["value"]
    assert {(drop["container"], drop["function"]) for drop in drops} == triggers


def test_an_alert_looks_for_a_line_that_the_gateway_logs() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "shared").rglob("*.py"))
    logged = set(LOGGED.findall(code))
    rules = parsed("alerts.bicep")["variables"]["rules"]["value"]
    searched = {
        each for rule in rules for each in re.findall(r'startswith "([^"]+)"', rule["query"])
    }
    assert len(searched) >= 4
    assert searched <= logged


def test_the_page_of_the_deployment_says_what_to_do_at_each_alert() -> None:
    page = (ROOT / "docs/deploy.md").read_text("utf-8").partition("## Alerts")[2]
    described = re.findall(r"^\| `([a-z0-9-]+)` \|", page.partition("\n## ")[0], re.MULTILINE)
    rules = parsed("alerts.bicep")["variables"]["rules"]["value"]
    assert sorted(described) == sorted(rule["name"] for rule in rules)


def test_the_health_check_is_called_from_outside() -> None:
    """Otherwise the line that `storage-unavailable` looks for would never be written."""
    address = parsed("gateway.bicep")["modules"]["alerts"]["config"]
    assert "/api/health" in json.dumps(address)
    test = parsed("alerts.bicep")["resources"]["availability"]
    assert "healthAddress" in json.dumps(test)


def test_no_line_that_an_alert_counts_is_sampled() -> None:
    settings = parsed("gateway.bicep")["variables"]["settings"]["value"]
    sampling = "AzureFunctionsJobHost__logging__applicationInsights__samplingSettings__isEnabled"
    assert settings[sampling] == "false"


def test_spans_of_the_sdks_which_have_keys_of_records_are_off() -> None:
    settings = parsed("gateway.bicep")["variables"]["telemetrySettings"]["value"]
    disabled = settings["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"].split(",")
    assert {"azure_sdk", "requests", "urllib", "urllib3"} <= set(disabled)


def test_a_pipeline_gets_no_role_on_data_or_keys() -> None:
    text = (INFRA / "gateway.bicep").read_text("utf-8")
    assert "var isAdministrator = !empty(principalId) && principalType == 'User'" in text
    granted = re.findall(r"name: guid\([\w.]+, principalId, ", text)
    guarded = re.findall(r"if \(isAdministrator\)|in administratorRoles:", text)
    assert len(granted) == len(guarded) == 2


def test_the_pipeline_sets_every_setting_that_azd_fills_and_pins_what_it_runs() -> None:
    workflow = (ROOT / ".github/workflows/deploy.yml").read_text("utf-8")
    filled = (INFRA / "main.parameters.json").read_text()
    names = set(re.findall(r"\$\{(\w+)", filled)) - {"AZURE_PRINCIPAL_ID"}
    assert {name for name in names if f"{name}:" not in workflow} == set()
    actions = re.findall(r"uses: (\S+)", workflow)
    exact = re.compile(r"@([0-9a-f]{40}|v\d+\.\d+\.\d+)$")
    assert [action for action in actions if not exact.search(action)] == []


def test_what_is_deployed_is_what_the_build_makes() -> None:
    azd = (ROOT / "azure.yaml").read_text("utf-8")
    assert f"project: {BUILD.relative_to(ROOT)}\n" in azd
    assert "remoteBuild: false\n" in azd
    template = (INFRA / "gateway.bicep").read_text("utf-8")
    runtime = re.search(r"name: 'python'\s+version: '([\d.]+)'", template)
    assert runtime is not None
    assert runtime[1] == PYTHON_VERSION
    assert "python3 dev.py build" in (INFRA / "hooks/build.sh").read_text()


@pytest.mark.parametrize("script", sorted(INFRA.glob("hooks/*.sh")), ids=lambda path: path.name)
def test_a_script_is_valid_and_may_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert f"infra/hooks/{script.name}" in (ROOT / "azure.yaml").read_text()


class TestMakeKeys:
    """`make-keys.sh` with a stand-in for `az`, which keeps secrets in a folder."""

    @pytest.fixture
    def vault(self, tmp_path: Path) -> Path:
        (tmp_path / "secrets").mkdir()
        (tmp_path / "deleted").mkdir()
        program = tmp_path / "az"
        program.write_text(
            "#!/bin/sh\n"
            f'cd "{tmp_path}" || exit 1\n'
            "[ -e offline ] && exit 1\n"
            "[ -e refused ] && rm refused && exit 1\n"
            'case "$3" in\n'
            "list) ls secrets ;;\n"
            "list-deleted) ls deleted ;;\n"
            'set) cat "$9" > "secrets/$7" ;;\n'
            "*) exit 2 ;;\n"
            "esac\n"
        )
        program.chmod(0o700)
        return tmp_path

    def run(self, vault: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{vault}{os.pathsep}{os.environ['PATH']}"
        fast = {"KEY_TRIES": "2", "KEY_PAUSE": "0"}
        environ = {**os.environ, "PATH": path, "KEY_VAULT_NAME": "kv-x", **fast, **variables}
        script = str(INFRA / "hooks/make-keys.sh")
        return subprocess.run(
            ["sh", script], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
        )

    def test_it_makes_keys_that_the_gateway_accepts_and_keeps_them(self, vault: Path) -> None:
        assert self.run(vault).returncode == 0
        secrets = {path.name: path.read_text() for path in (vault / "secrets").iterdir()}
        environ = {
            "AzureWebJobsStorage": "UseDevelopmentStorage=true",
            "GATEWAY_DATA_KEYS": secrets["data-keys"],
            "GATEWAY_AUTHDATA_KEYS": secrets["authdata-keys"],
        }
        read_settings(environ)
        assert secrets["data-keys"] != secrets["authdata-keys"]
        again = self.run(vault)
        assert (again.returncode, again.stdout) == (0, "")
        assert {path.name: path.read_text() for path in (vault / "secrets").iterdir()} == secrets

    def test_it_makes_nothing_where_the_vault_does_not_answer(self, vault: Path) -> None:
        (vault / "offline").touch()
        assert self.run(vault).returncode != 0
        assert list((vault / "secrets").iterdir()) == []

    def test_it_tries_again_where_the_role_does_not_count_yet(self, vault: Path) -> None:
        (vault / "refused").touch()
        assert self.run(vault).returncode == 0
        assert len(list((vault / "secrets").iterdir())) == 2

    def test_a_pipeline_makes_no_key_and_asks_for_none(self, vault: Path) -> None:
        (vault / "offline").touch()
        done = self.run(vault, AZURE_PRINCIPAL_TYPE="ServicePrincipal")
        assert (done.returncode, done.stderr) == (0, "")
        assert list((vault / "secrets").iterdir()) == []

    def test_it_does_not_replace_a_deleted_key(self, vault: Path) -> None:
        (vault / "deleted/data-keys").touch()
        done = self.run(vault)
        assert done.returncode == 1
        assert "Recover it" in done.stderr
        assert list((vault / "secrets").iterdir()) == []


@pytest.mark.parametrize(("refusals", "status"), [(1, 0), (2, 1)])
def test_the_drops_are_subscribed_once_the_app_answers(
    tmp_path: Path, refusals: int, status: int
) -> None:
    """`subscribe-drops.sh` with a stand-in for `az`, which refuses so many times."""
    for number in range(refusals):
        (tmp_path / f"refusal-{number}").touch()
    program = tmp_path / "az"
    program.write_text(
        f'#!/bin/sh\nfor each in "{tmp_path}"/refusal-*; do\n'
        '[ -e "$each" ] && rm "$each" && exit 1\n'
        "done\nexit 0\n"
    )
    program.chmod(0o700)
    names = ("AZURE_RESOURCE_GROUP", "FUNCTION_APP_NAME", "SYSTEM_TOPIC_NAME", "GATEWAY_URL")
    environ = {**os.environ, **dict.fromkeys(names, "x"), "SUBSCRIBE_TRIES": "2"}
    environ |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SUBSCRIBE_PAUSE": "0"}
    done = subprocess.run(
        ["sh", str(INFRA / "hooks/subscribe-drops.sh")],
        env=environ, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert ("azd hooks run postdeploy" in done.stderr) is bool(status)


def faults(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    """The places that are no Bicep."""
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from faults(child)


def used_names(node: tree_sitter.Node) -> Iterator[str]:
    """The names that a template uses, without those of properties, functions and declarations."""
    for place, child in enumerate(node.named_children):
        is_name = child.type == "identifier" and child.text is not None
        declares = node.type.endswith("_declaration") or node.type in ("for_statement", "for_loop")
        is_key = node.type in ("object_property", "decorator", "call_expression") and place == 0
        if is_name and not declares and not is_key and node.type != "resource_expression":
            yield (child.text or b"").decode()
        else:
            yield from used_names(child)
