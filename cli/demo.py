"""The demo: a tenant, an integration, and samples that are sent over HTTP.

Every start of `dev.py run` runs it (as `python -m cli.demo`), so it imports little and reads
storage only if it has no function key yet, or one that is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from cli.calls import Answer, KeyPair, call, post_document, send_import
from cli.environment import (
    ROOT,
    command_caller,
    commands_settings,
    data_folder,
    trusted_certificate,
)
from cli.terminal import print_errors, say
from shared.errors import ConflictError, GatewayError, NotFoundError
from shared.imports.import_type import OnExisting
from shared.imports.modules import IMPORT_MODULES
from shared.imports.registry import import_type

# The demo's documents: one is sent by a call, one dropped into the container.
#
# The tenant's feature and round are created if they are missing.

DOCUMENT_SAMPLES = ROOT / "samples" / "documents"
BY_CALL, BY_DROP = DOCUMENT_SAMPLES / "payslip.pdf", DOCUMENT_SAMPLES / "notice.jpg"
# The external reference of a worker of `samples/workers.json`.
DEMO_WORKER = "hr-7f3a-0418"
DEMO_ROUND = "2026-01"
UPLOAD_FIELDS = {
    "workerexternalId": DEMO_WORKER,
    "communicationRoundCode": DEMO_ROUND,
    "isSummary": "false",
    "generationTime": "2026-01-31",
}
_DROP_SECONDS = 30.0
_DROP_PAUSE = 0.1
_NOT_PREPARED = (403, 404)


def show_documents(url: str, keys: KeyPair, tenant: str) -> str:
    """Send both documents and print the results. Returns the deviation from the design, or ""."""
    answer = _upload(url, keys, tenant)
    if answer.status != 200:
        return answer.refusal
    [item] = answer.document["items"]
    say(["", "samples/documents"])
    outcome = _describe_upload(item["documentId"], is_replaced=item["overridden"])
    say([f"  {BY_CALL.name}  by call  {outcome}"])
    document = _find_dropped(url, keys)
    if document:
        say([f"  {BY_DROP.name}   by drop  stored since {document['importTime']}"])
        return ""
    return _drop_and_wait(url, keys, tenant)


def _drop_and_wait(url: str, keys: KeyPair, tenant: str) -> str:
    """Drop a file and wait until it is listed. Only at the first start, which takes longer."""
    settings = commands_settings()
    if settings.storage.uses_identity:
        say([f"  {BY_DROP.name}   not dropped: this storage account is reached by identity"])
        return ""
    from azure.storage.blob import BlobClient

    from shared.storage.names import DOCUMENT_DROP

    name = "/".join((tenant, quote(DEMO_ROUND, safe=""), quote(DEMO_WORKER, safe=""), BY_DROP.name))
    connection = settings.storage.connection_string
    with BlobClient.from_connection_string(connection, DOCUMENT_DROP, name) as blob:
        blob.upload_blob(BY_DROP.read_bytes(), overwrite=True)
    deadline = time.monotonic() + _DROP_SECONDS
    while time.monotonic() < deadline:
        document = _find_dropped(url, keys)
        if document:
            outcome = _describe_upload(document["documentId"], is_replaced=False)
            say([f"  {BY_DROP.name}   by drop  {outcome}"])
            return ""
        time.sleep(_DROP_PAUSE)
    return f"the dropped file {BY_DROP.name} was not imported within {_DROP_SECONDS:.0f} s."


def _upload(url: str, keys: KeyPair, tenant: str) -> Answer:
    answer = post_document(url, keys.headers(), BY_CALL, UPLOAD_FIELDS)
    if answer.status not in _NOT_PREPARED:
        return answer
    import asyncio

    asyncio.run(_prepare_tenant(tenant))
    return post_document(url, keys.headers(), BY_CALL, UPLOAD_FIELDS)


async def _prepare_tenant(tenant: str) -> None:
    from shared.bootstrap import open_gateway
    from shared.errors import ConflictError
    from shared.imports.documents.rounds import Feature, RoundStatus

    async with open_gateway(commands_settings(), command_caller()) as gateway:
        documents = gateway.documents
        await documents.features.switch(tenant, Feature.DOCUMENTS, True)
        try:
            await documents.rounds.add(tenant, DEMO_ROUND, RoundStatus.OPEN)
        except ConflictError:
            await documents.rounds.change(tenant, DEMO_ROUND, RoundStatus.OPEN)


def _find_dropped(url: str, keys: KeyPair) -> dict[str, Any]:
    """The document of the dropped file in the list; empty if it is missing."""
    address = (
        f"{url}/api/documents?workerexternalId={DEMO_WORKER}&communicationRoundCode={DEMO_ROUND}"
    )
    answer = call("GET", address, keys.headers())
    items = answer.document["items"] if answer.status == 200 else []
    return next((dict(item) for item in items if item["fileName"] == BY_DROP.name), {})


def _describe_upload(document_id: str, *, is_replaced: bool) -> str:
    return f"{'replaced' if is_replaced else 'new'}  {document_id}"


# The rows of the vendor's answer as text: a line for each row, with its messages below.

Result = dict[str, Any]


BAD_ON_PURPOSE = "(bad on purpose)"
IMPORTED_BEFORE = "(imported by an earlier start)"


def row_lines(
    results: list[Result],
    made_to_fail: Set[str] = frozenset(),
    imported_before: Set[int] = frozenset(),
) -> Iterator[str]:
    """Index, key and status of each row, then a line for each of its messages.

    `made_to_fail` has the record id of each row that should fail, `imported_before` the indexes of
    rows that fail because their records are there. Such rows are marked.
    """
    width = max((len(_row_key(result)) for result in results), default=0)
    for index, result in enumerate(results):
        is_marked = any(part["value"] in made_to_fail for part in result["recordIds"])
        mark = f"  {BAD_ON_PURPOSE}" if is_marked else ""
        if index in imported_before:
            mark = f"  {IMPORTED_BEFORE}"
        yield f"index {index:<3}  {_row_key(result):<{width}}  {result['importStatus']}{mark}"
        for message in result["messages"]:
            yield f"         {_message_line(message)}"


def from_neutral(items: list[dict[str, Any]]) -> list[Result]:
    """Results of `/api/imports/{id}/results` in the order of the payload."""
    return [
        {
            "recordIds": [{"field": name, "value": text} for name, text in item["key"].items()],
            "importStatus": "Error" if item["outcome"] == "failed" else "OK",
            "messages": item["messages"],
        }
        for item in sorted(items, key=lambda item: int(item["index"]))
    ]


def failed_rows(results: list[Result]) -> list[Result]:
    """The rows that failed."""
    return [result for result in results if result["importStatus"] == "Error"]


def _row_key(result: Result) -> str:
    return " / ".join(str(part["value"]) for part in result["recordIds"]) or "(no key)"


def _message_line(message: dict[str, Any]) -> str:
    parts = [f"{message[name]}" for name in ("fieldName", "fieldValue") if name in message]
    field = f" [{' = '.join(parts)}]" if parts else ""
    return f"{message['messageType']} {message['errorID']}: {message['message']}{field}"


# The demo's batch of authentication data, which is staged and processed.

BATCH_FILE = "samples/authdata.json"
BATCH_PATH = "/api/admin/authdata"
# The index of the record without an employee id; the answer's `line` counts records from 1.
BATCH_MADE_TO_FAIL = 4
BATCH_TOTALS = {"totalRecords": 5, "totalErrors": 1, "totalDuplicates": 1}
_BATCH_COUNTS = {
    "totalNew": "new",
    "totalUpdates": "updates",
    "totalNoChange": "no change",
    "totalDuplicates": "duplicates",
    "totalErrors": "errors",
}


def show_batch(url: str, keys: KeyPair) -> str:
    """Stage and process the sample, and print both answers. Returns the deviation, or ""."""
    headers = {"Content-Type": "application/json", **keys.headers()}
    staged_answer = call(
        "POST", f"{url}{BATCH_PATH}/stage", headers, (ROOT / BATCH_FILE).read_bytes()
    )
    if staged_answer.status != 200:
        return staged_answer.refusal
    batch = staged_answer.document["fileLogId"]
    process_answer = call("POST", f"{url}{BATCH_PATH}/{batch}", keys.headers())
    if process_answer.status == 200:
        say(["", f"{BATCH_FILE}: batch {batch}"])
        say([f"  staged     {batch_totals(staged_answer.document)}"])
        say([f"  processed  {batch_totals(process_answer.document)}"])
        say(batch_lines(process_answer.document))
    return find_batch_fault(staged_answer, process_answer)


def batch_totals(answer: dict[str, Any]) -> str:
    """The counts of an answer on a line."""
    counts = ", ".join(f"{answer[name]} {words}" for name, words in _BATCH_COUNTS.items())
    return f"{answer['totalRecords']} records: {counts}"


def batch_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A line for each record, and each error with the index of its record in the sample."""
    for each in answer["employeeDetails"]:
        yield f"       {each['Key'] or '(no id)':<8} {each['Value']}"
    for error in answer["errorDetails"]:
        mark = f"  {BAD_ON_PURPOSE}" if error["line"] - 1 == BATCH_MADE_TO_FAIL else ""
        yield f"         index {error['line'] - 1}: {error['value']}{mark}"
    for each in answer["duplicateAuthValues"]:
        employee_id = each["employeeId"] or "(no id)"
        yield f"       {employee_id:<8} Duplicate: another record of the batch counts"


