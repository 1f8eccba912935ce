"""Entries of the audit log in storage (docs/design.md#2): inserted once, ended once, never deleted.

In the table `Audit`, partition tenant, or `-` for acts on the gateway itself; the row key is an
inverted time, so that a list begins with the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from shared.clock import to_iso
from shared.errors import UnreadableDataError
from shared.imports.sender import NamedCaller, caller_from_texts
from shared.storage.entities import encode, pack_json, unpack_json
from shared.storage.ports import Entity, Merge, Operation, Upsert, Value

GATEWAY: Final = "-"
"""The partition of acts on the gateway itself; the id of a tenant has at least 3 characters."""
_LAST: Final = 10**16
"""Microseconds since 1970 of a time in the year 2286, later than all stored times."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class AuditState(StrEnum):
    """What is known of an act."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"


STATE_MEANINGS: Final[Mapping[AuditState, str]] = {
    AuditState.BEGUN: "The act was begun and its end is not known: it is going on, or it was "
    "interrupted, so that it may have been carried out or not.",
    AuditState.DONE: "The act was carried out.",
    AuditState.REFUSED: "The act was refused, and nothing was changed.",
}
"""What each state says, for the documents."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An administrative act; `row` is its place in the log.

    `tenant` is "" for an act on the gateway itself. `target` names the object of the act. `before`
    and `after` are the values that the act changes, None if there are none to show. None of these
    ever contains a secret.
    """

    tenant: str
    row: str
    at: str
    action: str
    caller: NamedCaller | None
    target: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    state: AuditState = AuditState.BEGUN


def audit_partition(tenant: str) -> str:
    """The partition of the entries of a tenant, or of the gateway ("")."""
    return encode(tenant) if tenant else GATEWAY


def audit_row(at: datetime, unique: str) -> str:
    """The row key of an entry."""
    return f"{_inverted(at):016d}|{unique}"


def audit_range(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """First and last row key of the entries from `since` up to `until`, both included."""
    first = f"{_inverted(until):016d}|" if until else ""
    last = f"{_inverted(since):016d}|~" if since else "~"
    return first, last


def _inverted(moment: datetime) -> int:
    """16 digits for any time: those before 1970 and after 2286 count as the first and the last."""
    return min(_LAST - 1, max(0, _LAST - (moment - _EPOCH) // timedelta(microseconds=1)))


def beginning(entry: AuditEntry) -> Operation:
    """The write before an act, which inserts the entry as begun."""
    values: dict[str, Value] = {
        "At": entry.at,
        "Action": entry.action,
        "State": entry.state.value,
        **pack_json("Target", dict(entry.target)),
    }
    if entry.caller is not None:
        values |= {"CallerKind": entry.caller.kind.value, "Caller": entry.caller.name}
    for name, content in (("Before", entry.before), ("After", entry.after)):
        if content is not None:
            values |= pack_json(name, dict(content))
    # The row key is unique. An insert would fail when it is repeated after a lost answer.
    return Upsert(Entity(audit_partition(entry.tenant), entry.row, values))


def ending(
    entry: AuditEntry, etag: str, state: AuditState, after: Mapping[str, Any] | None
) -> Operation:
    """The write after an act, which adds the outcome to its entry.

    `after` has the values that are known only after the act.
    """
    values: dict[str, Value] = {"State": state.value}
    if after is not None:
        values |= pack_json("After", dict(after))
    return Merge(Entity(audit_partition(entry.tenant), entry.row, values, etag))


def audit_entry(entity: Entity) -> AuditEntry:
    """The inverse of `beginning`. Unreadable values are left out; an unreadable state is begun."""
    try:
        state = AuditState(entity.text("State"))
    except ValueError:
        state = AuditState.BEGUN
    return AuditEntry(
        tenant="" if entity.partition == GATEWAY else entity.partition,
        row=entity.row,
        at=entity.text("At") or _time_of(entity.row),
        action=entity.text("Action"),
        caller=caller_from_texts(entity.text("CallerKind"), entity.text("Caller")),
        target=_content(entity, "Target") or {},
        before=_content(entity, "Before"),
        after=_content(entity, "After"),
        state=state,
    )


def _content(entity: Entity, name: str) -> Mapping[str, Any] | None:
    try:
        content = unpack_json(name, entity.values)
    except UnreadableDataError:
        return None
    return content if isinstance(content, dict) else None


def _time_of(row: str) -> str:
    inverted = row.partition("|")[0]
    if not inverted.isascii() or not inverted.isdigit():
        return ""
    return to_iso(_EPOCH + timedelta(microseconds=_LAST - int(inverted)))
