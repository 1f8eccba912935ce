"""The demo: a tenant, an integration, and the samples sent through the front door.

Part of every start of `dev.py run` (as `python -m cli.demo`), so it imports little and goes
to storage only where it has no function key yet, or one that is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cli.calls import Answer, KeyPair, call, send_import
from cli.demo_batch import BATCH_TOTALS, show_batch
from cli.demo_documents import show_documents
from cli.rows import failed_rows, from_neutral, row_lines
from cli.surroundings import ROOT, commands_settings, data_folder, trusted_certificate
from cli.terminal import complain, say
from shared.errors import ConflictError, GatewayError, NotFoundError
from shared.imports.registry import import_type

TENANT = "demo"
TENANT_NAME = "Demo Payroll"
SOFTWARE_KEY = "DEMO-SOFTWARE"
TRY_IT = '[{"EmployerRef":"DEMO","PersonnelRef":"CURL-1","Surname":"Sample"}]'


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of samples, and the last record id of each row in it that is made to fail."""

    type_name: str
    made_to_fail: frozenset[str]

    @property
    def path(self) -> str:
        """Where it is sent."""
        return import_type(self.type_name).address

    @property
    def body(self) -> bytes:
        """The file's content."""
        return (ROOT / "samples" / f"{self.type_name}.json").read_bytes()


SAMPLES = (
    Sample("workers", frozenset({"00420"})),
    Sample("assignments", frozenset({"A-2204", "SG-0009"})),
    Sample("licenses", frozenset({"D-5521", "00990"})),
)


def main() -> int:
    """Run the demo; 0 where the samples went in as designed."""
    parser = argparse.ArgumentParser(prog="python -m cli.demo", description=__doc__)
    given = os.environ.get("GATEWAY_URL")
    parser.add_argument(
        "--url", default=given, required=not given, help="the running gateway (or GATEWAY_URL)"
    )
    url = str(parser.parse_args().url).rstrip("/")
    try:
        faults = [show_sample(url, sample) for sample in SAMPLES]
        keys = recall(_memory()) or KeyPair(SOFTWARE_KEY, "")
        faults.append(show_batch(url, keys))
        faults.append(show_documents(url, keys, TENANT))
        say(render_credentials(url, keys).split("\n"))
        if not any(faults):
            say(closing_lines(url))
    except GatewayError as error:
        complain([str(error)])
        return 1
    for fault in filter(None, faults):
        complain([f"The demo did not go as expected: {fault}"])
    return 1 if any(faults) else 0


def show_sample(url: str, sample: Sample) -> str:
    """Send a sample and print what became of its rows; what was not as designed, or ""."""
    answer = send_sample(url, sample)
    if answer.status == 200 and "results" not in answer.document:
        answer = _with_results(url, answer)
    if answer.status == 200:
        say(["", f"samples/{sample.type_name}.json"])
        say(row_lines(answer.document["results"], sample.made_to_fail))
    return find_fault(sample, answer)


def _with_results(url: str, answer: Answer) -> Answer:
    """For vendors whose answer has no result for each row: the import's own results."""
    keys = recall(_memory())
    import_id = answer.headers.get("x-import-id", "")
    address = f"{url}/api/imports/{import_id}/results?pageSize=1000"
    found = call("GET", address, keys.headers() if keys else {})
    if found.status != 200:
        return found
    return Answer(200, answer.headers, {"results": from_neutral(found.document["items"])})


def send_sample(url: str, sample: Sample) -> Answer:
    """Send a sample with the remembered key, or with a new one where that is refused."""
    body = sample.body
    memory = _memory()
    keys = recall(memory)
    answer = send_import(url, sample.path, body, keys) if keys else None
    if keys is None or answer is None or answer.status == 401:
        import asyncio

        keys = KeyPair(SOFTWARE_KEY, asyncio.run(issue_key()))
        remember(memory, keys)
        answer = send_import(url, sample.path, body, keys)
    return answer


def find_fault(sample: Sample, answer: Answer) -> str:
    """What is not as designed, "" where all is: the bad rows fail with messages, no others do."""
    if answer.status != 200:
        return answer.refusal
    results = answer.document["results"]
    if len(results) != len(json.loads(sample.body)):
        return f"not every row of the {sample.type_name} has a result."
    failed = failed_rows(results)
    named = [{part["value"] for part in result["recordIds"]} for result in failed]
    if len(failed) != len(sample.made_to_fail) or not all(
        names & sample.made_to_fail for names in named
    ):
        expected = ", ".join(sorted(sample.made_to_fail))
        return f"of the {sample.type_name}, exactly these should fail: {expected}."
    silent = any(not result["messages"] for result in failed)
    return "a failed row has no message." if silent else ""


async def issue_key() -> str:
    """A new function key of the demo's integration; tenant and integration are made if need be."""
    # Storage is slow to import, and a second start does without it.
    from shared.auth.integrations import Integration
    from shared.bootstrap import open_gateway

    async with open_gateway(commands_settings()) as gateway:
        tenants = gateway.tenants
        try:
            await tenants.find(TENANT)
        except NotFoundError:
            await tenants.create(TENANT_NAME, TENANT, allows_same_name=True)
        try:
            wanted = Integration(TENANT, SOFTWARE_KEY, "Demo software")
            return (await tenants.add_integration(wanted)).function_key
        except ConflictError:
            return (await tenants.rotate_key(TENANT, SOFTWARE_KEY)).function_key


def _memory() -> Path:
    return data_folder() / "demo.json"


def recall(memory: Path) -> KeyPair | None:
    """The remembered key pair, None where there is none that can be read."""
    try:
        found = json.loads(memory.read_text("utf-8"))
        return KeyPair(str(found["softwareKey"]), str(found["functionKey"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(memory: Path, keys: KeyPair) -> None:
    """Keep the key pair where only this user can read it."""
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
    certificate = trusted_certificate(url)
    trust = f" --cacert '{certificate}'" if certificate else ""
    return f"""
Gateway          {url}
Tenant           {TENANT} ({TENANT_NAME})
X-Software-Key   {keys.software_key}
X-Functions-Key  {keys.function_key}
Documentation    {url}/api/docs

Import a worker of your own:
curl -sS{trust} '{url}/api/import/workers?version=1' -H 'Content-Type: application/json' \
-H 'X-Software-Key: {keys.software_key}' -H 'X-Functions-Key: {keys.function_key}' -d '{TRY_IT}'
"""


def closing_lines(url: str) -> list[str]:
    """What the samples came to where all went as designed, and what to do next."""
    rows = sum(len(json.loads(sample.body)) for sample in SAMPLES)
    bad = sum(len(sample.made_to_fail) for sample in SAMPLES)
    return [
        f"Summary: of {rows} rows {rows - bad} were imported, and {bad} failed, all of them bad on "
        f"purpose. Of the {BATCH_TOTALS['totalRecords']} records of authentication data, "
        f"{BATCH_TOTALS['totalErrors']} is bad on purpose. 2 documents are stored.",
        f"What to do next: send the call above, read {url}/api/docs, or make a tenant of your own "
        'in another terminal: python3 dev.py manage tenant create "Acme"',
    ]


if __name__ == "__main__":
    sys.exit(main())
