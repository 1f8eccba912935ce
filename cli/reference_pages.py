"""Generates the reference pages in `docs` from the code: `python -m cli.reference_pages`.

They are `types.md` and parts of other pages (`cli/type_pages.py`), `messages.md` (the message
catalogue and the refusals), `settings.md` (the declared table of settings) and `values.md` (states,
actions and options). A test compares each page with the code, so that a page cannot become
outdated.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cli.type_pages import DOCS, TYPES_PAGE, markdown_table, render_types_page, with_parts
from shared import errors
from shared.errors import RefusedError
from shared.imports.assignments.rules import RULES as ASSIGNMENTS
from shared.imports.documents.messages import DocumentMessageId
from shared.imports.documents.model import FILE_TYPES, Upload, type_fault
from shared.imports.file_names import name_fault
from shared.imports.files.templates import SAMPLES
from shared.imports.import_type import ON_EXISTING_MEANINGS, OnExisting, Options, RecordRules
from shared.imports.licenses.actions import ACTION_MEANINGS, LicenseAction
from shared.imports.licenses.messages import LicenseMessageId
from shared.imports.licenses.rules import read_license
from shared.imports.messages import SEND_AGAIN, Message, MessageId
from shared.imports.registry import IMPORT_TYPES, MESSAGE_CATALOGUE
from shared.imports.results import OUTCOME_MEANINGS
from shared.imports.workers.rules import RULES as WORKERS
from shared.services.status import STATE_MEANINGS
from shared.settings import COMMAND_NAMES, FORM, SETTINGS, Kind, Setting, read_settings
from shared.storage_account import CONNECTION, DEVELOPMENT, PARTS
from shared.web.openapi.document import operations
from shared.web.openapi.operations import Limits, Parameter
from shared.web.responses import FAULTS, STATUS

# An example of each message of the catalogue, from the rules themselves if one row is enough.

Row = dict[str, Any]

_DAY: Final = "2026-01-31"
_WORKER: Final[Row] = {"EmployerRef": "ER1", "PersonnelRef": "W1", "Surname": "Worker"}
_ASSIGNMENT: Final[Row] = {
    "EmployerRef": "ER1", "AssignmentRef": "A1", "ClientRef": "C1", "PersonnelRef": "W1",
    "DivisionRef": "D1", "DepartmentRef": "DP1", "StartDate": "2026-01-01",
    "ExpectedEndDate": None, "ActualEndDate": None,
}  # fmt: skip
_LICENSE: Final[Row] = {"companyCode": "C1", "employeeNumber": "7"}
_KEY: Final = "12345678-1234-1234-1234-12345678901{}"


def examples() -> dict[int, Message]:
    """A message of each id, in the order of the ids."""
    by_id: dict[int, Message] = {}
    for message in (*_from_bad_rows(), *_from_storage()):
        by_id.setdefault(message.id, message)
    return {id_: by_id.get(id_) or Message(id_) for id_ in sorted(MESSAGE_CATALOGUE)}


def _from_bad_rows() -> Iterator[Message]:
    """The messages that readers and rules produce for invalid example rows."""
    yield from WORKERS.read(0, {**_WORKER, "EmployerRef": " "}).messages
    yield from WORKERS.read(0, {**_WORKER, "IsStudent": "yes"}).messages
    yield from WORKERS.read(0, {**_WORKER, "ExternalWorkerRef": "9" * 61}).messages
    bank = {"BankSortCode": "12-34-56"}
    yield from WORKERS.read(0, {**_WORKER, "PrimaryBankDetails": bank}).messages
    yield from _read_license_with(reminder={"offsetDirection": "Soon"})
    yield from WORKERS.read(0, {**_WORKER, "DateOfBirth": "01/05/1980"}).messages
    yield from WORKERS.read(0, {**_WORKER, "Forename1": "Sample"}).messages
    yield from WORKERS.read(0, {**_WORKER, "Gender": 2**40}).messages
    yield Message(MessageId.NO_ENTRY, "Gender", "divers")
    yield from _decide_new(WORKERS, {"StartDate": "2026-02-01", "LeavingDate": _DAY, **_WORKER})
    yield from _decide_new(ASSIGNMENTS, {**_ASSIGNMENT, "HolOverrideWeeks": -1})
    existing = WORKERS.decide(WORKERS.read(0, _WORKER), None, Options()).document
    yield from WORKERS.decide(WORKERS.read(0, _WORKER), existing, Options()).messages
    yield from _of_existing_records()
    keys = [_KEY.format(digit) for digit in (1, 2)]
    yield from _read_license_with(licenseKey=keys[0], serializableLicenseKey=keys[1])
    yield from _read_license_with(documents=[{"name": "a.pdf", "content": "*"}])
    yield from _read_license_with(employeeNumber=None)


def _of_existing_records() -> Iterator[Message]:
    """For each type, its sample twice where the integration refuses what is stored already."""
    for kind in IMPORT_TYPES.values():
        if isinstance(kind.rules, RecordRules):
            [sample, *_] = json.loads(
                (SAMPLES / f"{kind.name}.json").read_text("utf-8"), parse_float=Decimal
            )
            row = kind.rules.read(0, sample)
            existing = kind.rules.decide(row, None, Options()).document
            yield from kind.rules.decide(row, existing, Options(OnExisting.ERROR)).messages


def _decide_new(rules: RecordRules, row: Row) -> Iterable[Message]:
    return rules.decide(rules.read(0, row), None, Options(accepted_on=_DAY)).messages


def _read_license_with(**values: Any) -> Iterable[Message]:
    return read_license(0, {**_LICENSE, **values}, LicenseAction.OVERRIDE).messages


def _from_storage() -> Iterator[Message]:
    """The messages that depend on storage, a batch or a file."""
    yield Message(
        MessageId.REFERENCE_NOT_FOUND,
        "PersonnelRef",
        "W9",
        "no record of this name is stored with the employer of the row",
    )
    yield Message(LicenseMessageId.NO_LICENSE_TO_UPDATE, "licenseKey", _KEY.format(1))
    yield Message(LicenseMessageId.NO_LICENSE_TO_DELETE, "licenseKey", _KEY.format(1))
    names: dict[int, str] = {
        DocumentMessageId.UNSAFE_FILE_NAME: "../payslip.pdf",
        DocumentMessageId.WRONG_FILE_TYPE: "payslip.exe",
    }
    details: dict[int, str | None] = {
        DocumentMessageId.UNSAFE_FILE_NAME: name_fault(names[DocumentMessageId.UNSAFE_FILE_NAME]),
        DocumentMessageId.WRONG_FILE_TYPE: type_fault(
            names[DocumentMessageId.WRONG_FILE_TYPE], FILE_TYPES.keys()
        ),
    }
    for id_ in sorted(MESSAGE_CATALOGUE):
        if 4000 < id_ < 5000:
            upload = Upload("W1", "2026-01", names.get(id_, "payslip.pdf"), _DAY, 10)
            fault = upload.refused(id_, details.get(id_)).fault
            assert fault is not None
            yield fault
    yield Message(MessageId.COULD_NOT_BE_PROCESSED, detail=SEND_AGAIN.format(id=_KEY.format(1)))


# Templates of all refusals in the source, for the page of messages and its test.

ROOT: Final = Path(__file__).resolve().parent.parent
_SHARED: Final = ROOT / "shared"
# The placeholder in a template for a part that is known only at run time.
_LEFT_OUT: Final = "…"

# The statuses of the faults of a token request that are not 400.
_TOKEN_STATUS: Final = {"INVALID_CLIENT": 401, "SERVER_ERROR": 500, "TEMPORARILY_UNAVAILABLE": 503}


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """A refusal: its HTTP status, its sentence, and the module that raises it."""

    status: int
    text: str
    module: str


def refusals() -> list[Refusal]:
    """All refusals without duplicates, sorted by status and sentence."""
    modules = {
        (status, text): module.relative_to(ROOT).as_posix()
        for module in sorted(_SHARED.rglob("*.py"))
        for status, text in _refusals_in(module)
    }
    return sorted(Refusal(status, text, module) for (status, text), module in modules.items())


def _status_of(kind: type[RefusedError], call: ast.Call) -> int:
    for argument in call.args:
        if isinstance(argument, ast.Attribute) and argument.attr in _TOKEN_STATUS:
            return _TOKEN_STATUS[argument.attr]
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def _refusals_in(module: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        # `ConflictError(text)`, or a call that takes the class and the text to raise it with.
        for class_node, text_node in pairwise([node.func, *node.args]):
            kind = (
                getattr(errors, class_node.id, None) if isinstance(class_node, ast.Name) else None
            )
            if isinstance(kind, type) and issubclass(kind, RefusedError):
                text = _template(text_node, module)
                if text:
                    yield _status_of(kind, node), text


def _template(node: ast.expr, module: Path) -> str:
    """The text of an expression; "" if all of it is known only at run time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            parts = [_template(value, module) or _LEFT_OUT for value in values]
            has_words = any(mark.isalpha() for part in parts for mark in part)
            return "".join(parts) if has_words else ""
        case ast.FormattedValue(value=value):
            return _template(value, module)
        case ast.Name(id=name):
            dotted = ".".join(module.relative_to(ROOT).with_suffix("").parts)
            constant = getattr(importlib.import_module(dotted), name, None)
            return str(constant) if isinstance(constant, (str, int)) else ""
        case _:
            return ""