def find_batch_fault(staged: Answer, processed: Answer) -> str:
    """The deviation of the batch from the design, or ""."""
    if processed.status != 200:
        return processed.refusal
    answer = processed.document
    if answer != staged.document:
        return "the answer to the processed batch is not the one to the staged batch."
    if {name: answer[name] for name in BATCH_TOTALS} != BATCH_TOTALS:
        return "the batch of authentication data does not have the totals of the sample."
    if [error["line"] - 1 for error in answer["errorDetails"]] != [BATCH_MADE_TO_FAIL]:
        return f"of the batch, only the record of index {BATCH_MADE_TO_FAIL} should fail."
    return ""


TENANT = "demo"
TENANT_NAME = "Demo Payroll"
SOFTWARE_KEY = "DEMO-SOFTWARE"
_FIELDS_SHOWN = 5
TRY_IT = '[{"EmployerRef":"DEMO","PersonnelRef":"CURL-1","Surname":"Sample"}]'


@dataclass(frozen=True, slots=True)
class Sample:
    """A file of samples, and the last record id of each row in it that should fail."""

    type_name: str
    made_to_fail: frozenset[str]

    @property
    def path(self) -> str:
        """The path of its call."""
        return import_type(self.type_name).address

    @property
    def body(self) -> bytes:
        """The file's content."""
        return (ROOT / "samples" / f"{self.type_name}.json").read_bytes()

    def imported_before(self, results: list[Result]) -> frozenset[int]:
        """The rows that fail because their records are there, of a type that refuses that."""
        kind = import_type(self.type_name)
        if kind.on_existing is not OnExisting.ERROR:
            return frozenset()
        ids = {entry.id for entry in kind.messages}
        errors = [
            {entry["errorID"] for entry in result["messages"] if entry["messageType"] == "Error"}
            for result in results
        ]
        return frozenset(
            index for index, error_ids in enumerate(errors) if error_ids and error_ids <= ids
        )


