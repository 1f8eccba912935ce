"""`manage.py person`: export, erase, hold and release what is stored about one person."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands import Overview, command, on_gateway
from cli.output import AsJson, columns, show
from cli.tenants import TenantOption
from cli.terminal import confirm
from shared.errors import ConflictError, InvalidRequestError
from shared.imports.model import MAX_LICENSE_REFERENCE, normal_reference
from shared.imports.persons import Identity, IdentityKind
from shared.services.persons.erasure import check_identities

person_commands = typer.Typer(
    cls=Overview,
    no_args_is_help=True,
    help="Persons: export or erase what is stored about one; forbid the erasure by a hold.",
)

Employer = Annotated[
    str, typer.Option("--employer", metavar="EMPLOYER", help="The worker's EmployerRef.")
]
Personnel = Annotated[
    str, typer.Option("--personnel", metavar="PERSONNEL", help="The worker's PersonnelRef.")
]
Company = Annotated[
    str, typer.Option("--company", metavar="COMPANY", help="companyCode of the licenses.")
]
Division = Annotated[
    str,
    typer.Option(
        "--division",
        metavar="DIVISION",
        help="divisionCode of the licenses. Without it, licenses without a division.",
    ),
]
EmployeeNumber = Annotated[
    str,
    typer.Option("--employee-number", metavar="NUMBER", help="employeeNumber of the licenses."),
]
PersonalId = Annotated[
    int | None,
    typer.Option(
        "--personal-id",
        metavar="ID",
        help="employeePersonalId of licenses without an employeeNumber.",
    ),
]
EmployeeId = Annotated[
    str,
    typer.Option("--employee-id", metavar="ID", help="employeeId of the authentication data."),
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why the person must not be erased.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="The zip file to write.")]
Yes = Annotated[bool, typer.Option("--yes", help="Erase without asking first.")]


def _identities(
    employer: Employer = "",
    personnel: Personnel = "",
    company: Company = "",
    division: Division = "",
    employee_number: EmployeeNumber = "",
    personal_id: PersonalId = None,
    employee_id: EmployeeId = "",
) -> Sequence[Identity]:
    """The identities that the options give. Raises InvalidRequestError for an incomplete one."""
    identities: list[Identity] = []
    if employer or personnel:
        parts = (_reference("--employer", employer), _reference("--personnel", personnel))
        identities.append(Identity(IdentityKind.WORKER, parts))
    if division and not company:
        raise InvalidRequestError(
            "--division names no person: add --company, with --employee-number or --personal-id."
        )
    if company or employee_number or personal_id is not None:
        group = _reference("--company", company, MAX_LICENSE_REFERENCE)
        part = _reference("--division", division, MAX_LICENSE_REFERENCE) if division else ""
        if not employee_number and personal_id is None:
            raise InvalidRequestError("--company needs --employee-number or --personal-id.")
        if employee_number:
            number = _reference("--employee-number", employee_number, MAX_LICENSE_REFERENCE)
            identities.append(Identity(IdentityKind.LICENSE_EMPLOYEE, (group, part, number)))
        if personal_id is not None:
            name = (group, part, str(personal_id))
            identities.append(Identity(IdentityKind.LICENSE_PERSONAL_ID, name))
    if employee_id:
        name_of = _reference("--employee-id", employee_id, MAX_LICENSE_REFERENCE)
        identities.append(Identity(IdentityKind.EMPLOYEE_ID, (name_of,)))
    check_identities(identities)
    return identities


def _reference(option: str, text: str, most: int = 60) -> str:
    """A reference as it is stored."""
    reference = normal_reference(text, most)
    if reference is None:
        raise InvalidRequestError(f"{option} must have 1 to {most} characters.")
    return reference


def _person_command(name: str, *, example: str) -> Callable[[Callable[..., None]], None]:
    """Make a function a command. Its `identities` come from the options of `_identities`."""

    def make_command(function: Callable[..., None]) -> None:
        options = inspect.signature(_identities, eval_str=True).parameters

        @wraps(function)
        def run(**values: Any) -> None:
            identities = _identities(**{option: values.pop(option) for option in options})
            function(identities=identities, **values)

        own = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            replaced = options.values() if parameter.name == "identities" else [parameter]
            parameters += [each.replace(kind=parameter.KEYWORD_ONLY) for each in replaced]
        # Typer reads the parameters and their types here.
        run.__dict__["__signature__"] = own.replace(parameters=parameters)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        command(person_commands, name, example=example)(run)

    return make_command


@_person_command(
    "export", example="person export --tenant acme --employer E1 --personnel P7 --out person.zip"
)
def export_person(
    tenant: TenantOption,
    out: Out,
    identities: Sequence[Identity],
    as_json: AsJson = False,
) -> None:
    """Write everything that is stored about a person to a zip file, sensitive values in the clear.

    The manifest in it says what was searched and how much of each was found. The export is noted in
    the audit log.
    """
    if out.exists():
        raise ConflictError(f"{out} exists already: choose another file.")
    manifest = on_gateway(lambda gateway: gateway.persons.export(tenant, identities, out))
    rows = [(str(each["found"]), each["what"]) for each in manifest["searched"]]
    show(as_json, manifest, [f"Wrote {out}.", *columns(("FOUND", "WHAT"), rows)])


@_person_command("erase", example="person erase --tenant acme --employer E1 --personnel P7")
def erase_person(
    tenant: TenantOption,
    identities: Sequence[Identity],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete everything that is stored about a person for good; asks first, unless --yes is given.

    Imports of the tenant wait until it has ended. It is refused while there is a hold on the
    person, and while an open import names the person. A command that was interrupted is completed
    by the same command.
    """
    if not yes and not confirm("Delete for good everything about this person? [y/N]: "):
        raise ConflictError("Nothing was erased: answer y, or add --yes to erase without asking.")
    erased = on_gateway(lambda gateway: gateway.persons.erase(tenant, identities))
    document = {"importId": erased.import_id, **erased.report.to_document()}
    lines = [f"{count:>8}  {area}" for area, count in erased.report.counts.items()]
    lines += [
        f"{each['count']:>8}  {each['what']}: kept, since {each['reason']} (see records check)"
        for each in document["kept"]
    ]
    head = "Erased:" if erased.report.counts else "Nothing is stored about this person."
    show(as_json, document, [head, *lines])


@_person_command(
    "hold", example='person hold --tenant acme --employer E1 --personnel P7 --reason "Case 14"'
)
def hold_person(
    tenant: TenantOption,
    reason: Reason,
    identities: Sequence[Identity],
    as_json: AsJson = False,
) -> None:
    """Refuse the erasure of a person until the hold is released."""
    text = " ".join(reason.split())
    if not 1 <= len(text) <= 500:
        raise InvalidRequestError("--reason must have 1 to 500 characters.")
    hashes = on_gateway(lambda gateway: gateway.persons.hold(tenant, identities, text))
    line = "The person is not erased until the hold is released."
    show(as_json, {"person": hashes, "reason": text}, [line])


@_person_command("release", example="person release --tenant acme --employer E1 --personnel P7")
def release_person(
    tenant: TenantOption,
    identities: Sequence[Identity],
    as_json: AsJson = False,
) -> None:
    """Release the hold on a person, so that the person can be erased."""
    hashes = on_gateway(lambda gateway: gateway.persons.release(tenant, identities))
    show(as_json, {"person": hashes}, ["The hold is released."])
