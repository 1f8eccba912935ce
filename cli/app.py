"""`manage.py`: all commands, and their errors as one sentence on standard error."""

from __future__ import annotations

import functools
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer
from typer._click.core import Command
from typer._click.exceptions import ClickException

from cli import (
    audit,
    documents,
    drops,
    import_command,
    imports,
    maintenance,
    persons,
    profiles,
    records,
    tenant_rules,
    tenants,
)
from cli.commands import EMERGENCIES, EVERY_DAY, SET_UP, Overview, command
from cli.environment import ROOT
from cli.output import AsJson
from cli.terminal import print_errors
from shared.errors import (
    GatewayError,
    InvalidRequestError,
    SettingsError,
    StorageUnavailableError,
)

_EXAMPLES = """\b
Examples:
  Set up       manage.py tenant create "Acme"
               manage.py integration add --tenant acme --software-key HR1
  Every day    manage.py import workers workers.csv --dry-run
               manage.py imports list --tenant acme
               manage.py records show workers E1 007 --tenant acme
  Emergencies  manage.py key rotate --tenant acme --software-key HR1
               manage.py records check

\b
`manage.py COMMAND --help` shows an example of each command. Where the gateway
was set up by dev.py, `manage.py` is called as `python3 dev.py manage`.
"""
app = typer.Typer(
    name="manage.py",
    cls=Overview,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Administer the Payroll Import Gateway. The commands use the storage of "
    "AzureWebJobsStorage, else that of the running local gateway, else that of "
    "local.settings.json.",
    epilog=_EXAMPLES,
)
for _heading, _groups in (
    (
        SET_UP,
        {
            "tenant": tenants.tenant_commands,
            "integration": tenants.integration_commands,
            "client": tenants.client_commands,
            "feature": documents.feature_commands,
            "round": documents.round_commands,
            "profile": profiles.profile_commands,
            "reference": tenant_rules.reference_commands,
            "threshold": tenant_rules.thresholds,
            "format": tenant_rules.formats,
        },
    ),
    (
        EVERY_DAY,
        {
            "imports": imports.import_commands,
            "records": records.commands,
            "document": documents.document_commands,
        },
    ),
    (
        EMERGENCIES,
        {
            "key": tenants.key_commands,
            "secret": tenants.secret_commands,
            "signing-key": maintenance.signing_key_commands,
            "data-key": maintenance.data_key_commands,
            "poison": maintenance.poison_commands,
            "person": persons.person_commands,
        },
    ),
):
    for _name, _group in _groups.items():
        app.add_typer(_group, name=_name, rich_help_panel=_heading)
command(
    app,
    "import",
    example="import workers workers.csv --failed-rows failed.csv",
    panel=EVERY_DAY,
    no_args_is_help=True,
)(import_command.import_command)
command(
    app,
    "drop",
    example="drop workers.csv --tenant acme --software-key HR1 --type workers --wait",
    panel=EVERY_DAY,
    no_args_is_help=True,
)(drops.drop)
command(
    app,
    "template",
    example="template workers --xlsx --out workers.xlsx",
    panel=EVERY_DAY,
    no_args_is_help=True,
)(import_command.template_command)
command(app, "purge", example="purge --tenant acme --days 30", panel=EMERGENCIES)(maintenance.purge)


command(app, "audit", example="audit --tenant acme --since 2026-01-31", panel=EMERGENCIES)(
    audit.audit
)


@app.callback()
def every_command(as_json: AsJson = False) -> None:
    """Options of all commands."""


@functools.cache
def _root() -> Command:
    """The whole command line, which takes a while to build."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line. Exit status 1 for a refusal or an error, 2 for wrong usage."""
    try:
        _check_words(sys.argv[1:])
        sys.exit(_root()(standalone_mode=False, prog_name=app.info.name))
    except ClickException as error:
        # The message repeats what was typed, which may be the name of a file.
        usage = io.StringIO()
        error.show(usage)
        print_errors(usage.getvalue().splitlines())
        sys.exit(error.exit_code)
    except typer.Abort:
        print_errors(["Aborted!"])
        sys.exit(1)
    except Exception as error:
        if sys.flags.dev_mode and not isinstance(error, GatewayError):
            raise
        print_errors(_error_lines(error))
        sys.exit(1)


def _check_words(words: Sequence[str]) -> None:
    """Raises InvalidRequestError for arguments that are not text, except names of files."""
    for number, word in enumerate(words, 1):
        # Python decodes an invalid byte as a lone surrogate.
        is_text = not any("\ud800" <= character <= "\udfff" for character in word)
        if not is_text and not os.path.lexists(word):
            raise InvalidRequestError(
                f"Word {number} behind manage.py is not text in {sys.getfilesystemencoding()}: "
                "type it again, or rename the file that it names."
            )


def _error_lines(error: Exception) -> list[str]:
    match error:
        case SettingsError():
            return list(error.problems)
        case StorageUnavailableError():
            return [_storage_line(str(error))]
        case GatewayError():
            return [str(error)]
        case OSError() if error.filename and error.strerror:
            return [f"{error.filename} cannot be used: {error.strerror}."]
        case _:
            # The text of a library's error may quote a row or a key, so it is not printed.
            return [
                "The command failed with an unexpected error "
                f"({_error_origin(error)}). Run it with `python -X dev manage.py` for the whole "
                "report."
            ]


def _storage_line(reason: str) -> str:
    """Why storage was not reached, and what to do; an account in Azure asks for roles."""
    if reason in ("storage answered 401", "storage answered 403"):
        return (
            f"Storage refuses this command: {reason}. You need roles on the account, which count "
            "some minutes after they were given (docs/deploy.md#who-else-may-do-what)."
        )
    if "ClientAuthenticationError" in reason or "CredentialUnavailableError" in reason:
        return f"Storage cannot be reached: {reason}. Sign in with `az login`."
    return f"Storage cannot be reached: {reason}. Is the local gateway running?"


def _error_origin(error: Exception) -> str:
    """The type of an error, and the innermost line of this repository in its traceback."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    for shown in traceback.extract_tb(error.__traceback__):
        if Path(shown.filename).is_relative_to(ROOT) and "site-packages" not in shown.filename:
            frame = shown
    return f"{type(error).__name__} at {Path(frame.filename).name}, line {frame.lineno}"
