"""`host.json` with the overrides of the environment, as typed options (docs/platform.md#5)."""

import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from local_host.app_settings import AppRefusedError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_KNOWN_KEYS = (
    "|version|functiontimeout|retry|functions|http|watchdirectories|watchfiles|queues|servicebus|"
    "eventhub|singleton|logging|aggregator|healthmonitor|extensionbundle|manageddependency|"
    "manageddependencies|customhandler|httpworker|extensions|concurrency|telemetrymode|"
    "sendcanceledinvocationstoworker|metadataprovidertimeout|"
)
_DEFAULT_TIMEOUT: float | None = 1800.0
_USUAL_HSTS_DAYS = 30
_OVERRIDE_PREFIX = "azurefunctionsjobhost"
_TIME_SPAN = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?", re.ASCII)
_LEVELS = {"trace": "DEBUG", "information": "INFO", "none": "CRITICAL"}


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """`extensions.http`; -1 means unlimited."""

    route_prefix: str
    max_outstanding: int
    max_concurrent: int
    custom_headers: tuple[tuple[str, str], ...]
    # The value of Strict-Transport-Security on answers over https, "" where `hsts` is off.
    strict_transport: str = ""


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """`extensions.queues`; times in seconds."""

    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int
    visibility_timeout: float
    max_polling_interval: float
    is_base64: bool


@dataclass(frozen=True, slots=True)
class BlobOptions:
    """`extensions.blobs`."""

    max_parallel: int
    max_attempts: int


@dataclass(frozen=True, slots=True)
class HostOptions:
    """The options of host.json that this host uses. `function_timeout` is in seconds or None."""

    http: HttpOptions
    queues: QueueOptions
    blobs: BlobOptions
    function_timeout: float | None
    log_level: str
    has_bundle: bool