# docs/settings.md

SETTINGS_PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

_SETTINGS_HEAD = """# Settings

Settings are environment variables: the application settings of the function app, or `Values` in
`local.settings.json` (copy `local.settings.example.json`). A blank value counts as not set. All
problems are reported together when the app starts, and a misspelt `GATEWAY_` name is one.

This page is written by `python -m cli.reference_pages`.
"""

_IDENTITY_HEAD = f"""## An account reached by identity

Instead of `{CONNECTION}` (which wins where both are set):
"""

_COMMANDS_HEAD = """## Read by the commands only
"""


def render_settings_page() -> str:
    """The whole page, in Markdown."""
    parts = [(f"`{CONNECTION}__{suffix}`", purpose) for suffix, purpose in PARTS.items()]
    names = [(f"`{name}`", purpose) for name, purpose in COMMAND_NAMES.items()]
    sections = (
        _SETTINGS_HEAD,
        render_settings(),
        _IDENTITY_HEAD,
        markdown_table(("Name", "What it is for"), parts),
        _COMMANDS_HEAD,
        markdown_table(("Name", "What it is for"), names),
    )
    return "\n".join(sections)


def render_settings() -> str:
    """The table of the declared settings alone, in Markdown."""
    rows = [
        (
            f"`{item.name}`",
            f"`{item.default}`" if item.default else "none",
            _allowed_text(item),
            item.purpose,
        )
        for item in SETTINGS
    ]
    return markdown_table(("Name", "Default", "Allowed", "What it is for"), rows)


