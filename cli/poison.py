"""`manage.py poison`: dropped files that the blob trigger has given up after its last try."""

from __future__ import annotations

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.output import AsJson, columns, show
from shared.clock import to_iso
from shared.imports.documents.model import plain_name

poison_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Dropped files that failed too often: list them, and import them once more.",
)


@command(poison_commands, "list", example="poison list")
def list_failed_drops(as_json: AsJson = False) -> None:
    """List the failed drops, up to 32 of them, the oldest first."""
    failed = on_gateway(lambda gateway: gateway.documents.poisoned.failed())
    rows = [(plain_name(blob.name), to_iso(blob.failed_at)) for blob in failed]
    document = {
        "failed": [{"name": blob.name, "failedAt": to_iso(blob.failed_at)} for blob in failed]
    }
    show(as_json, document, columns(("DROP", "FAILED"), rows))


@command(poison_commands, "requeue", example="poison requeue")
def requeue_failed_drops(as_json: AsJson = False) -> None:
    """Import every failed drop once more. Exit status 1 where one fails again."""
    done = on_gateway(lambda gateway: gateway.documents.poisoned.requeue())
    rows = [
        (plain_name(each.name), "settled" if each.is_settled else "failed again") for each in done
    ]
    document = {"drops": [{"name": each.name, "settled": each.is_settled} for each in done]}
    show(as_json, document, columns(("DROP", "OUTCOME"), rows))
    if not all(each.is_settled for each in done):
        raise typer.Exit(1)
