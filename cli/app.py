"""`manage.py`: the commands put together, and their faults as one sentence on standard error."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import typer
from typer._click.exceptions import ClickException

from cli import (
    batch_rules,
    clients,
    documents,
    features,
    imports,
    integrations,
    poison,
    purge,
    records,
    references,
    rounds,
    sending,
    signing_keys,
    tenants,
)
from cli.output import AsJson
from cli.surroundings import ROOT
from cli.terminal import complain
from shared.errors import (
    GatewayError,
    InvalidRequestError,
    SettingsError,
    StorageUnavailableError,
)

app = typer.Typer(
    name="manage.py",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Administration of the Payroll Import Gateway, on the storage of the settings in force: "
    "AzureWebJobsStorage, else the running local gateway's, else local.settings.json.",
)
app.add_typer(tenants.app, name="tenant")
app.add_typer(integrations.app, name="integration")
app.add_typer(integrations.keys, name="key")
app.add_typer(clients.app, name="client")
app.add_typer(signing_keys.app, name="signing-key")
app.add_typer(references.app, name="reference")
app.add_typer(features.app, name="feature")
app.add_typer(rounds.app, name="round")
app.add_typer(batch_rules.thresholds, name="threshold")
app.add_typer(batch_rules.formats, name="format")
app.add_typer(documents.app, name="document")
app.add_typer(imports.app, name="imports")
app.add_typer(poison.app, name="poison")
app.add_typer(records.app, name="records")
app.command("import", no_args_is_help=True)(sending.send)
app.command("purge")(purge.purge)


@app.callback()
def every_command(as_json: AsJson = False) -> None:
    """What all commands share."""


def main() -> None:
    """Run the command line. Exit status 1 for a refusal or a fault, 2 for wrong usage."""
    try:
        _check_words(sys.argv[1:])
        sys.exit(app(standalone_mode=False))
    except ClickException as error:
        # The message repeats what was typed, which may be the name of a file.
        said = io.StringIO()
        error.show(said)
        complain(said.getvalue().splitlines())
        sys.exit(error.exit_code)
    except typer.Abort:
        complain(["Aborted!"])
        sys.exit(1)
    except Exception as error:
        if sys.flags.dev_mode and not isinstance(error, GatewayError):
            raise
        complain(_lines(error))
        sys.exit(1)


def _check_words(words: Sequence[str]) -> None:
    """Raises InvalidRequestError for bytes that are no text, but for the name of a file."""
    for number, word in enumerate(words, 1):
        if not os.path.lexists(word) and not _is_text(word):
            raise InvalidRequestError(
                f"Word {number} behind manage.py is not text in {sys.getfilesystemencoding()}: "
                "type it again, or rename the file that it names."
            )


def _is_text(word: str) -> bool:
    """Python reads a byte that is no text as half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _lines(error: Exception) -> list[str]:
    match error:
        case SettingsError():
            return list(error.problems)
        case StorageUnavailableError():
            return [f"Storage cannot be reached: {error}. Is the local gateway running?"]
        case GatewayError():
            return [str(error)]
        case OSError() if error.filename and error.strerror:
            return [f"{error.filename} cannot be used: {error.strerror}."]
        case _:
            # The text of a library's error may quote a row or a key, so it is not printed.
            return [
                f"The command failed with an error that it does not know ({_origin(error)}). Run "
                "it with `python -X dev manage.py` for the whole report."
            ]


def _origin(error: Exception) -> str:
    """The type of an error, and the line of this repository that it passed last."""
    *_, frame = traceback.extract_tb(error.__traceback__)
    for passed in traceback.extract_tb(error.__traceback__):
        if Path(passed.filename).is_relative_to(ROOT) and "site-packages" not in passed.filename:
            frame = passed
    return f"{type(error).__name__} at {Path(frame.filename).name}, line {frame.lineno}"
