"""The fault proxy does to a request and its answer what each fault says, and nothing else."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.blob import BlobServiceClient
from azure.storage.queue import QueueServiceClient

from tests.emulator import Emulator
from tests.faults.proxy import (
    Act,
    Answer,
    ApplyLate,
    ApplyTwice,
    CutAnswer,
    CutConnection,
    Delay,
    Fault,
    FaultProxy,
    Hang,
    ReplaceBody,
    Request,
    Rule,
    Service,
    Trickle,
    running_proxy,
    throttled,
)
from tests.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]
TABLE = "FaultProxyTests"
_SERIAL = iter(range(1_000_000))


@pytest.fixture(name="storage", scope="module")
def fixture_storage(emulator: Emulator) -> str:
    storage = emulator.account("proxied")
    with TableServiceClient.from_connection_string(storage) as service:
        service.create_table_if_not_exists(TABLE)
    return storage


@contextmanager
def a_table(storage: str, **options: object) -> Iterator[TableClient]:
    """The table, by a client that never tries again."""
    never = {"retry_total": 0, "read_timeout": 10, **options}
    with TableClient.from_connection_string(storage, TABLE, **never) as table:
        yield table


def an_entity() -> dict[str, str]:
    return {"PartitionKey": "p", "RowKey": f"r{next(_SERIAL)}", "Text": "x" * 50}


def is_stored(storage: str, entity: dict[str, str]) -> bool:
    with a_table(storage) as table:
        return bool(list(table.query_entities(f"RowKey eq '{entity['RowKey']}'")))


def insert(proxy: FaultProxy, fault: Fault) -> tuple[dict[str, str], Exception | None]:
    """Insert an entity under that fault; what the client raised."""
    entity = an_entity()
    rule = proxy.add(Rule(fault, Service.TABLE, "POST", TABLE, times=1))
    try:
        with a_table(proxy.connection_string) as table:
            table.create_entity(entity)
    except Exception as error:
        return entity, error
    finally:
        assert rule.applied == 1
    return entity, None


def send_raw(proxy: FaultProxy, request: Request) -> bytes:
    """Send the very bytes of a request again; everything that comes back until the end."""
    port = int(proxy.connection_string.split(f"{request.service}Endpoint=http://127.0.0.1:")[1][:5])
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(request.raw)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        try:
            while part := connection.recv(65_536):
                parts.append(part)
        except ConnectionResetError:
            parts.append(b"<reset>")
        return b"".join(parts)


def a_query(proxy: FaultProxy, storage: str) -> Request:
    """A signed request whose answer has head and body."""
    seen: list[Request] = []
    proxy.observers.append(seen.append)
    with a_table(proxy.connection_string) as table:
        list(table.query_entities("PartitionKey eq 'nothing'"))
    proxy.observers.clear()
    return seen[0]


def test_without_rules_all_three_services_work_through_the_proxy(storage: str) -> None:
    with running_proxy(storage) as proxy:
        text = proxy.connection_string
        with a_table(text) as table:
            entity = an_entity()
            table.create_entity(entity)
            table.submit_transaction([("upsert", an_entity()), ("upsert", an_entity())])
        with QueueServiceClient.from_connection_string(text) as queues:
            queue = queues.create_queue("fault-proxy")
            queue.send_message("hello")
            assert [message.content for message in queue.receive_messages()] == ["hello"]
            queue.delete_queue()
        with BlobServiceClient.from_connection_string(
            text, max_block_size=1_000_000, max_single_put_size=1_000_000
        ) as blobs:
            container = blobs.create_container("fault-proxy")
            content = b"0123456789" * 300_000
            container.upload_blob("large", content)
            assert container.download_blob("large").readall() == content
            copied = container.get_blob_client("copy")
            copied.start_copy_from_url(container.get_blob_client("large").url)
            assert copied.get_blob_properties().size == len(content)
            container.delete_container()
        assert is_stored(storage, entity)
        assert {each.service for each in proxy.exchanges} == set(Service)
        assert all(each.status and each.fault is None for each in proxy.exchanges)


def _do_nothing() -> None:
    """The action of a fault whose action does not matter."""


def _name_of(parameter: object) -> str:
    """The same in every process that collects the tests: a function's address is left out."""
    return re.sub(" at 0x[0-9a-f]+", "", str(parameter))


