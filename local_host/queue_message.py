"""A queue message as the host decodes it and the worker hands it over (PLATFORM 2.5)."""

import base64
import json
from datetime import datetime
from typing import Any

from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage

from local_host.indexing import AppFunction
from local_host.invoking import decode_trigger

_POISON_SUFFIX = "-poison"
_RESERVED = {"id", "dequeuecount", "insertiontime", "expirationtime", "nextvisibletime"}
_RESERVED |= {"popreceipt", "queuetrigger"}


def poison_name(queue_name: str) -> str:
    """The poison queue of a queue; empty for one that is itself poison or whose name is long."""
    name = queue_name + _POISON_SUFFIX
    return "" if queue_name.endswith(_POISON_SUFFIX) or len(name) > 63 else name


def decode_text(text: str, is_base64: bool) -> bytes:
    """The bytes of a message; raises ValueError where they are not base64 but should be."""
    if not is_base64:
        return text.encode("utf-8")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError("its text is not base64 (host.json messageEncoding)") from None


def reserved_property(text: str) -> str:
    """A top-level property of a JSON message that the host would write over the metadata."""
    if not (text.lstrip().startswith("{") and text.rstrip().endswith("}")):
        return ""
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    for name, value in document.items():
        if name.lower() in _RESERVED and value is not None and not isinstance(value, list):
            return str(name)
    return ""


def build_argument(function: AppFunction, message: QueueMessage, body: bytes) -> Any:
    """The handler's argument; raises ValueError where the host would spoil the metadata."""
    text = body.decode("utf-8", "replace")
    if name := "" if function.is_binary else reserved_property(text):
        raise ValueError(
            f"the host would write its top-level property {name!r} over the message's metadata"
        )
    content = Datum(body, "bytes") if function.is_binary else Datum(text, "string")
    metadata = {
        "Id": Datum(message.id, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "InsertionTime": _time(message.inserted_on),
        "ExpirationTime": _time(message.expires_on),
        "NextVisibleTime": _time(message.next_visible_on),
        "PopReceipt": Datum(message.pop_receipt, "string"),
    }
    return decode_trigger(function, content, metadata)


def _time(moment: datetime | None) -> Datum:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S+00:00") if moment else None
    return Datum(json.dumps(text) if text else None, "json" if text else None)