SAMPLES = tuple(
    Sample(name, module.sample_failures)
    for name, module in IMPORT_MODULES.items()
    if module.sample_failures is not None
)


def main() -> int:
    """Run the demo. Returns 0 if the results of all samples are as designed."""
    parser = argparse.ArgumentParser(prog="python -m cli.demo", description=__doc__)
    default_url = os.environ.get("GATEWAY_URL")
    parser.add_argument(
        "--url",
        default=default_url,
        required=not default_url,
        help="the running gateway (or GATEWAY_URL)",
    )
    url = str(parser.parse_args().url).rstrip("/")
    try:
        faults = [show_sample(url, sample) for sample in SAMPLES]
        keys = read_keys(_key_file()) or KeyPair(SOFTWARE_KEY, "")
        faults.append(show_batch(url, keys))
        faults.append(show_documents(url, keys, TENANT))
        faults.append(show_worker(url, keys))
        say(render_credentials(url, keys).split("\n"))
        if not any(faults):
            say(closing_lines(url))
    except GatewayError as error:
        print_errors([str(error)])
        return 1
    for fault in filter(None, faults):
        print_errors([f"The demo did not go as expected: {fault}"])
    return 1 if any(faults) else 0


def show_sample(url: str, sample: Sample) -> str:
    """Send a sample and print the results of its rows. Returns the deviation, or ""."""
    answer = send_sample(url, sample)
    if answer.status == 200 and "results" not in answer.document:
        answer = _with_results(url, answer)
    if answer.status == 200:
        say(["", f"samples/{sample.type_name}.json"])
        results = answer.document["results"]
        say(row_lines(results, sample.made_to_fail, sample.imported_before(results)))
    return find_fault(sample, answer)


def _with_results(url: str, answer: Answer) -> Answer:
    """Add the import's results to a vendor's answer that has no result for each row."""
    keys = read_keys(_key_file())
    import_id = answer.headers.get("x-import-id", "")
    address = f"{url}/api/imports/{import_id}/results?pageSize=1000"
    results = call("GET", address, keys.headers() if keys else {})
    if results.status != 200:
        return results
    return Answer(200, answer.headers, {"results": from_neutral(results.document["items"])})


def send_sample(url: str, sample: Sample) -> Answer:
    """Send a sample with the saved key, or with a new one if that is refused."""
    body = sample.body
    key_file = _key_file()
    keys = read_keys(key_file)
    answer = send_import(url, sample.path, body, keys) if keys else None
    if keys is None or answer is None or answer.status == 401:
        import asyncio

        keys = KeyPair(SOFTWARE_KEY, asyncio.run(issue_key()))
        save_keys(key_file, keys)
        answer = send_import(url, sample.path, body, keys)
    return answer


