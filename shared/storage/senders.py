"""The columns of a `Sender`, in the records of imports and of batches."""

from __future__ import annotations

from shared.imports.sender import Sender, caller_from_texts
from shared.storage.ports import Entity, Value


def sender_values(sender: Sender) -> dict[str, Value]:
    """The columns of a sender that have a value."""
    values: dict[str, Value] = {}
    if sender.caller is not None:
        values |= {"CallerKind": sender.caller.kind.value, "Caller": sender.caller.name}
    if sender.source:
        values["Source"] = sender.source
    if sender.body_hash:
        values["BodyHash"] = sender.body_hash
    return values


def sender_from_entity(entity: Entity) -> Sender:
    """The inverse of `sender_values`."""
    caller = caller_from_texts(entity.text("CallerKind"), entity.text("Caller"))
    return Sender(caller, entity.text("Source"), entity.text("BodyHash"))
