"""The demo's batch of authentication data: staged, reviewed by eye, processed.

Like all of the demo, it imports little (`cli.demo`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.calls import Answer, KeyPair, call
from cli.rows import BAD_ON_PURPOSE
from cli.surroundings import ROOT
from cli.terminal import say

BATCH_FILE = "samples/authdata.json"
BATCH_PATH = "/api/admin/authdata"
BATCH_MADE_TO_FAIL = 4
"""The index of the record without an employee id; the answer's `line` counts records from 1."""
BATCH_TOTALS = {"totalRecords": 5, "totalErrors": 1, "totalDuplicates": 1}
_BATCH_COUNTS = ("New", "Updates", "NoChange", "Duplicates", "Errors")


def show_batch(url: str, keys: KeyPair) -> str:
    """Stage and process the sample and print both answers; what was not as designed, or ""."""
    headers = {"Content-Type": "application/json", **keys.headers()}
    staged = call("POST", f"{url}{BATCH_PATH}/stage", headers, (ROOT / BATCH_FILE).read_bytes())
    if staged.status != 200:
        return staged.refusal
    batch = staged.document["fileLogId"]
    processed = call("POST", f"{url}{BATCH_PATH}/{batch}", keys.headers())
    if processed.status == 200:
        say(["", f"{BATCH_FILE}: batch {batch}"])
        say([f"  staged     {batch_totals(staged.document)}"])
        say([f"  processed  {batch_totals(processed.document)}"])
        say(batch_lines(processed.document))
    return find_batch_fault(staged, processed)


def batch_totals(answer: dict[str, Any]) -> str:
    """The counts of an answer on a line."""
    counts = ", ".join(f"{answer[f'total{name}']} {_words(name)}" for name in _BATCH_COUNTS)
    return f"{answer['totalRecords']} records: {counts}"


def batch_lines(answer: dict[str, Any]) -> Iterator[str]:
    """A line for each record, and each error with the index of its record in the sample."""
    for each in answer["employeeDetails"]:
        yield f"       {each['Key'] or '(no id)':<8} {each['Value']}"
    for error in answer["errorDetails"]:
        mark = f"  {BAD_ON_PURPOSE}" if error["line"] - 1 == BATCH_MADE_TO_FAIL else ""
        yield f"         index {error['line'] - 1}: {error['value']}{mark}"
    for each in answer["duplicateAuthValues"]:
        known = each["employeeId"] or "(no id)"
        yield f"       {known:<8} Duplicate: another record of the batch counts"


def find_batch_fault(staged: Answer, processed: Answer) -> str:
    """What is not as designed, "" where all is."""
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


def _words(name: str) -> str:
    return "no change" if name == "NoChange" else name.lower()
