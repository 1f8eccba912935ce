"""The emulator with `by_index.cjs` answers as it does without it, whatever was done before."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.data.tables import TableClient, TableServiceClient, UpdateMode

from local_host.setup import azurite
from local_host.setup.azurite import Azurite, Programs, command, read_endpoints
from tests.waiting import wait_until

PROGRAMS = Programs.from_environ()
PARTITIONS = ["1", "01", "1.0", "a", "A", "a|b", "a'b", "__proto__", "é"]
ROWS = ["7", "007", "7e0", "x", "X", "constructor", "ü", "x'y"]
STEPS = 400


@contextmanager
def without_index(folder: Path) -> Iterator[Azurite]:
    """The emulator without `by_index.cjs`."""
    words = command(PROGRAMS, None)
    at = next(number for number, word in enumerate(words) if word.endswith("by_index.cjs"))
    log = folder / "plain.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(words[: at - 1] + words[at + 1 :], stdout=output) as process,
    ):
        try:
            wait_until(lambda: len(read_endpoints(log.read_text("utf-8"))) == 3, "the emulator")
            yield Azurite(process, read_endpoints(log.read_text("utf-8")))
        finally:
            process.terminate()


@pytest.mark.integration
@pytest.mark.skipif(not PROGRAMS.script.exists(), reason="the emulator is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_the_map_of_keys_changes_no_answer(seed: int, tmp_path: Path) -> None:
    with (
        azurite.running(PROGRAMS) as indexed,
        without_index(tmp_path) as plain,
        TableServiceClient.from_connection_string(indexed.connection_string) as one,
        TableServiceClient.from_connection_string(plain.connection_string) as other,
    ):
        tables = [service.create_table("keys") for service in (one, other)]
        choice = random.Random(seed)
        for number in range(STEPS):
            step = random_step(choice, number)
            first, second = (answer(step, table) for table in tables)
            assert first == second, number
        first, second = ([dict(each) for each in table.list_entities()] for table in tables)
        assert first == second
        assert first


Step = Callable[[TableClient], object]


def random_step(choice: random.Random, number: int) -> Step:
    """A write, a transaction or a query."""
    partition = choice.choice(PARTITIONS)
    entity: dict[str, Any] = {
        "PartitionKey": partition,
        "RowKey": choice.choice(ROWS),
        "Number": number,
    }
    kind = choice.randrange(8)
    if kind <= 2:
        rows = choice.sample(ROWS, choice.randrange(1, len(ROWS)))
        names = ["create", "upsert", "delete", "update"]
        weights = [3, 6, 1, 1]
        operations: list[Any] = [
            (choice.choices(names, weights)[0], {**entity, "RowKey": row}) for row in rows
        ]
        return lambda table: len(table.submit_transaction(operations))
    if kind == 3:
        return lambda table: table.delete_entity(partition, entity["RowKey"])
    if kind == 4:
        mode = choice.choice([UpdateMode.MERGE, UpdateMode.REPLACE])
        field = choice.choice(["Number", "Other"])
        changed = {"PartitionKey": partition, "RowKey": entity["RowKey"], field: number}
        return lambda table: bool(table.upsert_entity(changed, mode))
    if kind == 5:
        stale = choice.random() < 0.3
        return lambda table: update_read(table, entity, is_stale=stale)
    if kind == 6:
        return lambda table: dict(table.get_entity(partition, entity["RowKey"]))
    quoted, size = partition.replace("'", "''"), choice.randrange(1, 5)
    query = choice.choice(
        [
            f"PartitionKey eq '{quoted}'",
            f"PartitionKey eq '{quoted}' and RowKey ge '7' and RowKey lt 'x'",
            f"PartitionKey eq '{quoted}' and Number gt {number // 2}",
            f"PartitionKey eq '{quoted}' or RowKey eq 'x'",
            "PartitionKey ge '1' and PartitionKey lt 'b'",
            "RowKey eq '7'",
        ]
    )
    return lambda table: [
        [dict(each) for each in page]
        for page in table.query_entities(query, results_per_page=size).by_page()
    ]


def update_read(table: TableClient, entity: dict[str, Any], *, is_stale: bool) -> None:
    """Replace an entity if it is as it was read, or as it never was."""
    read = table.get_entity(entity["PartitionKey"], entity["RowKey"])
    etag = "W/\"datetime'2000-01-01T00%3A00%3A00.0000000Z'\"" if is_stale else read.metadata["etag"]
    table.update_entity(
        entity, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
    )


def answer(step: Step, table: TableClient) -> object:
    """What it returned, or the status and code of its refusal."""
    try:
        return step(table)
    except HttpResponseError as error:
        return type(error).__name__, error.status_code, getattr(error, "error_code", None)
