"""Rows in files: the same rows in every format give the same records and the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from shared.auth.integrations import ReadPermission
from tests.builders import a_full_worker, workers
from tests.e2e.gateway_process import WORKERS, Answer, GatewayProcess, started
from tests.files_of_rows import XLSX_WRITERS, SentFile, as_csv, as_json, as_ndjson, as_xlsx
from tests.tenants import Sender, a_sender

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
SETTINGS = {"GATEWAY_WAIT_SECONDS": "100"}


@pytest.fixture(name="large", scope="module")
def fixture_large(
    storage: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that takes larger bodies than that of the other tests."""
    with started(storage, tmp_path_factory.mktemp("large"), **SETTINGS) as process:
        yield process


def send(gateway: GatewayProcess, sender: Sender, address: str, file: SentFile) -> Answer:
    return gateway.call("POST", address, file.body, {**sender.headers, **file.headers})


def records(gateway: GatewayProcess, sender: Sender, name: str) -> list[Any]:
    """The records of a tenant as stored, in their order."""
    answer = gateway.get(f"/api/records/{name}?pageSize=1000", sender)
    assert answer.status == 200, answer.body
    return [item["record"] for item in answer.json["items"]]


def in_some_formats(rows: Sequence[Any]) -> list[SentFile]:
    """Each format, delimiter, charset and gzip at least once; the unit tests have all of them."""
    return [
        as_json(rows),
        as_json(rows).compressed(),
        as_ndjson(rows),
        as_csv(rows, "comma-utf8"),
        as_csv(rows, "semicolon-bom").compressed(),
        as_csv(rows, "tab-utf16"),
        *(as_xlsx(rows, writer) for writer in XLSX_WRITERS),
    ]


def test_the_same_500_workers_in_every_format_are_the_same_records_and_answers(
    large: GatewayProcess, storage: str
) -> None:
    rows = workers(500, 3, KnownAs='"Ö"\n;,', WorkerAddress={"Postcode": "01234"}, Gender=1)
    rows[::20] = [a_full_worker(number, "E9") for number in range(25)]
    rows[7]["Gender"] = "x"
    rows[8]["PersonnelRef"] = "W000011"
    expected: tuple[Any, Any] | None = None
    for file in in_some_formats(rows):
        sender = a_sender(storage, read=ReadPermission.FULL)
        answer = send(large, sender, WORKERS, file)
        assert answer.status == 200, (file, answer.body[:500])
        seen = answer.json, records(large, sender, "workers")
        expected = expected or seen
        assert seen == expected, file.name
    assert expected is not None
    assert len(expected[1]) == 498
