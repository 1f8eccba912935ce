"""What is imported while the app is indexed, and what is imported in the background after that."""

from __future__ import annotations

import subprocess
import sys

from shared.imports.registry import IMPORT_TYPES
from tests.unit.house.source_tree import ROOT, modules

SLOW = (
    "aiohttp",
    "azure.core",
    "azure.data",
    "azure.identity",
    "azure.storage",
    "cryptography",
    "jwt",
    "lxml",
    "msal",
    "opentelemetry",
    "pydantic",
    "requests",
    "xlsxwriter",
)
FOR_FEW_CALLS = {"shared.web.console_files"}
"""What a trigger imports late and `functions.late_imports` does not import."""


def _printed(program: str) -> list[str]:
    """The lines that a program prints in a new process."""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_indexing_the_app_imports_the_triggers_and_nothing_else_of_ours() -> None:
    loaded = set(_printed("import sys, function_app; print(*sys.modules, sep='\\n')"))
    assert [name for name in loaded if name.startswith(SLOW)] == []
    triggers = {module.name for module in modules("functions")} - {"functions.late_imports"}
    names = {"shared", "shared.early_settings", "shared.imports", "shared.imports.queue_names"}
    assert {name for name in loaded if name.startswith(("functions", "shared"))} == triggers | names


def test_what_triggers_import_late_is_imported_in_advance() -> None:
    loaded = set(_printed("import sys, functions.late_imports; print(*sys.modules, sep='\\n')"))
    assert {"pydantic", "azure.data.tables", "azure.storage.blob", "azure.storage.queue"} <= loaded
    known = {module.name for module in modules("shared")}
    late = {
        name
        for module in modules("functions")
        for name in module.imported() - module.imported(at_import_time=True)
    }
    assert (late & known) - loaded == FOR_FEW_CALLS


IN_THE_LOOP_OF_A_WORKER = """
import asyncio, sys, threading

async def index():
    import function_app
    print("functions.late_imports" in sys.modules)
    await asyncio.sleep(0)
    print(*[thread.name for thread in threading.enumerate()][1:])
    from functions.loading import wait_until_loaded
    await wait_until_loaded()
    print("functions.late_imports" in sys.modules)

asyncio.run(index())
"""


def test_a_worker_that_has_indexed_the_app_loads_the_rest_in_a_thread() -> None:
    assert _printed(IN_THE_LOOP_OF_A_WORKER) == ["False", "loading_0", "True"]


WITHOUT_A_PACKAGE = """
import asyncio, logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
sys.modules["pydantic"] = None

async def call():
    import function_app
    from functions.documents import documents_list
    from functions.loading import wait_until_loaded
    try:
        await wait_until_loaded()
    except ImportError as error:
        print("raised", error.name)
    del sys.modules["pydantic"]
    await wait_until_loaded()
    print("loaded")

asyncio.run(call())
"""


def test_a_module_that_cannot_be_imported_is_logged_and_fails_each_call() -> None:
    logged, raised, loaded = _printed(WITHOUT_A_PACKAGE)
    assert logged.startswith("modules.not_loaded error=ModuleNotFoundError at=")
    assert (raised, loaded) == ("raised pydantic", "loaded")


QUEUES = """
import json, function_app
for function in function_app.app.get_functions():
    [trigger] = json.loads(function.get_function_json())["bindings"][:1]
    if trigger["type"] == "queueTrigger":
        print(function.get_function_name(), trigger["queueName"])
"""


def test_each_type_with_queues_has_their_triggers() -> None:
    expected = [
        line
        for kind in IMPORT_TYPES.values()
        if kind.has_queues
        for line in (f"{kind.name}_rows {kind.queue}", f"{kind.name}_rows_bulk {kind.bulk_queue}")
    ]
    assert sorted(_printed(QUEUES)) == sorted(expected)