def _allowed_text(item: Setting) -> str:
    if item.kind is Kind.CONNECTION:
        return "connection string"
    if item.kind is Kind.HASH_KEYS:
        return FORM
    if item.kind is Kind.CHOICE:
        return ", ".join(f"`{choice}`" for choice in item.choices)
    if item.kind is Kind.WORDS:
        return "some of these words"
    if item.most:
        return f"{item.least} to {item.most} {item.kind.value}"
    return item.kind.value


# docs/messages.md

MESSAGES_PAGE = Path(__file__).parent.parent / "docs" / "messages.md"

_MESSAGES_HEAD = """# Messages of rows

Every message of a row has one of these ids (`errorID`). A row with an Error fails, and nothing of
it is stored; a Warning or an Info does not make a row fail. `fieldName` is the path of the field,
such as `PrimaryBankDetails.BankSortCode`. `fieldValue` is the value that was sent; it is left out
for bank details, national insurance and passport numbers. The sentence of a message says what is
wrong and what to do; the vendor's own sentences stay as they are.

This page is written by `python -m cli.reference_pages`.
"""


_PLACEHOLDER: Final = re.compile(r"\{[a-z_]+\}")
_REFUSALS_HEAD = """
# Refusals of calls

A call that is refused as a whole is answered `{"message": "…"}`; `/connect/token` answers
`{"error": "…", "error_description": "…"}`. Nothing of the call was accepted, unless the message
says that it may have been. `…` in this table is a part that is known only at the call. A refusal
never quotes a key or a personal value. Some of the messages are those of `manage.py`, which prints
them on standard error.
"""


def render_messages_page() -> str:
    """The whole page, in Markdown."""
    rows = [
        (str(id_), entry.severity.value, entry.text, entry.advice, _example_text(example))
        for (id_, entry), example in zip(
            sorted(MESSAGE_CATALOGUE.items()), examples().values(), strict=True
        )
    ]
    head = ("Id", "Kind", "Message", "What to do", "Example")
    # Those that the source raises, and the answers to faults of storage and of the gateway.
    raised_messages = {(each.status, each.text) for each in refusals()}
    faults = {(status, _PLACEHOLDER.sub("…", text)) for status, text in FAULTS}
    refused = [(str(status), _cell(text)) for status, text in sorted(raised_messages | faults)]
    return (
        f"{_MESSAGES_HEAD}\n{markdown_table(head, rows)}{_REFUSALS_HEAD}\n"
        f"{markdown_table(('Status', 'Message'), refused)}"
    )


