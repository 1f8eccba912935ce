"""Queue triggers: a listener per function, with the host's polling, lease, attempts and poison.

They work as docs/platform.md#2 describes, but the lease is short (LOCAL_HOST_LEASE_SECONDS, 30 s)
and is renewed while the handler runs, so that the messages of a killed process come back soon.

A short lease expires if the machine or the storage does not respond for half of its time, and after
a lost answer to a renewal the host has an old pop receipt. The listener then receives a message
that it is still processing. It takes the new receipt over and does not run the message a second
time. On the platform a stall of less than ten minutes has no effect either.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.functions.meta import Datum
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueClient

from local_host.app_settings import InvocationFailedError
from local_host.host_json import QueueOptions
from local_host.indexing import AppFunction
from local_host.invoking import Invoker, decode_trigger

_log = logging.getLogger(__name__)

_SHORTEST_PAUSE = 0.1
_GONE = 404
_MOST_FINISHED = 1_000
_HAND_BACK_SECONDS = 3.0
_POISON_SUFFIX = "-poison"
_RESERVED = {"id", "dequeuecount", "insertiontime", "expirationtime", "nextvisibletime"}
_RESERVED |= {"popreceipt", "queuetrigger"}


def poison_name(queue_name: str) -> str:
    """The poison queue of a queue; empty for a poison queue, and for a name that is too long."""
    name = queue_name + _POISON_SUFFIX
    return "" if queue_name.endswith(_POISON_SUFFIX) or len(name) > 63 else name


def decode_text(text: str, is_base64: bool) -> bytes:
    """The bytes of a message. Raises ValueError if they should be base64 and are not."""
    if not is_base64:
        return text.encode("utf-8")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise ValueError("its text is not base64 (host.json messageEncoding)") from None


def find_reserved_property(text: str) -> str:
    """A top-level property of a JSON message by which the host would overwrite the metadata."""
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
    """The handler's argument. Raises ValueError if the host would overwrite the metadata."""
    text = body.decode("utf-8", "replace")
    if name := "" if function.is_binary else find_reserved_property(text):
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


def _time(time: datetime | None) -> Datum:
    text = time.strftime("%Y-%m-%dT%H:%M:%S+00:00") if time else None
    return Datum(json.dumps(text) if text else None, "json" if text else None)


class Backoff:
    """Random exponential pauses, which double from 100 ms (+-20%) up to a maximum in seconds."""

    def __init__(self, maximum: float) -> None:
        self._maximum = maximum
        self._exponent = 0

    def reset(self) -> None:
        """Begin again with the shortest pause, after messages were received."""
        self._exponent = 0

    def next_pause(self) -> float:
        """The pause when there was no message."""
        pause = _SHORTEST_PAUSE
        if self._exponent:
            pause += random.uniform(0.8, 1.2) * 2.0 ** (self._exponent - 1) * pause  # noqa: S311
        if pause >= self._maximum:
            self._exponent = 64
            return self._maximum
        self._exponent += 1
        return pause


class Lease:
    """Keeps a message hidden while it is processed. Every renewal changes the pop receipt."""

    def __init__(self, queue: QueueClient, message: QueueMessage, seconds: float) -> None:
        self._queue = queue
        self._id = str(message.id)
        self._receipt = str(message.pop_receipt)
        self._seconds = seconds
        self._done = asyncio.Event()

    def take_over(self, message: QueueMessage) -> None:
        """Use the receipt of a later delivery of the same message to the same listener."""
        self._receipt = str(message.pop_receipt)

    async def keep(self) -> None:
        """Renew at half of the time until released. A lost lease is only logged, as in the host."""
        while not self._done.is_set():
            try:
                async with asyncio.timeout(self._seconds / 2):
                    await self._done.wait()
            except TimeoutError:
                await self._renew()

    async def end(self, renewal: asyncio.Task[None]) -> None:
        """Stop renewing, and wait for the receipt of a running renewal."""
        self._done.set()
        await asyncio.wait([renewal])

    async def show_after(self, seconds: float) -> None:
        """Release the message, visible after so many seconds."""
        await self._queue.update_message(self._id, self._receipt, visibility_timeout=round(seconds))

    async def delete(self) -> bool:
        """Delete the message; False if it was delivered again with an unknown receipt."""
        while True:
            receipt = self._receipt
            try:
                await self._queue.delete_message(self._id, receipt)
            except HttpResponseError as error:
                if error.status_code not in (400, 404):
                    raise
                if receipt != self._receipt:
                    continue
                _log.warning("message %s had been given to another reader", self._id)
                return error.status_code == _GONE
            return True

    async def _renew(self) -> None:
        receipt = self._receipt
        try:
            answer = await self._queue.update_message(
                self._id, receipt, visibility_timeout=max(1, round(self._seconds))
            )
        except Exception as error:
            _log.warning(
                "message %s: the lease was not renewed: %s", self._id, type(error).__name__
            )
        else:
            if self._receipt == receipt:
                self._receipt = str(answer.pop_receipt)