def find_fault(sample: Sample, answer: Answer) -> str:
    """The deviation from the design, or "": the bad rows fail with messages, and no others."""
    if answer.status != 200:
        return answer.refusal
    results = answer.document["results"]
    if len(results) != len(json.loads(sample.body)):
        return f"not every row of the {sample.type_name} has a result."
    before = sample.imported_before(results)
    failed = failed_rows([row for index, row in enumerate(results) if index not in before])
    keys_of_failed = [{part["value"] for part in result["recordIds"]} for result in failed]
    if len(failed) != len(sample.made_to_fail) or not all(
        names & sample.made_to_fail for names in keys_of_failed
    ):
        expected = ", ".join(sorted(sample.made_to_fail))
        return f"of the {sample.type_name}, exactly these should fail: {expected}."
    has_no_message = any(not result["messages"] for result in failed)
    return "a failed row has no message." if has_no_message else ""


def show_worker(url: str, keys: KeyPair) -> str:
    """Read a worker of the sample back and print it; what was not as designed, or ""."""
    [_, sent, *_] = json.loads(Sample("workers", frozenset()).body)
    key = {name: sent[name] for name in ("EmployerRef", "PersonnelRef")}
    path = f"/api/records/workers?{urlencode(key)}"
    answer = call("GET", f"{url}{path}", keys.headers())
    if answer.status != 200:
        return answer.refusal
    say(["", f"GET {path}"])
    items = answer.document["items"]
    if len(items) != 1:
        return "the imported worker cannot be read back."
    say(record_lines(items[0]))
    stored = items[0]["record"]
    names = ("EmployerRef", "PersonnelRef", "Surname", "ExternalWorkerRef")
    is_same = all(stored.get(name) == sent[name] for name in names)
    return "" if is_same else "the worker that is read back is not the one that was imported."


def record_lines(item: dict[str, Any]) -> Iterator[str]:
    """The first fields of a record, what is masked, and who wrote it."""
    record, masked = item["record"], item.get("masked", [])
    shown = [name for name, value in record.items() if isinstance(value, str)][:_FIELDS_SHOWN]
    yield "  " + ", ".join(f"{name} {record[name]}" for name in shown) + ", …"
    within = ", ".join(dict.fromkeys(path.partition(".")[0] for path in masked))
    yield f"  {len(record)} fields; masked for this integration: values of {within or 'none'}"
    yield f"  last changed by import {item['changedBy']}"


async def issue_key() -> str:
    """Issue a new function key. Creates the demo's tenant and integration if they are missing."""
    # Storage is slow to import, and a second start does not need it.
    from shared.auth.integrations import Integration
    from shared.bootstrap import open_gateway

    async with open_gateway(commands_settings(), command_caller()) as gateway:
        tenants = gateway.tenants
        try:
            await tenants.find(TENANT)
        except NotFoundError:
            await tenants.create(TENANT_NAME, TENANT, allows_same_name=True)
        try:
            integration = Integration(TENANT, SOFTWARE_KEY, "Demo software")
            return (await tenants.add_integration(integration)).function_key
        except ConflictError:
            return (await tenants.rotate_key(TENANT, SOFTWARE_KEY)).function_key


def _key_file() -> Path:
    return data_folder() / "demo.json"


def read_keys(key_file: Path) -> KeyPair | None:
    """The saved key pair; None if it is missing or cannot be read."""
    try:
        document = json.loads(key_file.read_text("utf-8"))
        return KeyPair(str(document["softwareKey"]), str(document["functionKey"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_keys(key_file: Path, keys: KeyPair) -> None:
    """Save the key pair in a file that only this user can read."""
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key_file.unlink(missing_ok=True)
    document = {
        "tenant": TENANT,
        "softwareKey": keys.software_key,
        "functionKey": keys.function_key,
    }
    handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
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
Console          {url}/console (sign in with the two keys)

Import a worker of your own:
curl -sS{trust} '{url}/api/import/workers?version=1' -H 'Content-Type: application/json' \
-H 'X-Software-Key: {keys.software_key}' -H 'X-Functions-Key: {keys.function_key}' -d '{TRY_IT}'
"""


def closing_lines(url: str) -> list[str]:
    """The lines after a demo with the designed results: a summary, and the next steps."""
    rows = sum(len(json.loads(sample.body)) for sample in SAMPLES)
    bad = sum(len(sample.made_to_fail) for sample in SAMPLES)
    return [
        f"Summary: of {rows} rows {rows - bad} are stored, and {bad} failed, all of them bad on "
        f"purpose. Of the {BATCH_TOTALS['totalRecords']} records of authentication data, "
        f"{BATCH_TOTALS['totalErrors']} is bad on purpose. 2 documents are stored.",
        f"What to do next: send the call above, read {url}/api/docs, or make a tenant of your own "
        'in another terminal: python3 dev.py manage tenant create "Acme"',
    ]


if __name__ == "__main__":
    sys.exit(main())
