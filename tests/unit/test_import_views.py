"""The import object: what it counts, how fast it is, where one can go from it."""

from __future__ import annotations

from dataclasses import replace

from shared.imports.import_type import Options
from shared.services.status import ImportReport, ImportState, Throughput
from shared.storage.import_records import Counts, ImportRecord, Parent
from shared.web.imports import import_view

RUNNING = ImportRecord(
    tenant="tenant",
    number=7,
    import_id="i7",
    type_name="workers",
    rows=10,
    chunks=(),
    options=Options(),
    accepted_at="2026-01-01T00:00:00.000Z",
)
ENDED = replace(RUNNING, ended_at="2026-01-01T00:00:01.000Z")
SOME_FAILED = Counts(new=3, failed=1)


def _links(record: ImportRecord, counts: Counts = SOME_FAILED) -> set[str]:
    links: dict[str, str] = import_view(ImportReport(record, counts, ImportState.PROCESSING))[
        "links"
    ]
    return set(links)


def test_links_name_what_can_be_done_now() -> None:
    always = {"self", "results", "failures", "answer"}
    assert _links(RUNNING, Counts()) == {*always, "cancel"}
    assert _links(RUNNING) == {*always, "failedRows", "cancel"}
    assert _links(replace(RUNNING, cancelled_at="2026")) == {*always, "failedRows"}
    assert _links(ENDED) == {*always, "failedRows", "retry"}
    assert _links(ENDED, Counts(new=10)) == always
    assert _links(replace(ENDED, parent=Parent("i1", 1)), Counts()) == {*always, "parent"}
    assert _links(replace(ENDED, payload_expired_at="2026")) == always
    expired = replace(ENDED, payload_expired_at="2026", results_expired_at="2026")
    assert _links(expired) == {"self"}


def test_a_document_is_neither_retried_nor_cancelled() -> None:
    ended = replace(ENDED, type_name="documents")
    assert _links(ended) == {"self", "results", "failures", "answer", "failedRows"}
    assert "cancel" not in _links(replace(RUNNING, type_name="documents"))


def test_the_pace_is_rounded_and_unknown_before_the_first_rows() -> None:
    def told(pace: Throughput) -> tuple[object, object]:
        view = import_view(ImportReport(RUNNING, Counts(), ImportState.PROCESSING, pace))
        return view["rowsPerSecond"], view["secondsLeft"]

    assert told(Throughput()) == (None, None)
    assert told(Throughput(1234.56, 7.6)) == (1234.6, 8)


def test_only_a_cancelled_import_counts_what_the_cancel_ended() -> None:
    counts = Counts(new=3, failed=7, cancelled=6)
    cancelled = replace(ENDED, cancelled_at="2026")
    report = ImportReport(cancelled, counts, ImportState.CANCELLED)
    assert import_view(report)["rows"]["cancelled"] == 6
    assert "cancelled" not in import_view(replace(report, record=ENDED))["rows"]