@pytest.mark.parametrize(
    ("fault", "applied", "raises"),
    [
        (Delay(0.05), True, None),
        (Answer(500), False, HttpResponseError),
        (Answer(503, applied=True), True, HttpResponseError),
        (throttled(1), False, HttpResponseError),
        (ReplaceBody(b""), True, None),
        (ReplaceBody(b"<html>", "text/html"), True, Exception),
        (CutAnswer(0), True, AzureError),
        (CutAnswer(10), True, AzureError),
        (CutConnection(), False, AzureError),
        (CutConnection(applied=True), True, AzureError),
        (ApplyTwice(), True, ResourceExistsError),
        (ApplyTwice(answers_first=True), True, None),
        (Trickle(64, 0.0), True, None),
        (Act(_do_nothing), False, AzureError),
        (Act(_do_nothing, applied=True), True, AzureError),
        (Act(_do_nothing, cuts=False), True, None),
    ],
    ids=_name_of,
)
def test_each_fault_applies_the_request_or_not(
    storage: str, fault: Fault, applied: bool, raises: type[Exception] | None
) -> None:
    with running_proxy(storage) as proxy:
        entity, error = insert(proxy, fault)
        assert is_stored(storage, entity) is applied
        if raises is None:
            assert error is None
        else:
            assert isinstance(error, raises), repr(error)


def test_an_answer_is_cut_at_exactly_the_byte_that_was_asked_for(storage: str) -> None:
    with running_proxy(storage) as proxy:
        request = a_query(proxy, storage)
        [exchange] = proxy.exchanges
        whole = send_raw(proxy, request)
        assert len(whole) == exchange.answer_bytes
        assert whole.index(b"\r\n\r\n") + 4 == exchange.head_bytes < exchange.answer_bytes
        for at in range(len(whole)):
            proxy.clear()
            proxy.add(Rule(CutAnswer(at), times=1))
            # The head has a date and an id of its own each time, of the same length.
            cut = send_raw(proxy, request)
            assert len(cut) == at
            assert cut.split(b"\r\n")[0] == whole[:at].split(b"\r\n")[0]


def test_a_body_is_replaced_and_the_status_kept(storage: str) -> None:
    with running_proxy(storage) as proxy:
        request = a_query(proxy, storage)
        proxy.add(Rule(ReplaceBody(b"[no json]}", "text/html")))
        head, _, body = send_raw(proxy, request).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"[no json]}"
    assert head.lower().count(b"content-length: 10") == 1
    assert head.lower().count(b"content-type: text/html") == head.lower().count(b"content-type")
    assert b"transfer-encoding" not in head.lower()


def test_a_throttled_client_reads_when_to_come_again(storage: str) -> None:
    with running_proxy(storage) as proxy:
        _, error = insert(proxy, throttled(7, 429))
    assert isinstance(error, HttpResponseError)
    assert error.status_code == 429
    response: Any = error.response
    assert response.headers["Retry-After"] == "7"


@pytest.mark.parametrize("status", [500, None])
def test_a_late_request_is_applied_after_its_sender_was_answered(
    storage: str, status: int | None
) -> None:
    with running_proxy(storage) as proxy:
        entity, error = insert(proxy, ApplyLate(0.5, status))
        assert isinstance(error, AzureError)
        assert getattr(error, "status_code", None) == status
        wait_until(lambda: is_stored(storage, entity), "the late request")


