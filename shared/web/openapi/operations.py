"""What is told of one operation: a value per HTTP method and address, kept by area.

A function without such a description does not pass `tests/unit/house/test_described.py`, so the
published document is complete; that it is true is shown by the tests that call the gateway with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Schema = Mapping[str, Any]
"""A JSON Schema, or a reference to one of the document's components."""


class Access(Enum):
    """Who may call: everybody, or the holder of one of these credentials."""

    OPEN = ()
    KEY_PAIR = ("keyPair",)
    BEARER = ("bearer",)
    EITHER = ("keyPair", "bearer")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the address, the query or a header (`place` as OpenAPI names it)."""

    name: str
    place: str
    text: str
    schema: Schema
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent: a schema per media type; `sample` names a file of `samples/`."""

    media: Mapping[str, Schema]
    sample: str = ""
    is_required: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back with one status: a schema per media type, and headers with their meaning."""

    text: str
    media: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one address.

    `function` is the function that answers; `refusals` are the statuses of its refusals, each
    with `{"message"}` unless `answers` says something else of the status. `message_type` names the
    import type whose rows the body carries.
    """

    function: str
    method: str
    path: str
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    refusals: tuple[int, ...] = ()
    access: Access = Access.OPEN
    text: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    refusal_media: tuple[str, ...] = ()
    """Media types besides JSON that a refusal may come in."""
    scope: str = ""
    """The scope that a token must have; none where any of them will do."""
    message_type: str = ""
    name: str = ""
    """The `operationId`, where the function has more than one operation; else the function's."""
