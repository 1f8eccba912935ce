"""The repair of stored records, put together for the commands: a running gateway needs none."""

from __future__ import annotations

from shared.bootstrap import Gateway
from shared.clock import SystemClock
from shared.services.background import to_thread_if_large
from shared.services.record_repair import RecordRepair
from shared.services.results import Results


def record_repair_of(gateway: Gateway) -> RecordRepair:
    """The repair of what a gateway has stored."""
    account = gateway.account
    results = Results(account.tables, account.blobs, to_thread_if_large)
    return RecordRepair(account.tables, gateway.imports, results, SystemClock())