@pytest.mark.parametrize("applied", [False, True])
def test_a_request_that_hangs_ends_when_it_is_released(storage: str, applied: bool) -> None:
    with running_proxy(storage) as proxy:
        outcomes: list[tuple[dict[str, str], Exception | None]] = []
        rule = proxy.add(Rule(Hang(applied), Service.TABLE, "POST"))
        entity = an_entity()

        def send() -> None:
            try:
                with a_table(proxy.connection_string, read_timeout=60) as table:
                    table.create_entity(entity)
            except AzureError as error:
                outcomes.append((entity, error))

        sender = threading.Thread(target=send)
        sender.start()
        wait_until(lambda: rule.applied, "the request")
        wait_until(lambda: is_stored(storage, entity) is applied, "the effect")
        assert sender.is_alive()
        proxy.release()
        sender.join(10)
        assert not sender.is_alive()
        assert outcomes


def test_a_service_refuses_connections_until_it_accepts_them_again(storage: str) -> None:
    with running_proxy(storage) as proxy, a_table(proxy.connection_string) as table:
        before = proxy.connection_string
        table.create_entity(an_entity())
        proxy.refuse(Service.TABLE)
        with pytest.raises(AzureError):
            table.create_entity(an_entity())
        with QueueServiceClient.from_connection_string(proxy.connection_string) as queues:
            assert list(queues.list_queues()) is not None
        proxy.accept(Service.TABLE)
        assert proxy.connection_string == before
        table.create_entity(an_entity())


def test_a_rule_chooses_by_service_method_path_body_count_and_number(storage: str) -> None:
    with running_proxy(storage) as proxy:
        refused = Answer(500)
        others = [
            proxy.add(Rule(refused, Service.BLOB)),
            proxy.add(Rule(refused, method="PUT")),
            proxy.add(Rule(refused, path="OtherTable")),
            proxy.add(Rule(refused, body="no such text")),
            proxy.add(Rule(refused, probability=0.0)),
        ]
        rule = proxy.add(Rule(refused, Service.TABLE, "POST", TABLE, '"Text"', after=1, times=2))
        seen = []
        with a_table(proxy.connection_string) as table:
            for _ in range(5):
                try:
                    table.create_entity(an_entity())
                    seen.append(True)
                except HttpResponseError:
                    seen.append(False)
    assert seen == [True, False, False, True, True]
    assert rule.applied == 2
    assert not any(other.applied for other in others)


def test_the_same_seed_chooses_the_same_requests(storage: str) -> None:
    def run(seed: int) -> list[bool]:
        with running_proxy(storage, seed) as proxy:
            proxy.add(Rule(Answer(500), Service.TABLE, probability=0.5))
            request = [0] * 12
            with a_table(proxy.connection_string) as table:
                for number in range(len(request)):
                    try:
                        table.create_entity(an_entity())
                    except HttpResponseError:
                        request[number] = 1
            return [bool(each) for each in request]

    assert run(3) == run(3) != run(4)


def test_the_proxy_follows_an_emulator_and_is_silent_where_there_is_none(storage: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{unused.getsockname()[1]}"
        nowhere = ";".join(f"{service}Endpoint={away}" for service in Service)
        with running_proxy(storage) as proxy, a_table(proxy.connection_string) as table:
            proxy.forward_to(nowhere)
            with pytest.raises(AzureError):
                table.create_entity(an_entity())
            proxy.forward_to(storage)
            table.create_entity(an_entity())


def test_an_action_runs_at_the_request_that_was_named(storage: str) -> None:
    entities = [an_entity() for _ in range(3)]
    times: list[bool] = []
    with running_proxy(storage) as proxy, a_table(proxy.connection_string) as table:

        def look() -> None:
            times.append(is_stored(storage, entities[1]))

        proxy.add(Rule(Act(look, applied=True), Service.TABLE, "POST", after=1, times=1))
        table.create_entity(entities[0])
        with pytest.raises(AzureError):
            table.create_entity(entities[1])
        table.create_entity(entities[2])
    assert times == [True]
