"""Azure's own worker library (Python 3.13) indexes and runs every function of the built folder."""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.storage.queue import QueueServiceClient

from local_host.setup.build import PACKAGES, build
from local_host.setup.messages import SetupError
from local_host.setup.paths import LOCAL
from shared.imports.authdata.definition import AUTHDATA
from shared.imports.licenses.definition import LICENSES
from shared.imports.pay_and_bill.contract import PAY_AND_BILL
from shared.imports.registry import MESSAGE_TYPES
from shared.imports.workers.definition import WORKERS
from shared.services.chunk_messages import ChunkMessage
from tests.builders import a_worker
from tests.emulator import AUTHDATA_KEYS, DATA_KEYS, Emulator
from tests.tenants import Sender, a_sender

# The app on the vendor's own worker library, as a child process (Python 3.13).

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(__file__).parent / "vendor" / "native_host.py"
Invocation = dict[str, Any]


@dataclass(frozen=True)
class WorkerLibrary:
    """An interpreter that has the library, the folder of the app, and the storage to run it on."""

    python: str
    app: Path
    storage: str

    def list_functions(self) -> dict[str, Any]:
        """What the library says when it indexes the app; fails where it warns of something."""
        listed = self._run("list", "--strict")
        assert listed.returncode == 0, listed.stdout + listed.stderr
        functions: dict[str, Any] = json.loads(listed.stdout)
        return functions

    def invoke(self, invocations: Sequence[Invocation]) -> list[dict[str, Any]]:
        """Run functions one after another in one process; one answer each."""
        lines = "\n".join(json.dumps(invocation) for invocation in invocations)
        ran = self._run("--compact", "batch", "-", text=lines)
        answers: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
        assert len(answers) == len(invocations), ran.stdout + ran.stderr
        return answers

    def _run(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GATEWAY_", "AzureWebJobs", "PYTHON", "VIRTUAL_ENV"))
        }
        own = {
            "AzureWebJobsStorage": self.storage,
            "GATEWAY_AUTHDATA_KEYS": AUTHDATA_KEYS,
            "GATEWAY_DATA_KEYS": DATA_KEYS,
            "PYTHONUTF8": "1",
            # As the worker of the platform does: the packages of the folder come first.
            "PYTHONPATH": str(self.app / PACKAGES),
        }
        options = [word for word in words if word == "--compact"]
        command = [word for word in words if word != "--compact"]
        return subprocess.run(
            [self.python, str(HOST), "--settings", "none", *options, str(self.app), *command],
            input=text,
            capture_output=True,
            check=False,
            cwd=self.app,
            env={**inherited, **own},
            text=True,
            timeout=100,
        )


# Azure's own worker library indexes every function of the app and runs it.

ADMIN_AREAS = (
    *("tenant", "integrations", "keys", "clients", "profiles", "thresholds", "formats"),
    *("rounds", "audit"),
)
OPENID = (".well-known/openid-configuration", ".well-known/jwks.json")