class _Values:
    """host.json flattened to lower-case paths (`extensions:queues:batchsize`), with problems."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.problems: list[str] = []

    def read(self, path: str, default: _T, parse: Callable[[str], _T], expected: str) -> _T:
        text = self._values.get(path.lower().replace(".", ":"))
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError:
            self.problems.append(f"host.json: {path} must be {expected}, it is {text!r}")
            return default

    def integer(self, path: str, default: int, low: int, high: int = 2**31 - 1) -> int:
        return self.read(path, default, lambda text: _bounded(int(text), low, high),
                         f"a whole number from {low} to {high}")  # fmt: skip

    def seconds(self, path: str, default: float, low: float, high: float) -> float:
        return self.read(path, default, lambda text: _bounded(parse_time_span(text), low, high),
                         f"a time hh:mm:ss of {low:g} to {high:g} seconds")  # fmt: skip

    def read_all_below(self, path: str) -> tuple[tuple[str, str], ...]:
        prefix = path.lower().replace(".", ":") + ":"
        return tuple((k[len(prefix) :], v) for k, v in self._values.items() if k.startswith(prefix))


def read_host_json(path: Path) -> HostOptions:
    """Read and check host.json. Raises AppRefusedError with all problems."""
    document = _load(path)
    for key in document:
        if f"|{key.lower()}|" not in _KNOWN_KEYS:
            _log.warning("host.json: the host does not know the key %s", key)
    values = _Values(_flatten(document) | _overrides(os.environ))
    options = HostOptions(
        http=HttpOptions(
            route_prefix=values.read("extensions.http.routePrefix", "api", str, "").strip("/"),
            max_outstanding=values.integer("extensions.http.maxOutstandingRequests", -1, -1),
            max_concurrent=values.integer("extensions.http.maxConcurrentRequests", -1, -1),
            custom_headers=values.read_all_below("extensions.http.customHeaders"),
            strict_transport=_strict_transport(values),
        ),
        queues=_queues(values),
        blobs=BlobOptions(
            values.integer("extensions.blobs.maxDegreeOfParallelism", 8 * _processors(), 1),
            values.integer("extensions.blobs.poisonBlobThreshold", 5, 1),
        ),
        function_timeout=values.read(
            "functionTimeout", _DEFAULT_TIMEOUT, _timeout, "hh:mm:ss or -1"
        ),
        log_level=values.read("logging.logLevel.default", "INFO", _level, "a log level"),
        has_bundle=bool(values.read_all_below("extensionBundle")),
    )
    version = values.read("version", "", str, "")
    if version != "2.0":
        values.problems.append(f'host.json: "version" must be "2.0", it is {version!r}')
    if values.problems:
        raise AppRefusedError(values.problems)
    return options


def parse_time_span(text: str) -> float:
    """The seconds of `hh:mm:ss`, optionally with days (`1.02:00:00`) and a fraction."""
    match = _TIME_SPAN.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    if hours > 23 or minutes > 59 or seconds >= 60:
        raise ValueError(text)
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file() or not path.read_bytes().strip():
        _log.warning("%s is missing or empty: the host's defaults apply", path)
        return {"version": "2.0"}
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise AppRefusedError([f"{path} is not JSON: {error}"]) from None
    if not isinstance(document, dict):
        raise AppRefusedError([f"{path} must hold a JSON object"])
    return document


def _flatten(document: Any, path: str = "") -> dict[str, str]:
    if isinstance(document, dict):
        pairs = [(key, value) for key, value in document.items()]
    elif isinstance(document, list):
        pairs = [(str(index), value) for index, value in enumerate(document)]
    else:
        return {path: str(document)}
    flat: dict[str, str] = {}
    for key, value in pairs:
        flat |= _flatten(value, f"{path}:{key}".lower().lstrip(":"))
    return flat


def _overrides(environment: Mapping[str, str]) -> dict[str, str]:
    overrides = {}
    for name, value in environment.items():
        prefix, _, path = name.replace("__", ":").lower().partition(":")
        if prefix == _OVERRIDE_PREFIX and path:
            overrides[path] = value
    return overrides


def _strict_transport(values: _Values) -> str:
    name = "extensions.http.hsts."
    if not values.read(name + "isEnabled", False, _truth, "true or false"):
        return ""
    seconds = values.read(
        name + "maxAge", _USUAL_HSTS_DAYS * 86_400.0, _days_or_time_span, "days or d.hh:mm:ss"
    )
    flags = [
        flag
        for flag in ("includeSubDomains", "preload")
        if values.read(name + flag, False, _truth, "true or false")
    ]
    return "; ".join([f"max-age={seconds:.0f}", *flags])


def _days_or_time_span(text: str) -> float:
    """.NET reads a number alone as days."""
    return int(text) * 86_400.0 if text.strip().isdecimal() else parse_time_span(text)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _queues(values: _Values) -> QueueOptions:
    name = "extensions.queues."
    batch_size = values.integer(name + "batchSize", 16, 1, 32)
    return QueueOptions(
        batch_size=batch_size,
        new_batch_threshold=values.integer(
            name + "newBatchThreshold", batch_size // 2 * _processors(), 0
        ),
        max_dequeue_count=values.integer(name + "maxDequeueCount", 5, 1),
        visibility_timeout=values.seconds(name + "visibilityTimeout", 0.0, 0.0, 7 * 86400.0),
        max_polling_interval=values.seconds(name + "maxPollingInterval", 2.0, 0.1, 86400.0),
        is_base64=values.read(name + "messageEncoding", True, _is_base64, "base64 or none"),
    )


def _bounded(value: _T, low: Any, high: Any) -> _T:
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _is_base64(text: str) -> bool:
    if text.lower() not in ("base64", "none"):
        raise ValueError(text)
    return text.lower() == "base64"


def _timeout(text: str) -> float | None:
    return None if text.startswith("-") else _bounded(parse_time_span(text), 1, 7 * 86400)


def _level(text: str) -> str:
    level = _LEVELS.get(text.lower(), text.upper())
    if level not in logging.getLevelNamesMapping():
        raise ValueError(text)
    return level


def _processors() -> int:
    return os.cpu_count() or 1
