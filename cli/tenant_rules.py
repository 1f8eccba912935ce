"""The rules of a tenant for its rows: `threshold`, `format` and `reference`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands import Overview, command, file_argument, on_gateway
from cli.output import AsJson, show
from cli.row_files import UnreadableFileError, read_text_file
from cli.tenants import TenantOption
from shared.errors import InvalidRequestError, UnreadableDataError
from shared.gateway import Gateway
from shared.imports.authdata.model import FIELDS
from shared.imports.authdata.rules import Thresholds, percent_text
from shared.imports.authdata.staging import MAX_PERCENT, TenantRules
from shared.imports.import_type import ReferenceKind, find_kind

# `manage.py threshold` and `manage.py format`: rules for authentication data.

# The word that removes a threshold or a format.
NONE = "none"

thresholds = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Thresholds of a tenant: when a batch of authdata is cancelled.",
)
formats = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Formats of a tenant: what fields of authdata must look like.",
)

_PERCENT = f"0 to {MAX_PERCENT}, or `{NONE}` to remove it."
_PATTERN = f"A regular expression for the whole value, or `{NONE}` to remove it."
_ADDED = f"The most new employees, in percent of those stored before: {_PERCENT}"
_UPDATED = f"The most changed employees, in percent of those stored before: {_PERCENT}"
_ERRORS = f"The most records with errors, in percent of the batch: {_PERCENT}"
Added = Annotated[str | None, typer.Option("--added", metavar="PERCENT", help=_ADDED)]
Updated = Annotated[str | None, typer.Option("--updated", metavar="PERCENT", help=_UPDATED)]
Errors = Annotated[str | None, typer.Option("--errors", metavar="PERCENT", help=_ERRORS)]
EmployeeId = Annotated[str | None, typer.Option("--employee-id", metavar="PATTERN", help=_PATTERN)]
EmployeeStatus = Annotated[
    str | None, typer.Option("--employee-status", metavar="PATTERN", help=_PATTERN)
]
AuthValue1 = Annotated[str | None, typer.Option("--auth-value1", metavar="PATTERN", help=_PATTERN)]
AuthValue2 = Annotated[str | None, typer.Option("--auth-value2", metavar="PATTERN", help=_PATTERN)]
AuthValue3 = Annotated[str | None, typer.Option("--auth-value3", metavar="PATTERN", help=_PATTERN)]


@command(thresholds, "set", example="threshold set --tenant acme --errors 5")
def set_thresholds(
    tenant: TenantOption,
    added: Added = None,
    updated: Updated = None,
    errors: Errors = None,
    as_json: AsJson = False,
) -> None:
    """Set thresholds; those that are not named stay as they are."""
    changes = _read_changes({"added": added, "updated": updated, "errors": errors})

    async def write(gateway: Gateway) -> tuple[str, Thresholds, bool]:
        tenant_record = await gateway.tenants.find(tenant)
        before = await _stored_rules(gateway, tenant_record.id)
        after = await gateway.authdata.rules.set_thresholds(tenant_record.id, changes)
        return tenant_record.id, after, before is None or after != before.thresholds

    tenant_id, after, is_new = on_gateway(write)
    _show_thresholds(as_json, tenant_id, after, _change_note("thresholds", tenant_id, is_new))


@command(thresholds, "show", example="threshold show --tenant acme")
def show_thresholds(tenant: TenantOption, as_json: AsJson = False) -> None:
    """Show the thresholds of a tenant."""
    tenant_id, rules = _rules_of(tenant)
    _show_thresholds(as_json, tenant_id, rules.thresholds)


@command(formats, "set", example='format set --tenant acme --employee-id "[0-9]{5}"')
def set_formats(
    tenant: TenantOption,
    employee_id: EmployeeId = None,
    employee_status: EmployeeStatus = None,
    auth_value1: AuthValue1 = None,
    auth_value2: AuthValue2 = None,
    auth_value3: AuthValue3 = None,
    as_json: AsJson = False,
) -> None:
    """Set formats; those that are not named stay as they are."""
    values = (employee_id, employee_status, auth_value1, auth_value2, auth_value3)
    changes = _read_changes(dict(zip(FIELDS, values, strict=True)))

    async def write(gateway: Gateway) -> tuple[str, Mapping[str, str], bool]:
        tenant_record = await gateway.tenants.find(tenant)
        before = await _stored_rules(gateway, tenant_record.id)
        after = (await gateway.authdata.rules.set_formats(tenant_record.id, changes)).patterns
        return tenant_record.id, after, before is None or after != before.formats.patterns

    tenant_id, after, is_new = on_gateway(write)
    _show_formats(as_json, tenant_id, after, _change_note("formats", tenant_id, is_new))


@command(formats, "show", example="format show --tenant acme")
def show_formats(tenant: TenantOption, as_json: AsJson = False) -> None:
    """Show the formats of a tenant."""
    tenant_id, rules = _rules_of(tenant)
    _show_formats(as_json, tenant_id, rules.formats.patterns)


def _rules_of(tenant: str) -> tuple[str, TenantRules]:
    async def read(gateway: Gateway) -> tuple[str, TenantRules]:
        tenant_record = await gateway.tenants.find(tenant)
        return tenant_record.id, await gateway.authdata.rules.for_tenant(tenant_record.id)

    return on_gateway(read)


async def _stored_rules(gateway: Gateway, tenant: str) -> TenantRules | None:
    """The stored rules; None if they cannot be read, so that setting them repairs them."""
    try:
        return await gateway.authdata.rules.for_tenant(tenant)
    except UnreadableDataError:
        return None


def _change_note(subject: str, tenant: str, is_new: bool) -> str:
    if is_new:
        return f"The {subject} of tenant {tenant} were changed."
    return f"The {subject} of tenant {tenant} were these already: nothing changed."


def _read_changes(options: Mapping[str, str | None]) -> dict[str, str | None]:
    """The named changes; None for a value that is to be removed."""
    changes = {name: None if text == NONE else text for name, text in options.items() if text}
    if not changes:
        raise InvalidRequestError(
            "Nothing to set: give at least one option of those that --help lists."
        )
    return changes


def _show_thresholds(as_json: bool, tenant: str, thresholds: Thresholds, *notes: str) -> None:
    percents = {
        "added": thresholds.added,
        "updated": thresholds.updated,
        "errors": thresholds.errors,
    }
    texts = {
        name: None if percent is None else percent_text(percent)
        for name, percent in percents.items()
    }
    document: dict[str, Any] = {"tenant": tenant, "thresholds": texts}
    lines = [f"{name:<8} {text or NONE}{' %' if text else ''}" for name, text in texts.items()]
    show(as_json, document, [*notes, *lines])


def _show_formats(as_json: bool, tenant: str, patterns: Mapping[str, str], *notes: str) -> None:
    document = {"tenant": tenant, "formats": dict(patterns)}
    lines = [f"{name:<15} {patterns.get(name, NONE)}" for name in FIELDS]
    show(as_json, document, [*notes, *lines])


# `manage.py reference`: lists of values that rows are checked against.

reference_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Reference lists: the values that fields such as currencies may have.",
)

_KINDS = ", ".join(ReferenceKind)
File = Annotated[
    Path,
    file_argument("A text file in UTF-8, with one value per line."),
]
Kind = Annotated[
    str,
    typer.Option("--kind", metavar="KIND", help=f"One of {_KINDS}; the name of a field works too."),
]


@reference_commands.callback()
def every_list() -> None:
    """A list is checked only where the tenant has loaded one of its kind."""


@command(
    reference_commands,
    "load",
    example="reference load currencies.txt --tenant acme --kind currency",
)
def load_list(file: File, tenant: TenantOption, kind: Kind, as_json: AsJson = False) -> None:
    """Load a list; it replaces the tenant's list of the same kind."""
    list_kind = find_kind(kind)
    if list_kind is None:
        raise InvalidRequestError(f"There is no kind {kind!r}; there are: {_KINDS}.")
    values = read_values(file)
    if not values:
        raise UnreadableFileError(
            f"{file.name} has no values, so the list stays as it was: check that it is the right "
            "file."
        )

    async def write(gateway: Gateway) -> tuple[int, bool]:
        tenant_record = await gateway.tenants.find(tenant)
        is_new = not await gateway.lists.is_loaded(tenant_record.id, list_kind)
        return await gateway.lists.load(tenant_record.id, list_kind, values), is_new

    count, is_new = on_gateway(write)
    note = "there was none of this kind" if is_new else "it replaces the one before"
    document = {"tenant": tenant, "kind": list_kind.value, "values": count}
    show(as_json, document, [f"Loaded the list {list_kind.value} with {count} values; {note}."])


def read_values(file: Path) -> list[str]:
    """The lines of a file that are not blank. Raises UnreadableFileError."""
    return [line for line in read_text_file(file).splitlines() if line.strip()]
