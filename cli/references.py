"""`manage.py reference`: lists of values that rows are checked against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.access import on_gateway
from cli.command_help import Overview, command
from cli.integrations import TenantOption
from cli.output import AsJson, show
from cli.text_files import UnreadableFileError, read_text_file
from shared.errors import InvalidRequestError
from shared.gateway import Gateway
from shared.imports.import_type import ReferenceKind, find_kind

reference_commands = typer.Typer(
    cls=Overview, no_args_is_help=True, help="Reference lists: which values rows may name."
)

_KINDS = ", ".join(ReferenceKind)
File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        readable=True,
        help="A text file in UTF-8, with one value per line.",
    ),
]
Kind = Annotated[
    str,
    typer.Option(
        "--kind", metavar="KIND", help=f"One of {_KINDS}; the name of a field is taken too."
    ),
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
    wanted = find_kind(kind)
    if wanted is None:
        raise InvalidRequestError(f"There is no kind {kind!r}; there are: {_KINDS}.")
    values = read_values(file)
    if not values:
        raise UnreadableFileError(
            f"{file.name} has no values, so the list stays as it was: check that it is the right "
            "file."
        )

    async def write(gateway: Gateway) -> tuple[int, bool]:
        found = await gateway.tenants.find(tenant)
        is_new = not await gateway.lists.is_loaded(found.id, wanted)
        return await gateway.lists.load(found.id, wanted, values), is_new

    count, is_new = on_gateway(write)
    said = "there was none of this kind" if is_new else "it replaces the one before"
    document = {"tenant": tenant, "kind": wanted.value, "values": count}
    show(as_json, document, [f"Loaded the list {wanted.value} with {count} values; {said}."])


def read_values(file: Path) -> list[str]:
    """The lines of a file that are not blank. Raises UnreadableFileError."""
    return [line for line in read_text_file(file).splitlines() if line.strip()]
