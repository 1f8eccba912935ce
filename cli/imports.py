"""`manage.py imports`: what was imported for a tenant, newest first, and why rows failed."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.access import on_gateway
from cli.integrations import TenantOption
from cli.output import AsJson, columns, show
from shared.bootstrap import Gateway
from shared.imports.outcomes import Outcome, RowResult
from shared.services.reporting import ImportReport, Place
from shared.web.import_views import import_view

app = typer.Typer(no_args_is_help=True, help="Imports: how they stand, and why rows failed.")

MOST_FAILED = 100
"""Failed rows that `show` prints; all of them are at the import's `results` address."""

Most = Annotated[int, typer.Option("--most", min=1, max=1000, help="How many, newest first.")]
ImportId = Annotated[str, typer.Argument(metavar="IMPORT_ID", help="As X-Import-Id named it.")]


@app.command("list")
def list_newest(tenant: TenantOption, most: Most = 20, as_json: AsJson = False) -> None:
    """List the imports of a tenant, newest first."""

    async def read(gateway: Gateway) -> tuple[ImportReport, ...]:
        found = await gateway.tenants.find(tenant)
        return (await gateway.reporting.newest(found.id, None, most)).reports

    reports = on_gateway(read)
    head = ("IMPORT", "TYPE", "STATE", "ROWS", "DONE", "FAILED", "ACCEPTED")
    document = {"imports": [import_view(report) for report in reports]}
    show(as_json, document, columns(head, [_cells(report) for report in reports]))


@app.command("show")
def show_one(tenant: TenantOption, import_id: ImportId, as_json: AsJson = False) -> None:
    """Show one import, with the rows that failed so far."""

    async def read(gateway: Gateway) -> tuple[ImportReport, tuple[RowResult, ...]]:
        found = await gateway.tenants.find(tenant)
        report = await gateway.reporting.find(found.id, import_id)
        page = await gateway.reporting.results(report.record, Place(), MOST_FAILED, Outcome.FAILED)
        return report, page.results

    report, failed = on_gateway(read)
    show(as_json, import_view(report), [*_lines(report), *_failed_lines(failed)])


def _cells(report: ImportReport) -> tuple[str, ...]:
    record, counts = report.record, report.counts
    return (
        record.import_id,
        record.type_name,
        report.state.value,
        str(record.rows),
        str(counts.done),
        str(counts.failed),
        record.accepted_at,
    )


def _lines(report: ImportReport) -> list[str]:
    record, counts = report.record, report.counts
    return [
        f"Import    {record.import_id} ({record.type_name})",
        f"State     {report.state.value}",
        f"Accepted  {record.accepted_at}",
        f"Ended     {record.ended_at or 'not yet'}",
        f"Rows      {counts.done} of {record.rows}: {counts.new} new, {counts.updated} updated, "
        f"{counts.unchanged} unchanged, {counts.failed} failed",
    ]


def _failed_lines(failed: tuple[RowResult, ...]) -> list[str]:
    """Row number (from 1), key and messages; fields are named, values are not shown."""
    lines = []
    for result in failed:
        key = " / ".join(part or "-" for part in result.key)
        lines.append(f"{result.index + 1:>5}  {key}")
        for message in result.messages:
            field = f" [{message.field}]" if message.field else ""
            lines.append(f"         {message.severity} {message.id}: {message.text}{field}")
    return lines