class QueueListener:
    """Polls one queue for one function."""

    def __init__(
        self,
        function: AppFunction,
        queue: QueueClient,
        poison: QueueClient | None,
        options: QueueOptions,
        invoker: Invoker,
        lease_seconds: float,
        on_move: Callable[[str], None],
    ) -> None:
        """`on_move` is called with the name of the poison queue that has just got a message."""
        self._function = function
        self._queue = queue
        self._poison = poison
        self._options = options
        self._invoker = invoker
        self._lease_seconds = lease_seconds
        self._on_move = on_move
        self._running: set[asyncio.Task[None]] = set()
        self._leases: dict[str, Lease] = {}
        self._finished_ids: OrderedDict[str, None] = OrderedDict()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._is_stopping = False
        self._last_fault = ""

    async def run(self) -> None:
        """Poll until the listener is stopped, then wait for the running handlers."""
        backoff = Backoff(self._options.max_polling_interval)
        while not self._is_stopping:
            self._wake.clear()
            if messages := await self._receive():
                backoff.reset()
                for message in messages:
                    self._start_message(message)
                while (
                    len(self._running) > self._options.new_batch_threshold and not self._is_stopping
                ):
                    self._room.clear()
                    await self._room.wait()
            elif not self._is_stopping:
                await self._pause(backoff.next_pause())
        if self._running:
            await asyncio.wait(self._running)

    def wake(self) -> None:
        """Poll now, because this process has just sent a message to the queue."""
        self._wake.set()

    def stop(self) -> None:
        """Receive no more."""
        self._is_stopping = True
        self._wake.set()
        self._room.set()

    async def _receive(self) -> list[QueueMessage]:
        count = self._options.batch_size
        try:
            pages = self._queue.receive_messages(
                max_messages=count,
                messages_per_page=count,
                visibility_timeout=max(1, round(self._lease_seconds)),
                retry_total=0,
            )
            messages = [message async for message in pages]
        except ResourceNotFoundError:
            self._log_fault(logging.INFO, f"the queue {self._queue.queue_name} is not there yet")
            return []
        except Exception as error:
            # The SDK raises AttributeError and others where an answer is cut or empty.
            self._log_fault(logging.WARNING, f"cannot receive: {type(error).__name__}")
            return []
        self._last_fault = ""
        return messages

    def _log_fault(self, level: int, text: str) -> None:
        if text != self._last_fault:
            _log.log(level, "function %s: %s", self._function.name, text)
        self._last_fault = text

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _start_message(self, message: QueueMessage) -> None:
        message_id = str(message.id)
        if message_id in self._leases:
            _log.warning("message %s: its lease had run out and is taken over", message_id)
            self._leases[message_id].take_over(message)
            return
        lease = Lease(self._queue, message, self._lease_seconds)
        if message_id in self._finished_ids:
            self._start(self._delete_finished(message_id, lease))
        elif self._is_stopping:
            self._start(self._hand_back(message_id, lease))
        else:
            self._leases[message_id] = lease
            self._start(self._work_on(message, lease))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._room.set()
        if not task.cancelled() and (error := task.exception()):
            _log.error("function %s: the listener failed", self._function.name, exc_info=error)

    async def _work_on(self, message: QueueMessage, lease: Lease) -> None:
        message_id, count = str(message.id), int(message.dequeue_count or 0)
        try:
            if self._poison and count > self._options.max_dequeue_count:
                await self._move_to_poison(message, lease)
                return
            renewal = asyncio.create_task(lease.keep())
            try:
                is_done = await self._attempt(message)
            finally:
                await lease.end(renewal)
            await self._settle(message, lease, count, is_done)
        except Exception as error:
            _log.warning(
                "function %s: message %s comes back: %s",
                self._function.name,
                message.id,
                type(error).__name__,
            )
        except asyncio.CancelledError:
            # The host stops and has waited long enough for the handler.
            await self._hand_back(message_id, lease)
            raise
        finally:
            self._leases.pop(message_id, None)

    async def _hand_back(self, message_id: str, lease: Lease) -> None:
        """Make a message visible now for the next host, not when its lease expires."""
        try:
            async with asyncio.timeout(_HAND_BACK_SECONDS):
                await lease.show_after(0)
        except Exception as error:
            _log.warning("message %s comes back later: %s", message_id, type(error).__name__)

    async def _delete_finished(self, message_id: str, lease: Lease) -> None:
        """Delete a message whose handler has succeeded after it was delivered again."""
        try:
            if await lease.delete():
                self._finished_ids.pop(message_id, None)
        except Exception as error:
            _log.warning("message %s is not deleted yet: %s", message_id, type(error).__name__)

    async def _attempt(self, message: QueueMessage) -> bool:
        try:
            body = decode_text(str(message.content), self._options.is_base64)
            argument = build_argument(self._function, message, body)
        except Exception as error:
            _log.error("function %s: message %s: %s", self._function.name, message.id, error)
            return False
        try:
            await self._invoker.run(self._function, argument)
        except InvocationFailedError:
            return False
        return True

    async def _settle(self, message: QueueMessage, lease: Lease, count: int, is_done: bool) -> None:
        if is_done:
            self._finished_ids[str(message.id)] = None
            if len(self._finished_ids) > _MOST_FINISHED:
                self._finished_ids.popitem(last=False)
            await self._delete_finished(str(message.id), lease)
        elif self._poison is None:
            _log.warning("%s: a failed message stays hidden", self._queue.queue_name)
        elif count >= self._options.max_dequeue_count:
            await self._move_to_poison(message, lease)
        else:
            await lease.show_after(self._options.visibility_timeout)

    async def _move_to_poison(self, message: QueueMessage, lease: Lease) -> None:
        """Copy the body, then delete the message. Not atomic: there may be two copies."""
        poison = self._poison
        assert poison is not None
        try:
            await poison.send_message(message.content)
        except ResourceNotFoundError:
            with contextlib.suppress(ResourceExistsError):
                await poison.create_queue()
            await poison.send_message(message.content)
        await lease.delete()
        _log.error("message %s has reached maxDequeueCount: %s", message.id, poison.queue_name)
        self._on_move(poison.queue_name)
