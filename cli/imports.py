"""`manage.py imports`: list and show imports, retry, undo and cancel them."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from cli.commands import Overview, command, on_gateway
from cli.environment import command_caller
from cli.output import AsJson, columns, show
from cli.result_tables import group_table, unmapped_lines
from cli.row_files import UnreadableFileError, read_content
from cli.tenants import TenantOption
from shared.errors import GatewayError, GoneError
from shared.gateway import Gateway
from shared.imports.files.corrections import corrections_reader
from shared.imports.files.formats import FileFormat, ReadOptions
from shared.imports.registry import TYPE_CATALOGUE
from shared.imports.results import MessageGroups, Outcome, RowResult, UnmappedValues
from shared.imports.sender import NamedCaller, Sender, source_name
from shared.services.import_views import import_view
from shared.services.status import UNREADABLE, ImportReport, ResultCursor, RowFilter
from shared.services.undoing import UndoJudgement
from shared.storage.import_records import ImportRecord
from shared.web.imports import groups_view, imports_wanted, judged_undo_view, unmapped_view

import_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Imports: see progress and why rows failed; retry, undo or cancel one.",
)

# The most failed rows that `show` prints. All of them are at the import's `results` address.
MOST_FAILED = 100

Most = Annotated[
    int, typer.Option("--most", metavar="N", min=1, max=1000, help="How many imports to list.")
]
CallerOption = Annotated[
    str,
    typer.Option(
        "--caller", metavar="NAME", help="Only imports of this caller: as the column CALLER has it."
    ),
]
ImportId = Annotated[
    str,
    typer.Argument(
        metavar="IMPORT_ID", help="The import's id, from X-Import-Id or `imports list`."
    ),
]
Rows = Annotated[
    Path | None,
    typer.Option(
        "--rows", metavar="FILE", exists=True, dir_okay=False, readable=True,
        help="A file with corrected rows, as failed-rows gives them: JSON, NDJSON, CSV or a "
        "spreadsheet.",
    ),
]  # fmt: skip
Sheet = Annotated[str, typer.Option("--sheet", metavar="NAME", help="The sheet of a spreadsheet.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what the undo would do, and do nothing.")
]
OnlyIfAll = Annotated[
    bool, typer.Option("--only-if-all", help="Undo nothing unless every row can be undone.")
]
Wait = Annotated[
    int,
    typer.Option(
        "--wait", metavar="SECONDS", min=0, max=3600, help="Seconds to wait for the import to end."
    ),
]


@command(import_commands, "list", example="imports list --tenant acme --most 5 --caller HR1")
def list_newest(
    tenant: TenantOption,
    most: Most = 20,
    caller: CallerOption = "",
    as_json: AsJson = False,
) -> None:
    """List the imports of a tenant, newest first."""

    async def read(gateway: Gateway) -> list[ImportReport]:
        tenant_record = await gateway.tenants.find(tenant)
        is_wanted = imports_wanted({"caller": caller})
        newest: list[ImportReport] = []
        after: int | None = None
        while len(newest) < most:
            page = await gateway.reporting.newest(tenant_record.id, after, most, is_wanted)
            newest += page.reports
            after = page.following
            if after is None:
                break
        return newest[:most]

    reports = on_gateway(read)
    head = (
        *("IMPORT", "TYPE", "STATE", "ROWS", "DONE", "FAILED", "REPAIRED", "WARNINGS", "INFOS"),
        *("UNDO", "ACCEPTED", "CALLER", "SOURCE"),
    )
    cells = [
        (
            report.record.import_id,
            report.record.type_name,
            report.state.value,
            str(report.record.rows),
            str(report.counts.done),
            str(report.counts.failed),
            str(report.repaired),
            str(report.counts.warnings),
            str(report.counts.infos),
            _undo_note(report.record),
            report.record.accepted_at,
            _caller(report.record.sender.caller),
            report.record.sender.source,
        )
        for report in reports
    ]
    document = {"imports": [import_view(report) for report in reports]}
    show(as_json, document, columns(head, cells))


@command(
    import_commands,
    "show",
    example="imports show --tenant acme 7ca8184f-54bc-5718-85ec-12e29c651076",
)
def show_one(tenant: TenantOption, import_id: ImportId, as_json: AsJson = False) -> None:
    """Show one import, the rows that failed so far, and all messages in groups."""

    async def read(
        gateway: Gateway,
    ) -> tuple[ImportReport, list[str], MessageGroups]:
        tenant_record = await gateway.tenants.find(tenant)
        report = await gateway.reporting.find(tenant_record.id, import_id)
        if report.record.results_expired_at:
            return report, [], MessageGroups()
        groups = await gateway.reporting.message_groups(report.record)
        return report, await _failed_of(gateway, report), groups

    report, failed_lines, groups = on_gateway(read)
    group_items = groups_view(groups)["items"]
    table = group_table(group_items)
    lines = [*_lines(report), *failed_lines, *([""] if table else []), *table]
    show(as_json, {**import_view(report), "messageGroups": group_items}, lines)


@command(
    import_commands,
    "unmapped",
    example="imports unmapped --tenant acme 7ca8184f-54bc-5718-85ec-12e29c651076",
)
def list_unmapped(tenant: TenantOption, import_id: ImportId, as_json: AsJson = False) -> None:
    """List the values that the mapping profile of an import has no entry for, with counts."""

    async def read(gateway: Gateway) -> UnmappedValues:
        tenant_record = await gateway.tenants.find(tenant)
        report = await gateway.reporting.find(tenant_record.id, import_id)
        return await gateway.reporting.unmapped_values(report.record)

    values = on_gateway(read)
    show(as_json, unmapped_view(values), unmapped_lines(values))


@command(
    import_commands,
    "retry",
    example="imports retry --tenant acme 7ca8184f-54bc-5718-85ec-12e29c651076 --rows failed.json",
)
def retry_one(
    tenant: TenantOption,
    import_id: ImportId,
    rows: Rows = None,
    sheet: Sheet = "",
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Send the failed rows of an import again, as they were or corrected.

    Corrected rows name their index in the import: in CSV and spreadsheets in the column _index.
    Rows that an earlier retry has imported are left out. A running gateway processes the rows.
    """
    file_format, body = (FileFormat.JSON, b"") if rows is None else read_content(rows)
    if rows is not None and not body.lstrip(BOM_UTF8).strip():
        # An empty body would send all failed rows again as they were.
        raise UnreadableFileError(
            f"{rows.name} is empty, so nothing was sent: give a file of corrected rows, or leave "
            "--rows out to send the failed rows again as they were."
        )

    async def retry(gateway: Gateway) -> tuple[ImportReport, list[str]]:
        tenant_record = await gateway.tenants.find(tenant)
        parent = (await gateway.reporting.find(tenant_record.id, import_id)).record
        kind = TYPE_CATALOGUE.find(parent.type_name, parent.type_version)
        if kind is None:
            raise GoneError(UNREADABLE)
        body_hash = await gateway.fingerprint_keys.body_hash(body) if body else ""
        sender = Sender(command_caller(), source_name(rows.name) if rows else "", body_hash)
        options = ReadOptions(sheet, max_bytes=gateway.settings.max_body_bytes)
        mapping = await gateway.reporting.mapping_of(parent)
        reader = corrections_reader(file_format, kind.rules, options, mapping)
        child = await gateway.retrying.retry(parent, body, sender=sender, reader=reader)
        await gateway.waiting.until_ended(child, wait)
        report = await gateway.reporting.find(tenant_record.id, child.import_id)
        return report, await _failed_of(gateway, report)

    report, failed_lines = on_gateway(retry)
    _show_changed(report, as_json, failed_lines)