@pytest.fixture(scope="module")
def built() -> Path:
    """The folder that is deployed; the checkout on a machine that its packages are not for."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return ROOT
    folder = LOCAL / "build-test"
    build(folder)
    return folder


def test_the_built_folder_has_the_app_and_the_locked_packages(built: Path) -> None:
    if built == ROOT:
        pytest.skip("The folder is built for Linux on x86-64.")
    assert {path.name for path in built.iterdir()} == {
        ".python_packages", "function_app.py", "functions", "shared", "samples", "console",
        "host.json", "README.md", "LICENSE",
    }  # fmt: skip
    assert not (built / "console" / "node_modules").exists()
    packages = built / PACKAGES
    lock = (ROOT / "requirements.txt").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE)
    installed = {each.name for each in packages.glob("*.dist-info")}
    missing = {
        name
        for name, version in locked
        if f"{name.replace('-', '_')}-{version}.dist-info" not in installed
    }
    # The locked set has two versions of these, for older Pythons.
    assert missing <= {"azure-functions"}
    compiled = [path.name for path in packages.rglob("*.so")]
    fits = re.compile(r"\.(cpython-313-x86_64-linux-gnu|abi3)\.so$")
    assert len(compiled) > 10
    assert [name for name in compiled if not fits.search(name)] == []


def test_the_folder_with_telemetry_has_its_packages() -> None:
    folder = LOCAL / "build-test-telemetry"
    build(folder, with_telemetry=True)
    names = {path.name.partition("-")[0] for path in (folder / PACKAGES).glob("*.dist-info")}
    assert {"azure_monitor_opentelemetry", "opentelemetry_api", "azure_functions"} <= names


def test_a_folder_with_other_files_is_not_built_over(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SetupError, match="other files"):
        build(tmp_path)
    assert (tmp_path / "mine").exists()


@pytest.fixture(name="library")
def fixture_library(emulator: Emulator, request: pytest.FixtureRequest) -> WorkerLibrary:
    python = os.environ.get("GATEWAY_WORKER_PYTHON", "")
    if not python:
        pytest.skip("GATEWAY_WORKER_PYTHON names no Python 3.13 with azure-functions-runtime")
    built: Path = request.getfixturevalue("built")
    return WorkerLibrary(python, built, emulator.account("native"))


def _import_call(sender: Sender, rows: list[Any], **headers: str) -> Invocation:
    return {
        "method": "POST",
        "url": "/api/import/workers?version=1",
        "headers": {**sender.headers, "Content-Type": "application/json", **headers},
        "body": {"json": rows},
    }


def _get(sender: Sender, url: str) -> Invocation:
    return {"method": "GET", "url": url, "headers": dict(sender.headers)}


@pytest.mark.worker
@pytest.mark.integration
def test_the_library_indexes_every_function_without_a_warning(library: WorkerLibrary) -> None:
    functions = library.list_functions()
    assert functions["warnings"] == []
    names = {function["name"] for function in functions["functions"]}
    assert {"import_workers", "workers_rows_bulk", "sweep", "health"} <= names
    assert "standin" not in json.dumps(functions)


@pytest.mark.worker
@pytest.mark.integration
def test_workers_are_imported_through_the_library(library: WorkerLibrary) -> None:
    sender = a_sender(library.storage)
    rows = [a_worker("P1"), a_worker("P2", Gender="x"), a_worker("P1", Title="Dr")]
    [accepted] = library.invoke([_import_call(sender, rows, Prefer="respond-async")])
    assert accepted["ok"], accepted
    assert accepted["status"] == 202
    import_id = accepted["body_json"]["importId"]

    message = {"function": "workers_rows", **_taken(library.storage)}
    answer_url = f"/api/imports/{import_id}/answer"
    early, done, late, repeated = library.invoke(
        [_get(sender, answer_url), message, _get(sender, answer_url), message]
    )
    assert early["status"] == 202
    assert done["ok"], done
    assert late["status"] == 200
    statuses = [result["importStatus"] for result in late["body_json"]["results"]]
    assert statuses == ["OK", "Error", "OK"]
    assert repeated["ok"], repeated


def _taken(storage: str) -> Invocation:
    """The message that is on the queue, as the host would hand it on."""
    with (
        QueueServiceClient.from_connection_string(storage) as service,
        service.get_queue_client(WORKERS.queue) as queue,
    ):
        message = queue.receive_message()
        assert message is not None
        queue.delete_message(message)
        return {"message": message.content, "encoding": "base64", "id": message.id}


@pytest.mark.worker
@pytest.mark.integration
def test_every_function_runs_on_the_library(library: WorkerLibrary) -> None:
    sender = a_sender(library.storage)
    unknown_tenant = ChunkMessage("nobody", 1, str(uuid.uuid4()), 0).to_text()
    message = {"message": base64.b64encode(unknown_tenant.encode()).decode(), "encoding": "base64"}
    division = "/v1/export/companies/C1/divisions/D1"
    invocations: list[Invocation] = []
    for name in MESSAGE_TYPES:
        url = MESSAGE_TYPES[name].address
        body = '{"employee":[]}' if name == AUTHDATA.name else "[]"
        invocations.append({**_get(sender, url), "method": "POST", "body": body})
        for end in ("rows", "rows_bulk"):
            invocations.append({"function": f"{name}_{end}", **message})
    invocations += [
        _get(sender, "/api/imports"),
        _get(sender, "/api/imports/x"),
        _get(sender, "/api/imports/x/results"),
        _get(sender, "/api/imports/x/answer"),
        _get(sender, "/api/imports/x/failed-rows"),
        _get(sender, "/api/imports/x/failures"),
        _get(sender, "/api/imports/x/unmapped"),
        {**_get(sender, "/api/imports/x/retry"), "method": "POST"},
        {**_get(sender, "/api/imports/x/undo"), "method": "POST"},
        {**_get(sender, "/api/imports/x/cancel"), "method": "POST"},
        _get(sender, "/api/health"),
        _get(sender, "/api/health/queues"),
        _get(sender, "/api/import/workers.v1.schema"),
        _get(sender, "/api/capabilities"),
        _get(sender, "/api/errors"),
        _get(sender, "/api/openapi.json"),
        _get(sender, "/api/docs"),
        _get(sender, "/api/docs/start.js"),
        _get(sender, "/console"),
        _get(sender, "/console/components/Notice.js"),
        {**_get(sender, "/api/import/anything"), "method": "POST", "body": "[]"},
        {"method": "POST", "url": "/connect/token", "body": "grant_type=password"},
        *(
            {"method": "GET", "url": f"{start}/{name}"}
            for start in ("", "/connect")
            for name in OPENID
        ),
        {**_get(sender, f"{AUTHDATA.address}/stage"), "method": "POST", "body": "[]"},
        _get(sender, AUTHDATA.address),
        _get(sender, f"{AUTHDATA.address}/{uuid.uuid4()}"),
        {**_get(sender, f"{AUTHDATA.address}/{uuid.uuid4()}"), "method": "POST"},
        {**_get(sender, LICENSES.address), "method": "DELETE", "body": "[]"},
        {**_get(sender, f"{LICENSES.address}/delete"), "method": "POST", "body": "[]"},
        {**_get(sender, "/api/import/documents"), "method": "POST", "body": ""},
        _get(sender, "/api/documents"),
        _get(sender, "/api/documents/x/content"),
        _get(sender, "/api/records/workers"),
        _get(sender, "/api/changes"),
        _get(sender, "/api/audit"),
        *(_get(sender, f"/api/admin/{area}") for area in ADMIN_AREAS),
        _get(sender, "/api/admin/profiles/hr"),
        {**_get(sender, "/api/admin/secrets"), "method": "POST", "body": "{}"},
        {**_get(sender, "/api/admin/references/currency"), "method": "PUT", "body": "{}"},
        _get(sender, f"{division}/employee-licenses"),
        _get(sender, f"{division}/employees/7/licenses"),
        {"function": "documents_drop", "name": "document-drop/a/b/c/d.pdf", "data": "%PDF-"},
        {"function": "row_drops", "name": "row-drop/a/b/workers/c.json", "data": "[]"},
        {"function": "sweep", "past_due": False},
        {"function": "retention", "past_due": False},
        {"function": "data_keys", "past_due": False},
        {"function": "authdata_upkeep", "past_due": False},
    ]
    answers = library.invoke(invocations)
    assert [answer for answer in answers if not answer["ok"]] == []
    statuses = {answer["function"]: answer["status"] for answer in answers if "status" in answer}
    assert statuses == {
        **{
            f"import_{name}": 200
            for name, kind in MESSAGE_TYPES.items()
            if kind.contract is PAY_AND_BILL
        },
        "authdata_stage": 400,
        "authdata_list": 200,
        "authdata_review": 404,
        "authdata_process": 404,
        "authdata_stage_and_process": 200,
        **dict.fromkeys(("licenses_import", "licenses_delete", "licenses_delete_by_post"), 200),
        "imports_list": 200,
        "imports_show": 404,
        "imports_results": 404,
        "imports_answer": 404,
        "imports_failed_rows": 404,
        "imports_failures": 404,
        "imports_unmapped": 404,
        "imports_retry": 404,
        "imports_undo": 404,
        "imports_cancel": 404,
        **dict.fromkeys(("health", "health_queues"), 200),
        "import_schema": 200,
        **dict.fromkeys(("capabilities", "errors", "openapi", "docs", "docs_file"), 200),
        **dict.fromkeys(("console", "console_file"), 200),
        "import_documents": 403,
        "documents_list": 200,
        "documents_content": 404,
        **dict.fromkeys(("records_list", "changes_list", "audit_list"), 200),
        # The integration of this test may not administer.
        **dict.fromkeys((f"admin_{area}" for area in ADMIN_AREAS), 403),
        **dict.fromkeys(("admin_profile", "admin_secrets", "admin_references"), 403),
        **dict.fromkeys(("licenses_export_division", "licenses_export_employee"), 200),
        "import_zz_unknown_type": 501,
        "connect_token": 400,
        "openid_configuration": 200,
        "openid_configuration_connect": 200,
        "openid_keys": 200,
        "openid_keys_connect": 200,
    }
    listed = {function["name"] for function in library.list_functions()["functions"]}
    assert {answer["function"] for answer in answers} == listed, "a function that was not run"
