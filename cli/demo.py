"""The demo: a tenant, an integration, and the sample workers sent through the front door.

Part of every start of `dev.py run` (as `python -m cli.demo`), so it imports little and goes
to storage only where it has no function key yet, or one that is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from cli.calls import Answer, KeyPair, send_import
from cli.rows import failed_rows, row_lines
from cli.surroundings import ROOT, commands_settings, data_folder
from shared.errors import ConflictError, GatewayError, NotFoundError

TENANT = "demo"
TENANT_NAME = "Demo Payroll"
SOFTWARE_KEY = "DEMO-SOFTWARE"
SAMPLE = ROOT / "samples" / "workers.json"
MADE_TO_FAIL = "00420"
"""The PersonnelRef of the sample's one bad row."""
TRY_IT = '[{"EmployerRef":"DEMO","PersonnelRef":"CURL-1","Surname":"Sample"}]'


def main() -> int:
    """Run the demo; 0 where the sample went in as designed."""
    parser = argparse.ArgumentParser(prog="python -m cli.demo", description=__doc__)
    given = os.environ.get("GATEWAY_URL")
    parser.add_argument(
        "--url", default=given, required=not given, help="the running gateway (or GATEWAY_URL)"
    )
    url = str(parser.parse_args().url).rstrip("/")
    try:
        keys, answer = send_sample(url)
    except GatewayError as error:
        print(error, file=sys.stderr)
        return 1
    fault = find_fault(answer)
    if answer.status == 200:
        print(*row_lines(answer.document["results"]), sep="\n")
    print(render_credentials(url, keys))
    if fault:
        print(f"The demo did not go as expected: {fault}", file=sys.stderr)
    return 1 if fault else 0


def send_sample(url: str) -> tuple[KeyPair, Answer]:
    """Send the sample with the remembered key, or with a new one where that is refused."""
    body = SAMPLE.read_bytes()
    memory = data_folder() / "demo.json"
    keys = recall(memory)
    answer = send_import(url, "workers", body, keys) if keys else None
    if keys is None or answer is None or answer.status == 401:
        import asyncio

        keys = KeyPair(SOFTWARE_KEY, asyncio.run(issue_key()))
        remember(memory, keys)
        answer = send_import(url, "workers", body, keys)
    return keys, answer


def find_fault(answer: Answer) -> str:
    """What is not as designed, "" where all is: one row fails with messages, the others do not."""
    if answer.status != 200:
        return answer.refusal
    results = answer.document["results"]
    if len(results) != len(json.loads(SAMPLE.read_bytes())):
        return "not every row of the sample has a result."
    failed = failed_rows(results)
    references = [part["value"] for result in failed for part in result["recordIds"]]
    if len(failed) != 1 or MADE_TO_FAIL not in references:
        return f"the worker {MADE_TO_FAIL} is made to fail, and nothing else."
    return "" if failed[0]["messages"] else "the failed row does not say why."


async def issue_key() -> str:
    """A new function key of the demo's integration; tenant and integration are made if need be."""
    # Storage is slow to import, and a second start does without it.
    from shared.auth.integration import Integration
    from shared.bootstrap import open_gateway

    async with open_gateway(commands_settings()) as gateway:
        tenants = gateway.tenants
        try:
            await tenants.find(TENANT)
        except NotFoundError:
            await tenants.create(TENANT_NAME, TENANT)
        try:
            wanted = Integration(TENANT, SOFTWARE_KEY, "Demo software")
            return (await tenants.add_integration(wanted)).function_key
        except ConflictError:
            return (await tenants.rotate_key(TENANT, SOFTWARE_KEY)).function_key


def recall(memory: Path) -> KeyPair | None:
    """The remembered key pair, None where there is none that can be read."""
    try:
        found = json.loads(memory.read_text("utf-8"))
        return KeyPair(str(found["softwareKey"]), str(found["functionKey"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(memory: Path, keys: KeyPair) -> None:
    """Keep the key pair where only this user can read it."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.unlink(missing_ok=True)
    document = {
        "tenant": TENANT,
        "softwareKey": keys.software_key,
        "functionKey": keys.function_key,
    }
    handle = os.open(memory, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(document, file)


def render_credentials(url: str, keys: KeyPair) -> str:
    """The address, the credentials, and a call to paste."""
    return f"""
Gateway          {url}
Tenant           {TENANT} ({TENANT_NAME})
X-Software-Key   {keys.software_key}
X-Functions-Key  {keys.function_key}

Import a worker of your own:
curl -sS '{url}/api/import/workers?version=1' -H 'Content-Type: application/json' \
-H 'X-Software-Key: {keys.software_key}' -H 'X-Functions-Key: {keys.function_key}' -d '{TRY_IT}'
"""


if __name__ == "__main__":
    sys.exit(main())
