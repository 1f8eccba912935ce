"""A document's form: its fields and its one file, as the upload that they mean (CONTRACTS 4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import IO, TypeVar

from shared.errors import InvalidRequestError, TooLargeError
from shared.imports.documents.file_names import MOST_CHARACTERS, name_fault, safe_name
from shared.imports.documents.file_types import HEAD_BYTES, file_type_of
from shared.imports.documents.moments import past_moment
from shared.imports.documents.upload import Upload
from shared.imports.fields import MAX_REFERENCE, normal_reference
from shared.imports.near_names import is_like_dry_run
from shared.imports.reference_text import escaped
from shared.services.moments import iso
from shared.web.multipart import FILE, MAX_FIELD_BYTES, NO_FILE_NAME, Form, SentFile

_T = TypeVar("_T")


def read_upload(form: Form, now: datetime, types: AbstractSet[str], max_bytes: int) -> Upload:
    """The upload in a form; its file is `the_file(form)`.

    Raises TooLargeError for the file, else InvalidRequestError, which names everything that is
    wrong with the form.
    """
    for sent in form.files:
        check_file_size(_size(sent.content), max_bytes)
    faults: list[str] = []

    def noted(read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except InvalidRequestError as error:
            faults.append(error.message.rstrip("."))
            return otherwise

    for check in (_check_repeated, _check_no_dry_run, _check_no_summary):
        noted(partial(check, form), None)
    file = noted(lambda: the_file(form), None)
    upload = Upload(
        worker_ref=noted(lambda: _reference(form, "workerexternalId"), ""),
        round_code=noted(lambda: _reference(form, "communicationRoundCode"), ""),
        file_name="" if file is None else noted(lambda: _name(file), ""),
        generation_time=noted(lambda: _generation_time(form, now), ""),
        size=0 if file is None else noted(lambda: _filled_size(file), 0),
    )
    if faults or file is None:
        raise InvalidRequestError(f"{'; '.join(faults)}.")
    kind = file_type_of(upload.file_name, file.content.read(HEAD_BYTES), types)
    file.content.seek(0)
    return replace(upload, file_type=kind.name if kind else "")


def _check_repeated(form: Form) -> None:
    if form.repeated:
        names = ", ".join(escaped(name) for name in sorted(form.repeated))
        raise InvalidRequestError(f"A field of the form comes twice: send {names} once.")


def _check_no_dry_run(form: Form) -> None:
    if any(map(is_like_dry_run, form.fields)):
        raise InvalidRequestError(
            "A form cannot ask for a dry run, and nothing was done: send dryRun=true in the query."
        )


def _check_no_summary(form: Form) -> None:
    if (form.text("isSummary") or "false").lower() != "false":
        raise InvalidRequestError("isSummary must be false: summaries cannot be imported.")


def _filled_size(file: SentFile) -> int:
    size = _size(file.content)
    if size == 0:
        raise InvalidRequestError("The file is empty: send one with content.")
    return size


def the_file(form: Form) -> SentFile:
    """The one file of the form. Raises InvalidRequestError."""
    if FILE in form.fields:
        raise InvalidRequestError(NO_FILE_NAME)
    if not form.files:
        raise InvalidRequestError("The form has no file: send one in the part `file`.")
    if len(form.files) > 1 or form.files[0].field != FILE:
        raise InvalidRequestError("Send exactly one file, in the part `file`.")
    return form.files[0]


def content_of(form: Form) -> list[bytes]:
    """What tells two forms apart: fields in order of name, and the file with its name."""
    file = the_file(form)
    file.content.seek(0)
    fields = [part.encode() for pair in sorted(form.fields.items()) for part in pair]
    return [*fields, file.name.encode(), file.content.read()]


def check_file_size(size: int, most: int) -> None:
    """Raises TooLargeError where a file is over the limit."""
    if size > most:
        raise TooLargeError(
            f"The file has {size} bytes and the limit is {most}: send a smaller one."
        )


def check_form_size(size: int, most: int) -> None:
    """Raises TooLargeError where a body must hold a file over the limit, or no form of ours."""
    if size > most + MAX_FIELD_BYTES:
        raise TooLargeError(
            f"The body has {size} bytes and the limit of its file is {most}: send a smaller one."
        )


def _name(file: SentFile) -> str:
    if not file.name.strip():
        raise InvalidRequestError("The file has no name: send it under the name it is to have.")
    fault = name_fault(file.name)
    if fault:
        raise InvalidRequestError(
            f"The file name is not safe: {fault}, and send a plain name of at most "
            f"{MOST_CHARACTERS} characters, without a path."
        )
    return safe_name(file.name) or ""


def _reference(form: Form, field: str) -> str:
    reference = normal_reference(form.text(field) or "")
    if reference is None:
        raise InvalidRequestError(
            f"{field} is missing or too long: send 1 to {MAX_REFERENCE} characters."
        )
    return reference


def _generation_time(form: Form, now: datetime) -> str:
    moment = past_moment(form.text("generationTime") or "", now)
    if moment is None:
        raise InvalidRequestError(
            "generationTime must be YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS and not after now; without "
            "an offset it is UTC."
        )
    return iso(moment)


def _size(content: IO[bytes]) -> int:
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    return size