@command(
    import_commands,
    "undo",
    example="imports undo --tenant acme 7ca8184f-54bc-5718-85ec-12e29c651076 --dry-run",
)
def undo_one(
    tenant: TenantOption,
    import_id: ImportId,
    dry_run: DryRunOption = False,
    only_if_all: OnlyIfAll = False,
    wait: Wait = 30,
    as_json: AsJson = False,
) -> None:
    """Put back what an import did: records are again what they were before it.

    A record that a later import has changed, or that another record refers to, is kept, and its row
    fails. A running gateway processes the rows. An undo can be undone.
    """
    if dry_run and only_if_all:
        raise typer.BadParameter("leave out one of --dry-run and --only-if-all")

    async def judge(gateway: Gateway) -> UndoJudgement:
        tenant_record = await gateway.tenants.find(tenant)
        parent = (await gateway.reporting.find(tenant_record.id, import_id)).record
        planned = await gateway.undoing.plan(parent)
        return await gateway.undoing.judge(planned, with_changes=False)

    async def undo(gateway: Gateway) -> tuple[ImportReport, list[str]]:
        tenant_record = await gateway.tenants.find(tenant)
        parent = (await gateway.reporting.find(tenant_record.id, import_id)).record
        sender = Sender(command_caller())
        child = await gateway.undoing.undo(parent, sender=sender, only_if_all=only_if_all)
        await gateway.waiting.until_ended(child, wait)
        report = await gateway.reporting.find(tenant_record.id, child.import_id)
        return report, await _failed_of(gateway, report)

    if dry_run:
        _show_judgement(on_gateway(judge), as_json)
        return
    report, failed_lines = on_gateway(undo)
    _show_changed(report, as_json, failed_lines)


