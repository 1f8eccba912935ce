"""`manage.py profile`: mapping profiles, which make fields of a sender's columns and codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands import Overview, command, on_gateway
from cli.output import AsJson, columns, show
from cli.row_files import read_text_file
from cli.tenants import TenantOption
from shared.gateway import Gateway
from shared.imports.files.profile import ValueTable
from shared.services.profiles import ProfileEntry, ProfileVersion

profile_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Mapping profiles of a tenant: how its columns and codes become fields.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the profile.")]
File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The profile in JSON, as docs/mapping-profiles.md describes it.",
    ),
]
Version = Annotated[
    int | None, typer.Option("--version", metavar="N", min=1, help="An earlier version of it.")
]


@command(profile_commands, "set", example="profile set payroll-export profile.json --tenant acme")
def set_profile(name: Name, file: File, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Check a profile and make it the current version of its name.

    A profile with faults is refused as a whole, with all its faults. Imports that have named the
    profile keep the version that was the current one then.
    """
    text = read_text_file(file)

    async def write(gateway: Gateway) -> tuple[ProfileVersion, bool]:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.set(tenant_record.id, name, text)

    version, is_new = on_gateway(write)
    note = (
        f"Version {version.ref.version} of the profile {version.ref.name} is set."
        if is_new
        else f"The profile {version.ref.name} was this already: nothing changed."
    )
    show(as_json, profile_view(version), [note, *_lines(version)])


@command(profile_commands, "list", example="profile list --tenant acme")
def list_profiles(tenant: TenantOption, as_json: AsJson = False) -> None:
    """List the profiles of a tenant."""

    async def read(gateway: Gateway) -> Sequence[ProfileEntry]:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.list(tenant_record.id)

    entries = on_gateway(read)
    cells = [
        (
            each.ref.name,
            str(each.ref.version),
            f"{each.type_name}.v{each.type_version}",
            each.set_at,
        )
        for each in entries
    ]
    document = {
        "profiles": [
            {
                "name": each.ref.name,
                "version": each.ref.version,
                "type": each.type_name,
                "typeVersion": each.type_version,
                "setAt": each.set_at,
            }
            for each in entries
        ]
    }
    show(as_json, document, columns(("PROFILE", "VERSION", "TYPE", "SET"), cells))


@command(profile_commands, "show", example="profile show payroll-export --tenant acme --version 1")
def show_profile(
    name: Name, tenant: TenantOption, version: Version = None, as_json: AsJson = False
) -> None:
    """Show a profile; with --json it is the document that `profile set` takes."""

    async def read(gateway: Gateway) -> ProfileVersion:
        tenant_record = await gateway.tenants.find(tenant)
        return await gateway.profiles.show(tenant_record.id, name, version or 0)

    found = on_gateway(read)
    heading = f"{found.ref.name}, version {found.ref.version}, set {found.set_at}"
    show(as_json, found.profile.to_document(), [heading, *_lines(found)])


@command(profile_commands, "delete", example="profile delete payroll-export --tenant acme")
def delete_profile(name: Name, tenant: TenantOption, as_json: AsJson = False) -> None:
    """Delete a profile: calls cannot name it any more.

    Its versions stay for the imports that used them. Set it again to use the name again.
    """

    async def delete(gateway: Gateway) -> dict[str, Any]:
        tenant_record = await gateway.tenants.find(tenant)
        ref = await gateway.profiles.delete(tenant_record.id, name)
        return {"name": ref.name, "version": ref.version, "deleted": True}

    document = on_gateway(delete)
    show(as_json, document, [f"The profile {document['name']} is deleted."])


def profile_view(version: ProfileVersion) -> dict[str, Any]:
    """A version of a profile in JSON."""
    return {
        "name": version.ref.name,
        "version": version.ref.version,
        "setAt": version.set_at,
        "profile": version.profile.to_document(),
    }


def _lines(version: ProfileVersion) -> list[str]:
    """The mapping as a table, and the other rules of the profile."""
    profile = version.profile
    cells = [
        (name, each.path, _rule(profile.values, each.path))
        for name, each in profile.columns.items()
    ]
    cells += [("(constant)", path, str(value)) for path, value in profile.constants.items()]
    lines = [f"type {profile.kind.name}, version {profile.kind.version}"]
    if profile.dates:
        lines.append(f"dates {profile.dates.text}")
    if profile.decimal:
        lines.append(f"decimal {profile.decimal}")
    for name, texts in profile.skip.items():
        shown = "any text" if texts is None else ", ".join(sorted(texts))
        lines.append(f"skips rows with {shown} in {name}")
    return [*lines, "", *columns(("COLUMN", "FIELD", "VALUES"), cells)]


def _rule(tables: Mapping[str, ValueTable], path: str) -> str:
    table = tables.get(path)
    if table is None:
        return ""
    return f"{len(table.entries)} entries, otherwise {table.otherwise or table.value}"