def _example_text(message: Message) -> str:
    """Field, value and sentence, as a caller gets them."""
    field = f"`{message.field}` " if message.field else ""
    value = f"`{message.value}` " if message.value else ""
    return _cell(f"{field}{value}{message.text}")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# docs/values.md

VALUES_PAGE = Path(__file__).parent.parent / "docs" / "values.md"

_VALUES_HEAD = """# States, actions and options

The meaning of the words in calls and answers. This page is written by
`python -m cli.reference_pages`. The meaning of every field is in the schemas
(`GET /api/import/workers.v1.schema`), and the messages are in [messages.md](messages.md).
"""

_DROP_STATES = """\
A [dropped file](importing-files.md#drops) that is no import has one of these states in its
`result.json`, with a `message`; one without rows is `Completed`.

| State | What it says |
| --- | --- |
| `Rejected` | The file was refused as a whole. It lies in `row-rejected`. |
| `Waiting` | The operator must mend what the message says. The file is imported then. |
"""


def render_values_page() -> str:
    """The whole page, in Markdown."""
    actions = [
        (f"`{action}`", meaning.stored, meaning.missing, meaning.absent)
        for action, meaning in ACTION_MEANINGS.items()
    ]
    sections = (
        _VALUES_HEAD,
        "## States of an import\n",
        markdown_table(("State", "What it says"), _meaning_rows(STATE_MEANINGS)),
        _DROP_STATES,
        "## Outcomes of a row\n",
        markdown_table(("Outcome", "What it says"), _meaning_rows(OUTCOME_MEANINGS)),
        "## importAction of licenses\n",
        "`Override` is the default.\n",
        markdown_table(
            (
                "Action",
                "A stored license",
                "A license that is not stored",
                "A field that the row leaves out",
            ),
            actions,
        ),
        "## onExisting of an integration\n",
        markdown_table(("Value", "What it says"), _meaning_rows(ON_EXISTING_MEANINGS)),
        "## Options of calls\n",
        markdown_table(("Name", "Where", "What it does", "Calls"), [*_option_rows()]),
    )
    return "\n".join(sections)


def _meaning_rows(meanings: Mapping[Any, str]) -> list[tuple[str, str]]:
    return [(f"`{value}`", text) for value, text in meanings.items()]


def _option_rows() -> Iterator[tuple[str, str, str, str]]:
    """Every parameter of the published contract that is no part of an address, once."""
    calls: dict[tuple[str, str, str], list[str]] = {}
    for operation in operations(Limits.of(read_settings({CONNECTION: DEVELOPMENT}))):
        for item in operation.parameters:
            if item.place != "path":
                key = (item.name, item.place, _parameter_text(item))
                calls.setdefault(key, []).append(f"`{operation.method} {operation.path}`")
    for (name, place, text), operations_of in sorted(
        calls.items(), key=lambda each: each[0][0].lower()
    ):
        first = ", ".join(operations_of[:3])
        more = f" and {len(operations_of) - 3} more" if len(operations_of) > 3 else ""
        yield f"`{name}`", place, text, first + more


def _parameter_text(item: Parameter) -> str:
    """What a parameter does, its values and its default."""
    values = item.schema.get("enum")
    values_text = f" Values: {', '.join(f'`{value}`' for value in values)}." if values else ""
    default = item.schema.get("default")
    default_text = str(default).lower() if isinstance(default, bool) else default
    return f"{item.text}{values_text}" + (
        f" Default: `{default_text}`." if default is not None else ""
    )


if __name__ == "__main__":
    MESSAGES_PAGE.write_text(render_messages_page(), encoding="utf-8")
    SETTINGS_PAGE.write_text(render_settings_page(), encoding="utf-8")
    VALUES_PAGE.write_text(render_values_page(), encoding="utf-8")
    TYPES_PAGE.write_text(render_types_page(), encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        page.write_text(with_parts(page.read_text("utf-8")), encoding="utf-8")
