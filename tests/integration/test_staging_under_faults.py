"""A stage call whose append got no answer never says that nothing was accepted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from shared.bootstrap import open_gateway
from shared.errors import StagingUnknownError, StorageUnavailableError
from shared.imports.authdata.model import BatchCall
from shared.web.responses import refusal
from tests.emulator import settings_for
from tests.faults.proxy import Act, CutConnection, FaultProxy, Rule, Service, running_proxy
from tests.tenants import new_tenant

pytestmark = pytest.mark.integration
BATCH = "5f2b8f5e-0000-4000-8000-00000000000a"


def stage(storage: str, fault: Callable[[FaultProxy], Rule]) -> tuple[Exception, int]:
    """Stage a record into a new batch under this fault; the error, and how many records are in."""

    async def play() -> tuple[Exception, int]:
        with running_proxy(storage) as proxy:
            async with open_gateway(settings_for(proxy.connection_string)) as gateway:
                tenant = await new_tenant(gateway)
                rows = [{"employeeid": "e1", "authvalue1": "a"}]
                call = BatchCall(BATCH, validate=True, allow_no_auth=False, commit=True, rows=rows)
                proxy.add(fault(proxy))
                with pytest.raises(StorageUnavailableError) as caught:
                    await gateway.authdata.staging.stage(tenant, call, BATCH)
            async with open_gateway(settings_for(storage)) as gateway:
                batch = await gateway.authdata.staging._batches.read(tenant, BATCH)
            return caught.value, batch.rows if batch else 0

    return asyncio.run(play())


def then_storage_is_away(proxy: FaultProxy, *, is_applied: bool) -> Rule:
    """The append is applied or not; from then on no table answers any more."""

    def go_away() -> None:
        proxy.rules = [Rule(CutConnection(), Service.TABLE)]

    return Rule(Act(go_away, is_applied), Service.TABLE, "POST", r"\$batch", "AuthStaging")


@pytest.mark.parametrize("is_applied", [True, False])
def test_an_append_without_an_answer_names_the_batch_to_ask_for(
    delivered: str, is_applied: bool
) -> None:
    error, rows = stage(delivered, lambda proxy: then_storage_is_away(proxy, is_applied=is_applied))
    assert rows == int(is_applied)
    assert isinstance(error, StagingUnknownError)
    answer = refusal(error)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    message = json.loads(answer.get_body())["message"]
    assert f"/api/admin/authdata/{BATCH}" in message
    assert "nothing was accepted" not in message


def test_storage_that_is_away_before_the_append_has_taken_nothing(delivered: str) -> None:
    error, rows = stage(
        delivered, lambda _: Rule(CutConnection(), Service.TABLE, path="AuthStaging")
    )
    assert rows == 0
    assert not isinstance(error, StagingUnknownError)