@command(
    import_commands,
    "cancel",
    example="imports cancel --tenant acme 7ca8184f-54bc-5718-85ec-12e29c651076",
)
def cancel_one(
    tenant: TenantOption, import_id: ImportId, wait: Wait = 30, as_json: AsJson = False
) -> None:
    """Cancel an import: rows that it has committed stay, the others fail with 9002."""

    async def cancel(gateway: Gateway) -> ImportReport:
        tenant_record = await gateway.tenants.find(tenant)
        record = (await gateway.reporting.find(tenant_record.id, import_id)).record
        cancelled = await gateway.cancelling.cancel(record, command_caller())
        await gateway.waiting.until_ended(cancelled, wait)
        return await gateway.reporting.find(tenant_record.id, import_id)

    _show_changed(on_gateway(cancel), as_json)


async def _failed_of(gateway: Gateway, report: ImportReport) -> list[str]:
    """Lines for the failed rows so far, at most MOST_FAILED; none if the results have expired."""
    if report.record.results_expired_at:
        return []
    page = await gateway.reporting.results(
        report.record, ResultCursor(), MOST_FAILED, RowFilter(Outcome.FAILED)
    )
    return _failed_lines(page.results, await _lines_in_file(gateway, report.record, page.results))


async def _lines_in_file(
    gateway: Gateway, record: ImportRecord, failed: tuple[RowResult, ...]
) -> Mapping[int, int]:
    """The line of the file of each row that has one, by index; none without the payload."""
    lines: dict[int, int] = {}
    if not failed or record.is_undo:
        return lines
    failed_indexes = {result.index for result in failed}
    # The rows are shown without their lines where the payload cannot be read.
    with suppress(GatewayError, ValueError):
        async for rows in gateway.failed_rows.chunks(record):
            lines |= {row.index: row.notes.line for row in rows if row.notes.line is not None}
            seen = {row.index for row in rows}
            # A chunk with another failed row is the last of those that are shown.
            if seen - failed_indexes or not (failed_indexes := failed_indexes - seen):
                break
    return lines


