"""`manage.py threshold` and `manage.py format`: what a tenant says about authentication data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.integrations import TenantOption
from cli.output import AsJson, show
from shared.errors import InvalidRequestError, UnreadableDataError
from shared.gateway import Gateway
from shared.imports.authdata.model import FIELDS
from shared.imports.authdata.rules import Thresholds, percent_text
from shared.services.authdata.staging import MOST_PERCENT, TenantRules

NONE = "none"
"""The word that removes a threshold or a format."""

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

_PERCENT = f"0 to {MOST_PERCENT}, or `{NONE}` to remove it."
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
    changes = _changes({"added": added, "updated": updated, "errors": errors})

    async def write(gateway: Gateway) -> tuple[str, Thresholds, bool]:
        found = await gateway.tenants.find(tenant)
        before = await _stored_rules(gateway, found.id)
        after = await gateway.authdata.rules.set_thresholds(found.id, changes)
        return found.id, after, before is None or after != before.thresholds

    tenant_id, after, is_new = on_gateway(write)
    _show_thresholds(as_json, tenant_id, after, _said("thresholds", tenant_id, is_new))


@command(thresholds, "show", example="threshold show --tenant acme")
def show_thresholds(tenant: TenantOption, as_json: AsJson = False) -> None:
    """Show the thresholds of a tenant."""
    found, rules = _rules_of(tenant)
    _show_thresholds(as_json, found, rules.thresholds)


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
    given = (employee_id, employee_status, auth_value1, auth_value2, auth_value3)
    changes = _changes(dict(zip(FIELDS, given, strict=True)))

    async def write(gateway: Gateway) -> tuple[str, Mapping[str, str], bool]:
        found = await gateway.tenants.find(tenant)
        before = await _stored_rules(gateway, found.id)
        after = (await gateway.authdata.rules.set_formats(found.id, changes)).patterns
        return found.id, after, before is None or after != before.formats.patterns

    tenant_id, after, is_new = on_gateway(write)
    _show_formats(as_json, tenant_id, after, _said("formats", tenant_id, is_new))


@command(formats, "show", example="format show --tenant acme")
def show_formats(tenant: TenantOption, as_json: AsJson = False) -> None:
    """Show the formats of a tenant."""
    found, rules = _rules_of(tenant)
    _show_formats(as_json, found, rules.formats.patterns)


def _rules_of(tenant: str) -> tuple[str, TenantRules]:
    async def read(gateway: Gateway) -> tuple[str, TenantRules]:
        found = await gateway.tenants.find(tenant)
        return found.id, await gateway.authdata.rules.of(found.id)

    return on_gateway(read)


async def _stored_rules(gateway: Gateway, tenant: str) -> TenantRules | None:
    """The rules as they are; None where they cannot be read, so that setting them mends them."""
    try:
        return await gateway.authdata.rules.of(tenant)
    except UnreadableDataError:
        return None


def _said(what: str, tenant: str, is_new: bool) -> str:
    if is_new:
        return f"The {what} of tenant {tenant} were changed."
    return f"The {what} of tenant {tenant} were these already: nothing changed."


def _changes(given: Mapping[str, str | None]) -> dict[str, str | None]:
    """What was named, None where it is to be removed."""
    changes = {name: None if text == NONE else text for name, text in given.items() if text}
    if not changes:
        raise InvalidRequestError(
            "Nothing to set: give at least one option of those that --help lists."
        )
    return changes


def _show_thresholds(as_json: bool, tenant: str, found: Thresholds, *said: str) -> None:
    percents = {"added": found.added, "updated": found.updated, "errors": found.errors}
    texts = {
        name: None if percent is None else percent_text(percent)
        for name, percent in percents.items()
    }
    document: dict[str, Any] = {"tenant": tenant, "thresholds": texts}
    lines = [f"{name:<8} {text or NONE}{' %' if text else ''}" for name, text in texts.items()]
    show(as_json, document, [*said, *lines])


def _show_formats(as_json: bool, tenant: str, patterns: Mapping[str, str], *said: str) -> None:
    document = {"tenant": tenant, "formats": dict(patterns)}
    lines = [f"{name:<15} {patterns.get(name, NONE)}" for name in FIELDS]
    show(as_json, document, [*said, *lines])