def _show_judgement(judgement: UndoJudgement, as_json: bool) -> None:
    """Show what an undo would do. Exit status 1 if it would keep a record."""
    view = judged_undo_view(judgement)
    counts = view["rows"]
    failed = [row for row in judgement.shown.results if row.outcome is Outcome.FAILED]
    lines = [
        f"Undo of   {view['undoes']} ({view['type']}); this is a dry run, nothing was done",
        f"Rows      {counts['total']}: {counts['reversed']} would be reversed, "
        f"{counts['unchanged']} unchanged, {counts['failed']} would fail",
        *_failed_lines(tuple(failed[:MOST_FAILED])),
    ]
    show(as_json, view, lines)
    if failed:
        raise typer.Exit(1)


def _show_changed(report: ImportReport, as_json: bool, failed_lines: Sequence[str] = ()) -> None:
    """Show the import. Exit status 1 if rows failed for another reason than a cancel."""
    lines = [*_lines(report), *failed_lines]
    if report.record.is_open:
        lines.append("It has not ended yet. A running gateway continues it: see `imports show`.")
    show(as_json, import_view(report), lines)
    if report.counts.failed > report.counts.cancelled:
        raise typer.Exit(1)


def _lines(report: ImportReport) -> list[str]:
    record, counts = report.record, report.counts
    return [
        f"Import    {record.import_id} ({record.type_name})",
        f"State     {report.state.value}",
        *([f"Retry of  {record.parent.import_id}"] if record.parent.number else []),
        *(f"Retry     {child}" for child in report.children),
        *([f"Undo of   {record.undoes.import_id}"] if record.is_undo else []),
        *([f"Undone by {record.undone_by}"] if record.undone_by else []),
        *([f"Caller    {_caller(record.sender.caller)}"] if record.sender.caller else []),
        *([f"Cancelled {_caller(record.cancelled_by)}"] if record.cancelled_by else []),
        *([f"Source    {record.sender.source}"] if record.sender.source else []),
        *([f"Body      {record.sender.body_hash}"] if record.sender.body_hash else []),
        f"Accepted  {record.accepted_at}",
        f"Ended     {record.ended_at or 'not yet'}",
        f"Rows      {counts.done} of {record.rows}: {_effects(report)}, "
        f"{counts.unchanged} unchanged, {counts.failed} failed"
        + (f", {report.repaired} of them repaired by retries" if report.repaired else ""),
        *(
            [f"Skipped   {record.skipped} more, by the profile {record.profile.name}"]
            if record.skipped
            else []
        ),
        f"Messages  {counts.warnings} rows with warnings, {counts.infos} rows with infos",
        *_throughput_lines(report),
    ]


def _effects(report: ImportReport) -> str:
    counts = report.counts
    if report.record.is_undo:
        return f"{counts.new + counts.updated} reversed"
    return f"{counts.new} new, {counts.updated} updated"


def _undo_note(record: ImportRecord) -> str:
    """Whether an import is an undo, or was undone; an undo may be undone too."""
    notes = [*(["undo"] if record.is_undo else []), *(["undone"] if record.undone_by else [])]
    return ", ".join(notes)


def _caller(caller: NamedCaller | None) -> str:
    return f"{caller.kind} {caller.name}" if caller else ""


def _throughput_lines(report: ImportReport) -> list[str]:
    rate, remaining = report.pace.rows_per_second, report.pace.seconds_left
    if rate is None or remaining is None:
        return []
    rest = f", about {remaining:.0f} s left" if report.record.is_open else ""
    return [f"Pace      {rate:.1f} rows/s{rest}"]


def _failed_lines(
    failed: tuple[RowResult, ...], lines_in_file: Mapping[int, int] = MappingProxyType({})
) -> list[str]:
    """The index, line, key and messages of each row, with names of fields but without values."""
    lines = []
    for result in failed:
        key = " / ".join(part or "-" for part in result.key)
        line = lines_in_file.get(result.index)
        lines.append(f"index {result.index}{f', line {line}' if line else ''}  {key}")
        for message in result.messages:
            column = f" ({message.column})" if message.column else ""
            field = f" [{message.field}{column}]" if message.field else ""
            lines.append(f"         {message.severity} {message.id}: {message.text}{field}")
    return lines
