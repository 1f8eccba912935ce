#!/usr/bin/env python3.13
# A tool of its own, with a history outside of this house.
# ruff: noqa
# mypy: ignore-errors
"""native_host.py - run an Azure Functions v2 (Python) app on the REAL worker library.

What it is
----------
PyPI ``azure-functions-runtime`` is the library that Azure's own Python worker
loads for Python 3.13+ apps: it imports ``function_app.py``, checks every
function's signature and annotations against its bindings, and runs
invocations.  In Azure it is driven over gRPC by the (C#) Functions host.  This
script plays the host's part without gRPC and without protobuf, so that a test
can prove that an app *indexes* and *runs* on the very code that production
uses.  Nothing of the network is needed.

    pip install azure-functions azure-functions-runtime        # Python >= 3.13

How it does it
--------------
1.  Indexing goes through the library's real entry points
    ``worker_init_request`` and ``functions_metadata_request``.  They want a
    ``protos`` namespace (the generated protobuf module) from which they build
    their answers; ``StandInProtos`` below is a small, strict stand-in that knows
    the same messages, fields and enum numbers as FunctionRpc.proto and refuses an
    unknown field as protobuf would.
2.  Invocation goes through
    ``azure_functions_runtime.native_invocation.invocation_request_native``, the
    protobuf-free seam that takes and returns ``Datum`` objects.
3.  The ``Datum`` inputs are built *the way the Functions host builds them*
    (Azure/azure-functions-host, GrpcMessageConversionExtensions.cs,
    WorkerFunctionInvoker.cs, Utility.ApplyBindingData), with its known traps:
      - header names arrive in lower case, repeated ones joined with ",";
      - query parameters with an empty value are dropped, repeated ones joined
        with ",";
      - a body only arrives when Content-Length > 0: a chunked request that no front
        end buffered reaches a classic (non-streaming) function with an EMPTY body;
      - a blob trigger/input without ``data_type=BINARY`` is decoded as UTF-8
        text first, so every byte that is not UTF-8 becomes EF BF BD;
      - the top-level properties of a JSON queue message overwrite equally named
        trigger metadata (Id, DequeueCount, InsertionTime, ...).
4.  What the host would check beyond the worker (function names, duplicate routes,
    missing connection settings, ...) is reported as ``warnings``.

Use
---
    native_host.py APP_DIR                                # list, as JSON
    native_host.py APP_DIR list [--strict]
    native_host.py APP_DIR invoke NAME --request req.json # or "-" for stdin
    native_host.py APP_DIR invoke NAME --request '{"method":"POST","body":{"json":[1]}}'
    native_host.py APP_DIR call POST /api/import/workers?version=1 --request '{...}'
    native_host.py APP_DIR batch requests.jsonl           # one invocation per line

Options before the command: ``--settings FILE`` (default: local.settings.json in
APP_DIR if there; ``--settings none`` for no file), ``--env KEY=VALUE``
(repeatable), ``--timeout SECONDS``, ``--log-level LEVEL``, ``--compact``.

JSON of an invocation, by the function's trigger (every key is optional unless said):

    HTTP   {"method": "POST", "url": "http://localhost:7071/api/x/1?a=b",
            "headers": {"X-Software-Key": "k", "Accept": ["a", "b"]},
            "query": {"a": "b"}, "route_params": {"id": "1"},
            "body": BODY, "chunked": false}
    queue  {"message": BODY, "id": "..", "dequeue_count": 1, "pop_receipt": "..",
            "insertion_time": ISO, "expiration_time": ISO, "next_visible_time": ISO,
            "encoding": "none"|"base64"}      base64: message is as stored on the queue
    blob   {"name": "container/path", "data": BODY, "uri": "..", "metadata": {},
            "properties": {}}
    timer  {"past_due": false}
    other  {"trigger": {"type": "string|bytes|json|...", "value": ..},
            "trigger_metadata": {"Key": {"type": .., "value": ..}}}
    all    {"inputs": {"param": {"type": .., "value": ..}},   non-trigger inputs
            "trace_parent": "00-..-..-01", "trace_state": "", "retry_count": 0,
            "max_retry_count": 0, "invocation_id": ".."}

    BODY   a string (UTF-8) | {"json": ANY} | {"base64": ".."} | {"text": ".."}
           | {"file": "path"} (from APP_DIR when relative)
           | {"form": {"k": "v"}} | {"multipart": {"field": "v",
             "file": {"filename": "a.pdf", "content_type": "..", "base64"|"text"|"file": ".."}}}

The answer (always one JSON document on stdout; everything the app prints or logs
goes to stderr):

    {"ok": true, "function": "..", "status": 200, "headers": {..}, "body": "..",
     "body_json": .., "cookies": [..], "outputs": [{"name": .., "type": .., "value": ..}],
     "duration_ms": 1.2, "warnings": [..]}
    {"ok": false, "error": "ValueError('x')", "traceback": ".."}

Exit status: 0 done; 1 the app did not index, or (``--strict``) has warnings;
2 wrong use; 3 the invocation failed or timed out.

As a module (one app per process: the worker library keeps global state):

    host = NativeHost("path/to/app", settings=None)
    host.functions                       # list of dicts, as "list" prints them
    host.invoke("import_workers", {...}) # dict, as "invoke" prints it
    host.call("POST", "/api/import/workers?version=1", {...})
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import datetime as dt
import json
import logging
import os
import pathlib
import re
import sys
import threading
import time
import traceback
import types
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from typing import Any

if sys.version_info < (3, 13):
    sys.exit(
        "native_host.py needs Python >= 3.13 (azure-functions-runtime's "
        f"Requires-Python); this is {sys.version.split()[0]} at {sys.executable}"
    )

__version__ = "1.0"

DEFAULT_ROUTE_PREFIX = "api"  # host.json extensions.http.routePrefix
DEFAULT_BODY_LIMIT = 104_857_600  # FUNCTIONS_REQUEST_BODY_SIZE_LIMIT
# The host's own check (src/WebJobs.Script/Utility.cs).
FUNCTION_NAME_RE = re.compile(r"^(?!host$)[a-z][a-z0-9_\-]{0,127}$", re.IGNORECASE)
QUEUE_NAME_RE = re.compile(r"^(?!.*--)[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])$")
CONTAINER_NAME_RE = re.compile(r"^(?:\$root|\$logs|\$web|(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9])$")


class AppIndexError(RuntimeError):
    """The worker refused the app. ``.stack_trace`` holds the worker's own text."""

    def __init__(self, message: str, stack_trace: str = "") -> None:
        super().__init__(message)
        self.stack_trace = stack_trace


class RequestError(ValueError):
    """The JSON that describes an invocation is wrong."""


# --------------------------------------------------------------------------
# 1. A stand-in for the generated protobuf module
# --------------------------------------------------------------------------


class _Message:
    """Keyword-only record that refuses fields its .proto message lacks."""

    FIELDS: tuple[str, ...] = ()

    def __init__(self, **fields: Any) -> None:
        unknown = set(fields) - set(self.FIELDS)
        if unknown:
            # protobuf answers ValueError('Protocol message X has no "y" field.')
            raise ValueError(
                f"Protocol message {type(self).__name__} has no {sorted(unknown)} field"
            )
        for name in self.FIELDS:
            setattr(self, name, fields.get(name))

    def __repr__(self) -> str:
        body = ", ".join(
            f"{n}={getattr(self, n)!r}" for n in self.FIELDS if getattr(self, n) is not None
        )
        return f"{type(self).__name__}({body})"


def _message(name: str, fields: str, **constants: Any) -> type:
    return type(name, (_Message,), {"FIELDS": tuple(fields.split()), **constants})


def _build_protos() -> types.SimpleNamespace:
    """The messages that azure_functions_runtime builds, as in FunctionRpc.proto."""
    ns = types.SimpleNamespace(
        StatusResult=_message(
            "StatusResult", "status result exception logs", Failure=0, Success=1, Cancelled=2
        ),
        RpcException=_message("RpcException", "source stack_trace message is_user_exception type"),
        WorkerInitResponse=_message(
            "WorkerInitResponse", "worker_version capabilities result worker_metadata"
        ),
        WorkerMetadata=_message(
            "WorkerMetadata",
            "runtime_name runtime_version worker_version worker_bitness custom_properties",
        ),
        FunctionMetadataResponse=_message(
            "FunctionMetadataResponse",
            "function_metadata_results result use_default_metadata_indexing",
        ),
        FunctionLoadResponse=_message(
            "FunctionLoadResponse", "function_id result is_dependency_downloaded"
        ),
        FunctionEnvironmentReloadResponse=_message(
            "FunctionEnvironmentReloadResponse", "worker_metadata capabilities result"
        ),
        RpcFunctionMetadata=_message(
            "RpcFunctionMetadata",
            "name directory script_file entry_point bindings is_proxy status language "
            "raw_bindings function_id managed_dependency_enabled retry_options properties",
        ),
        RpcRetryOptions=_message(
            "RpcRetryOptions",
            "max_retry_count delay_interval minimum_interval maximum_interval retry_strategy",
        ),
        # Enum members are plain ints on the generated class, as here. The
        # library compares ``binding.direction == protos.BindingInfo.out``.
        BindingInfo=_message(
            "BindingInfo",
            "type direction data_type properties",
            out=1,
            inout=2,
            undefined=0,
            string=1,
            binary=2,
            stream=3,
            **{"in": 0},
        ),
        # Only the classic gRPC path builds the next ones; they are here so that it
        # would not die on a missing name.
        TypedData=_message(
            "TypedData",
            "string json bytes stream http int double collection_bytes "
            "collection_string collection_double collection_sint64 model_binding_data "
            "collection_model_binding_data",
        ),
        RpcHttp=_message(
            "RpcHttp",
            "method url headers body params status_code query "
            "enable_content_negotiation rawBody identities cookies nullable_headers "
            "nullable_params nullable_query",
        ),
        ParameterBinding=_message("ParameterBinding", "name data rpc_shared_memory"),
        InvocationResponse=_message(
            "InvocationResponse", "invocation_id output_data return_value result"
        ),
    )
    ns.BindingInfo.Direction = types.SimpleNamespace(**{"in": 0, "out": 1, "inout": 2})
    ns.BindingInfo.DataType = types.SimpleNamespace(undefined=0, string=1, binary=2, stream=3)
    return ns


StandInProtos = _build_protos()


# --------------------------------------------------------------------------
# 2. Small helpers
# --------------------------------------------------------------------------


def read_body(spec: Any, base_dir: pathlib.Path) -> tuple[bytes, str | None]:
    """BODY (see the module's text) -> (bytes, implied Content-Type or None)."""
    if spec is None:
        return b"", None
    if isinstance(spec, str):
        return spec.encode("utf-8"), None
    if not isinstance(spec, Mapping):
        raise RequestError(
            'a body must be a string or an object with one of "json", "base64", '
            '"file", "text", "form", "multipart"'
        )
    kinds = [k for k in ("json", "base64", "file", "text", "form", "multipart") if k in spec]
    if len(kinds) != 1:
        raise RequestError(f"a body object needs exactly one kind, it has {kinds}")
    kind, value = kinds[0], spec[kinds[0]]
    if kind == "json":
        return json.dumps(value, ensure_ascii=False).encode("utf-8"), "application/json"
    if kind == "text":
        return str(value).encode(spec.get("encoding", "utf-8")), "text/plain; charset=utf-8"
    if kind == "base64":
        try:
            return base64.b64decode(value, validate=True), "application/octet-stream"
        except (ValueError, TypeError) as exc:
            raise RequestError(f"bad base64 body: {exc}") from None
    if kind == "file":
        try:
            return (base_dir / value).read_bytes(), "application/octet-stream"
        except OSError as exc:
            raise RequestError(f"cannot read the body file: {exc}") from None
    if kind == "form":
        return (
            urllib.parse.urlencode(value, doseq=True).encode("ascii"),
            "application/x-www-form-urlencoded",
        )
    # multipart
    boundary = "native-host-" + uuid.uuid4().hex
    parts: list[bytes] = []
    items: Iterable[tuple[str, Any]] = (
        value.items() if isinstance(value, Mapping) else [tuple(i) for i in value]
    )
    for name, part in items:
        head = f'Content-Disposition: form-data; name="{name}"'
        ctype = None
        if isinstance(part, Mapping):
            data, _ = read_body(
                {k: part[k] for k in part if k in ("json", "base64", "file", "text")}, base_dir
            )
            if "filename" in part:
                head += f'; filename="{part["filename"]}"'
            ctype = part.get("content_type", "application/octet-stream")
        else:
            data = str(part).encode("utf-8")
        block = f"--{boundary}\r\n{head}\r\n"
        if ctype:
            block += f"Content-Type: {ctype}\r\n"
        parts.append(block.encode("utf-8") + b"\r\n" + data + b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode("ascii"))
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def show_bytes(data: bytes) -> Any:
    """Bytes for JSON: text when it is UTF-8, else {"base64": ..}."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


def host_text(data: bytes) -> str:
    """What .NET's StreamReader makes of a stream: BOM dropped, bad bytes -> U+FFFD."""
    for bom, codec in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if data.startswith(bom):
            return data[len(bom) :].decode(codec, "replace")
    return data.decode("utf-8", "replace")


def _pattern(template: str, *, route: bool) -> re.Pattern[str]:
    """Route template or blob path -> regex with named groups.

    Routes know {id}, {id?}, {id:int}, {id=5}, {*rest}, {**rest}; blob paths know
    {name} and {name}.{ext}.  Route constraints narrow the match as in ASP.NET for the
    usual ones, others are taken as "anything".
    """
    constraint = {
        "int": r"-?\d+",
        "long": r"-?\d+",
        "bool": r"(?i:true|false)",
        "guid": r"[{(]?[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}[)}]?",
        "alpha": r"[A-Za-z]+",
        "decimal": r"-?\d+(?:\.\d+)?",
        "double": r"-?\d+(?:\.\d+)?",
        "float": r"-?\d+(?:\.\d+)?",
        "datetime": r"[^/]+",
    }
    out, pos, seen = "", 0, set()
    for m in re.finditer(r"\{(\*{0,2})([A-Za-z_][\w-]*)([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", template):
        literal = template[pos : m.start()]
        star, name, rest = m.groups()
        group = re.sub(r"\W", "_", name)
        if group in seen:
            raise RequestError(f"{template!r} uses {{{name}}} twice")
        seen.add(group)
        optional = route and (rest.endswith("?") or "=" in rest)
        inner = r"[^/]+" if route else r".+"
        if star:
            inner, optional = r".*", True
        elif rest.startswith(":"):
            inner = constraint.get(re.split(r"[(:?=]", rest[1:])[0].lower(), inner)
        if optional and literal.endswith("/"):
            out += re.escape(literal[:-1]) + f"(?:/(?P<{group}>{inner}))?"
        else:
            out += re.escape(literal) + f"(?P<{group}>{inner})" + ("?" if optional else "")
        pos = m.end()
    out += re.escape(template[pos:])
    # ASP.NET routing ignores case in literals and a trailing slash; blob paths do not.
    return re.compile(out + (r"/?" if route else "") + r"\Z", re.IGNORECASE if route else 0)


def _iso(value: Any, default: dt.datetime) -> str:
    """A time as Newtonsoft writes a DateTimeOffset."""
    if value is None:
        value = default
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
    return str(value)


def _plain(value: Any) -> Any:
    """Anything -> something json.dumps takes."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (bytes, bytearray)):
        return show_bytes(bytes(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(v) for v in value]
    return repr(value)


# --------------------------------------------------------------------------
# 3. The host
# --------------------------------------------------------------------------


class NativeHost:
    """Index one app and invoke its functions through azure_functions_runtime."""

    _live: NativeHost | None = None
    _lock = threading.Lock()

    def __init__(
        self,
        app_dir: str | os.PathLike[str],
        *,
        settings: str | os.PathLike[str] | Mapping[str, str] | None = "auto",
        env: Mapping[str, str] | None = None,
        timeout: float | None = 300.0,
        protos: Any = None,
    ) -> None:
        """``settings``: "auto" (local.settings.json if there), a path, a mapping, or
        None.  ``protos``: another namespace, e.g. the really generated module."""
        self.app_dir = pathlib.Path(app_dir).resolve()
        self.timeout = timeout
        self.protos = protos or StandInProtos
        self.warnings: list[str] = []
        self.capabilities: dict[str, str] = {}
        self.worker_metadata: dict[str, Any] = {}
        self.functions: list[dict[str, Any]] = []
        self._by_name: dict[str, dict[str, Any]] = {}
        if not self.app_dir.is_dir():
            raise AppIndexError(f"{self.app_dir} is not a folder")
        with NativeHost._lock:
            # The library's registry, the thread pool and sys.modules['function_app']
            # are process-wide: a second app in the same process would silently be the
            # first one again.
            if NativeHost._live is not None:
                raise RuntimeError("one app per process: start another process")
            NativeHost._live = self
        self._apply_settings(settings, env or {})
        self.host_json = self._read_host_json()
        http = (self.host_json.get("extensions") or {}).get("http") or {}
        self.route_prefix = str(http.get("routePrefix", DEFAULT_ROUTE_PREFIX)).strip("/")
        queues = (self.host_json.get("extensions") or {}).get("queues") or {}
        self.queue_encoding = str(queues.get("messageEncoding", "base64")).lower()
        self._runner = asyncio.Runner()
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    # -- set-up ------------------------------------------------------------

    def _apply_settings(self, settings: Any, env: Mapping[str, str]) -> None:
        """App settings become environment variables; as in Core Tools, what is
        already in the environment wins.  ``env`` wins over both."""
        values: Mapping[str, Any] = {}
        if settings == "auto":
            path = self.app_dir / "local.settings.json"
            settings = path if path.is_file() else None
        if isinstance(settings, Mapping):
            values = settings
        elif settings is not None:
            try:
                doc = json.loads(pathlib.Path(settings).read_text("utf-8-sig"))
            except (OSError, ValueError) as exc:
                raise AppIndexError(f"cannot read settings {settings}: {exc}") from None
            if doc.get("IsEncrypted"):
                self.warnings.append("settings are encrypted; Values not used")
            else:
                values = doc.get("Values") or {}
        for key, value in values.items():
            if not isinstance(value, str):
                # Core Tools refuses it; a JSON true/5 there is a common slip.
                self.warnings.append(
                    f"setting {key} is a JSON {type(value).__name__}, must be a string"
                )
                value = json.dumps(value)
            os.environ.setdefault(key, value)
        os.environ.update({k: str(v) for k, v in env.items()})
        os.environ.setdefault("FUNCTIONS_WORKER_RUNTIME", "python")
        os.environ.setdefault("AzureWebJobsScriptRoot", str(self.app_dir))

    def _read_host_json(self) -> dict[str, Any]:
        path = self.app_dir / "host.json"
        if not path.is_file():
            self.warnings.append("no host.json: the host will not start")
            return {}
        try:
            doc = json.loads(path.read_text("utf-8-sig"))
        except ValueError as exc:
            raise AppIndexError(f"host.json is not JSON: {exc}") from None
        if doc.get("version") != "2.0":
            self.warnings.append('host.json: "version" must be "2.0"')
        if "extensionBundle" not in doc:
            self.warnings.append(
                "host.json has no extensionBundle: queue, blob and table bindings "
                "will not load in the host"
            )
        return doc

    def _index(self) -> None:
        try:
            import azure.functions as func
            import azure_functions_runtime as rt
            from azure_functions_runtime import handle_event, native_invocation
            from azure_functions_runtime.bindings.datumdef import Datum
            from azure_functions_runtime.version import VERSION
        except ImportError as exc:
            raise AppIndexError(
                f"{exc}: pip install azure-functions azure-functions-runtime"
            ) from None
        self._rt, self._native, self.Datum = rt, native_invocation, Datum
        self._handle_event = handle_event
        self.versions = {
            "azure_functions_runtime": VERSION,
            "azure_functions": func.__version__,
            "python": sys.version.split()[0],
        }

        # The real worker puts the app and its vendored packages on sys.path and
        # works from the app's folder.
        for extra in (self.app_dir / ".python_packages/lib/site-packages", self.app_dir):
            if extra.is_dir() and str(extra) not in sys.path:
                sys.path.insert(0, str(extra))
        self._old_cwd = os.getcwd()
        os.chdir(self.app_dir)
        rt.start_threadpool_executor()  # sync functions run there

        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not (self.app_dir / script).is_file():
            # worker_init_request would quietly index nothing (a v1 app).
            raise AppIndexError(f"no {script} in {self.app_dir} (v2 model)")

        request = types.SimpleNamespace(
            request=types.SimpleNamespace(
                worker_init_request=types.SimpleNamespace(
                    capabilities={}, function_app_directory=str(self.app_dir)
                )
            ),
            properties={"host": "127.0.0.1", "protos": self.protos},
        )
        started = time.perf_counter()
        init = self._runner.run(rt.worker_init_request(request))
        self.index_ms = round((time.perf_counter() - started) * 1000, 1)
        if init.result.status != self.protos.StatusResult.Success:
            exc = init.result.exception
            raise AppIndexError(
                getattr(exc, "message", None) or "indexing failed",
                getattr(exc, "stack_trace", "") or "",
            )
        self.capabilities = dict(init.capabilities or {})
        meta = init.worker_metadata
        self.worker_metadata = {
            k: getattr(meta, k)
            for k in ("runtime_name", "runtime_version", "worker_version", "worker_bitness")
        }
        response = self._runner.run(rt.functions_metadata_request(types.SimpleNamespace()))
        self._streaming = "HttpUri" in self.capabilities
        if self._streaming:
            self.warnings.append(
                "the app uses HTTP streaming (azurefunctions-extensions-http-*): the "
                "native path cannot invoke its HTTP functions, it only indexes them"
            )
        for item in response.function_metadata_results or []:
            entry = self._describe(item)
            self.functions.append(entry)
            self._by_name[entry["name"]] = entry
        if not self.functions:
            self.warnings.append("the app has no functions")
        self._check_app()

    def _describe(self, item: Any) -> dict[str, Any]:
        info = self._handle_event._functions.get_function(item.function_id)
        bindings = [json.loads(raw) for raw in item.raw_bindings]
        trigger = next(
            (
                b
                for b in bindings
                if str(b.get("type", "")).lower().endswith("trigger")
                and str(b.get("direction", "IN")).upper() == "IN"
            ),
            None,
        )
        entry: dict[str, Any] = {
            "name": item.name,
            "function_id": item.function_id,
            "script_file": item.script_file,
            "module": getattr(info.func, "__module__", None),
            "is_async": info.is_async,
            "requires_context": info.requires_context,
            "trigger": trigger.get("type") if trigger else None,
            "trigger_param": trigger.get("name") if trigger else None,
            "bindings": bindings,
            "deferred_bindings": bool(info.deferred_bindings_enabled),
        }
        retry = item.retry_options
        if hasattr(item, "HasField") and not item.HasField("retry_options"):
            retry = None  # generated protobuf: unset reads as empty
        if retry is not None:
            strategy = retry.retry_strategy
            entry["retry"] = {
                "strategy": {0: "exponential_backoff", 1: "fixed_delay"}.get(strategy, strategy),
                "max_retry_count": retry.max_retry_count,
            }
            for key in ("delay_interval", "minimum_interval", "maximum_interval"):
                value = getattr(retry, key)
                if hasattr(retry, "HasField"):
                    value = value.ToTimedelta() if retry.HasField(key) else None
                if isinstance(value, dt.timedelta):
                    entry["retry"][key] = value.total_seconds()
        if entry["trigger"] == "httpTrigger":
            route = trigger.get("route")
            route = item.name if route in (None, "") else str(route)
            entry["route"] = route
            entry["url"] = "/" + "/".join(p for p in (self.route_prefix, route.strip("/")) if p)
            entry["methods"] = [str(m).upper() for m in trigger.get("methods") or []]
            entry["auth_level"] = str(trigger.get("authLevel", "FUNCTION")).lower()
        return entry

    def _check_app(self) -> None:
        """Checks of the host's (not the worker's), as warnings."""
        warn, routes = self.warnings.append, {}
        for f in self.functions:
            name = f["name"]
            if not FUNCTION_NAME_RE.match(name):
                warn(f"{name}: not a valid function name for the host")
            if f["trigger"] is None:
                warn(f"{name}: no trigger")
            triggers = [
                b for b in f["bindings"] if str(b.get("type", "")).lower().endswith("trigger")
            ]
            if len(triggers) > 1:
                warn(f"{name}: more than one trigger")
            if f["deferred_bindings"]:
                warn(f"{name}: SDK-type bindings are indexed but cannot be invoked here")
            if f["trigger"] == "httpTrigger":
                # Parameter names do not make two routes differ.
                shape = re.sub(r"\{(\*?)[^}:]*", r"{\1", f["url"].lower())
                for method in f["methods"] or ["*"]:
                    for other_method, other in routes.get(shape, []):
                        if method == other_method or "*" in (method, other_method):
                            warn(f"{name}: same route and method as {other}: {method} {f['url']}")
                            break
                    routes.setdefault(shape, []).append((method, name))
            for b in f["bindings"]:
                kind, where = str(b.get("type", "")), f"{name}.{b.get('name')}"
                if (
                    kind in ("blobTrigger", "blob")
                    and not f["deferred_bindings"]
                    and str(b.get("direction", "")).upper() == "IN"
                    and str(b.get("dataType") or "").upper() not in ("BINARY", "STREAM")
                ):
                    warn(
                        f"{where}: no data_type=BINARY: the host decodes the blob as "
                        "UTF-8 text and mangles every other byte"
                    )
                if kind in ("queueTrigger", "queue"):
                    q = str(b.get("queueName") or "")
                    if "%" not in q and "{" not in q and not QUEUE_NAME_RE.match(q):
                        warn(f"{where}: {q!r} is not a valid queue name")
                if kind in ("blobTrigger", "blob"):
                    c = str(b.get("path") or "").split("/")[0]
                    if "%" not in c and "{" not in c and not CONTAINER_NAME_RE.match(c):
                        warn(f"{where}: {c!r} is not a valid container name")
                for key in ("queueName", "path", "tableName", "schedule"):
                    for setting in re.findall(r"%([^%]+)%", str(b.get(key) or "")):
                        if setting not in os.environ:
                            warn(f"{where}: app setting {setting} (in {key}) is not set")
                conn = b.get("connection")
                if (
                    kind in ("queueTrigger", "queue", "blobTrigger", "blob", "table")
                    and conn
                    and not self._has_connection(conn)
                ):
                    warn(f"{where}: connection setting {conn} is not set")

    @staticmethod
    def _has_connection(name: str) -> bool:
        """A connection string, or the identity form NAME__serviceUri / __accountName."""
        candidates = (name, "AzureWebJobs" + name, "ConnectionStrings:" + name)
        return any(k in os.environ for k in candidates) or any(
            k.startswith((name + "__", name + ":")) for k in os.environ
        )

    # -- building Datum inputs as the host does ----------------------------

    def _d(self, value: Any, kind: str | None) -> Any:
        return self.Datum(value, kind)

    def _generic(self, spec: Any, where: str) -> Any:
        """{"type": .., "value": ..} -> Datum."""
        if spec is None:
            return self._d(None, None)
        if isinstance(spec, str):
            return self._d(spec, "string")
        if not isinstance(spec, Mapping) or "type" not in spec:
            raise RequestError(f'{where}: give {{"type": .., "value": ..}}')
        kind, value = spec["type"], spec.get("value")
        if kind == "bytes":
            value = read_body(value, self.app_dir)[0]
        elif kind == "json" and not isinstance(value, str):
            value = json.dumps(value)
        elif kind not in ("string", "json", "int", "double", None):
            raise RequestError(f"{where}: unknown type {kind!r}")
        return self._d(value, kind)

    def _http_datum(self, entry: dict, spec: Mapping[str, Any], warn: list[str]) -> Any:
        method = str(spec.get("method") or (entry["methods"] or ["GET"])[0]).upper()
        if entry["methods"] and method not in entry["methods"]:
            warn.append(f"the host would answer 404: {method} is not in {entry['methods']}")
        body, implied = read_body(spec.get("body"), self.app_dir)

        headers: dict[str, str] = {}
        for key, value in (spec.get("headers") or {}).items():
            values = value if isinstance(value, list) else [value]
            for v in values:
                low = str(key).lower()
                headers[low] = f"{headers[low]},{v}" if low in headers else str(v)
        if body and "content-type" not in headers and implied:
            headers["content-type"] = implied
        headers.setdefault("host", "localhost:7071")
        if spec.get("chunked"):
            headers["transfer-encoding"] = "chunked"
            headers.pop("content-length", None)
            if body:
                warn.append(
                    "chunked: the host reads a body only when Content-Length > 0, "
                    "so a classic function gets none, unless a front end before "
                    "the host has buffered the request"
                )
            body = b""
        elif body or "content-length" in headers:
            headers["content-length"] = str(len(body))
        limit = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", DEFAULT_BODY_LIMIT))
        if len(body) > limit:
            warn.append(f"the host would answer 413: body over {limit} bytes")

        # Route parameters: as given, else from the URL, else filled into the route.
        template = entry["url"]
        url = spec.get("url")
        route_params = {k: str(v) for k, v in (spec.get("route_params") or {}).items()}
        if url:
            parts = urllib.parse.urlsplit(str(url))
            path = urllib.parse.unquote(parts.path)
            match = _pattern(template, route=True).match(path)
            if match is None:
                warn.append(f"the host would not route {path} here: {template}")
            else:
                names = re.findall(r"\{\*{0,2}([A-Za-z_][\w-]*)", template)
                for n in names:
                    value = match.group(re.sub(r"\W", "_", n))
                    if value is not None:
                        route_params.setdefault(n, value)
            query_pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True)
            scheme, netloc, path = (
                parts.scheme or "http",
                parts.netloc or headers["host"],
                parts.path,
            )
        else:
            path = (
                re.sub(
                    r"/?\{\*{0,2}([A-Za-z_][\w-]*)[^}]*\}",
                    lambda m: (
                        ("/" if m.group(0).startswith("/") else "")
                        + urllib.parse.quote(route_params.get(m.group(1), ""), safe="")
                    ),
                    template,
                ).rstrip("/")
                or "/"
            )
            query_pairs, scheme, netloc = [], "http", headers["host"]
        for key, value in (spec.get("query") or {}).items():
            for v in value if isinstance(value, list) else [value]:
                query_pairs.append((str(key), str(v)))
        query: dict[str, str] = {}
        lower: dict[str, str] = {}  # ASP.NET's query is case-insensitive
        for key, value in query_pairs:
            first = lower.setdefault(key.lower(), key)
            query[first] = f"{query[first]},{value}" if first in query else value
        for key in [k for k, v in query.items() if v == ""]:
            warn.append(f"the host drops the empty query parameter {key}")
            del query[key]
        full = urllib.parse.urlunsplit(
            (scheme, netloc, path, urllib.parse.urlencode(query_pairs) if query_pairs else "", "")
        )
        d = self._d
        return d(
            {
                "method": d(method, "string"),
                "url": d(full, "string"),
                "headers": {k: d(v, "string") for k, v in headers.items()},
                # RawHttpBodyBytes is among the worker's capabilities: always bytes.
                "body": d(body, "bytes"),
                "params": {k: d(v, "string") for k, v in route_params.items()},
                "query": {k: d(v, "string") for k, v in query.items()},
            },
            "http",
        )

    def _queue_datum(
        self, entry: dict, spec: Mapping[str, Any], warn: list[str]
    ) -> tuple[Any, dict[str, Any]]:
        binding = self._trigger_binding(entry)
        body, _ = read_body(spec.get("message", spec.get("body")), self.app_dir)
        if str(spec.get("encoding", "none")).lower() == "base64":
            if self.queue_encoding != "base64":
                warn.append('host.json messageEncoding is "none": the host would not decode')
            else:
                try:
                    body = base64.b64decode(body, validate=True)
                except ValueError:
                    # The host logs it and moves the message to the poison queue.
                    raise RequestError("message is not base64: the host would poison it") from None
        now = dt.datetime.now(dt.UTC)
        d = self._d
        text = host_text(body)
        binary = str(binding.get("dataType") or "").upper() in ("BINARY", "STREAM")
        datum = d(body, "bytes") if binary else d(text, "string")
        meta = {
            "QueueTrigger": d(text, "string"),
            "DequeueCount": d(json.dumps(int(spec.get("dequeue_count", 1))), "json"),
            "Id": d(str(spec.get("id") or uuid.uuid4()), "string"),
            "InsertionTime": d(json.dumps(_iso(spec.get("insertion_time"), now)), "json"),
            "ExpirationTime": d(
                json.dumps(_iso(spec.get("expiration_time"), now + dt.timedelta(days=7))), "json"
            ),
            "NextVisibleTime": d(
                json.dumps(_iso(spec.get("next_visible_time"), now + dt.timedelta(minutes=10))),
                "json",
            ),
            "PopReceipt": d(str(spec.get("pop_receipt") or "AgAAAAMAAAAAAAAA"), "string"),
        }
        # Utility.ApplyBindingData: a JSON object's top-level properties (arrays left
        # out) become binding data, over existing keys, whatever their case.
        if not binary and text.strip().startswith("{") and text.strip().endswith("}"):
            with contextlib.suppress(ValueError):
                parsed = json.loads(text)
                known = {k.lower(): k for k in meta}
                for key, value in parsed.items():
                    if value is None or isinstance(value, list):
                        continue
                    if key.lower() in known:
                        warn.append(
                            f"the message's property {key!r} overwrites the queue "
                            f"metadata {known[key.lower()]}"
                        )
                    target = known.setdefault(key.lower(), key)
                    if isinstance(value, dict):
                        meta[target] = d(json.dumps(value), "json")
                    elif isinstance(value, bool):
                        meta[target] = d("True" if value else "False", "string")
                    else:
                        meta[target] = d(
                            value if isinstance(value, str) else json.dumps(value), "string"
                        )
        return datum, meta

    def _blob_datum(
        self, entry: dict, spec: Mapping[str, Any], warn: list[str]
    ) -> tuple[Any, dict[str, Any]]:
        binding = self._trigger_binding(entry)
        path = re.sub(
            r"%([^%]+)%",
            lambda m: os.environ.get(m.group(1), m.group(0)),
            str(binding.get("path") or ""),
        )
        data, _ = read_body(spec.get("data", spec.get("body")), self.app_dir)
        name = str(spec.get("name") or re.sub(r"\{[^}]*\}", "sample", path)).lstrip("/")
        container, _, blob = name.partition("/")
        d, captures = self._d, {}
        full = path if "/" in path else path + "/{name}"
        match = _pattern(full, route=False).match(name)
        if match is None:
            warn.append(f"the host would not fire for {name}: path is {path}")
        else:
            captures = {k: v for k, v in match.groupdict().items() if v is not None}
        kind = str(binding.get("dataType") or "").upper()
        if kind in ("BINARY", "STREAM"):
            datum = d(data, "bytes")
        else:
            text = host_text(data)
            if text.encode("utf-8") != data:
                warn.append(
                    "the blob is not plain UTF-8 and the binding has no "
                    "data_type=BINARY: the host mangles it"
                )
            datum = d(text, "string")
        now = formatdate(usegmt=True)
        properties = {
            "ContentLength": len(data),
            "LastModified": now,
            "ContentType": "application/octet-stream",
            "BlobType": 1,
            **(spec.get("properties") or {}),
        }
        uri = spec.get("uri") or (
            "http://127.0.0.1:10000/devstoreaccount1/" + urllib.parse.quote(name)
        )
        meta = {
            "BlobTrigger": d(f"{container}/{blob}", "string"),
            "Uri": d(json.dumps(uri), "json"),
            "Properties": d(json.dumps(properties), "json"),
            "Metadata": d(json.dumps(spec.get("metadata") or {}), "json"),
            **{k: d(v, "string") for k, v in captures.items()},
        }
        return datum, meta

    def _timer_datum(self, spec: Mapping[str, Any]) -> Any:
        now = dt.datetime.now(dt.UTC).isoformat()
        return self._d(
            json.dumps(
                {
                    "Schedule": {"AdjustForDST": True},
                    "ScheduleStatus": {"Last": now, "Next": now, "LastUpdated": now},
                    "IsPastDue": bool(spec.get("past_due", False)),
                }
            ),
            "json",
        )

    def _trigger_binding(self, entry: dict) -> dict[str, Any]:
        return next(b for b in entry["bindings"] if b.get("name") == entry["trigger_param"])

    # -- invoking ----------------------------------------------------------

    def find(self, method: str, url: str) -> dict[str, Any]:
        """The HTTP function that the host would route METHOD URL to."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        hits = [
            f
            for f in self.functions
            if f["trigger"] == "httpTrigger"
            and (not f["methods"] or method.upper() in f["methods"])
            and _pattern(f["url"], route=True).match(path)
        ]
        if not hits:
            raise RequestError(f"no function for {method.upper()} {path} (404)")
        # Literal segments beat parameters, as in ASP.NET routing.
        return min(hits, key=lambda f: (f["url"].count("{*"), f["url"].count("{"), -len(f["url"])))

    def call(self, method: str, url: str, spec: Mapping[str, Any] | None = None) -> dict:
        """Route by method and URL, then invoke."""
        entry = self.find(method, url)
        return self.invoke(entry["name"], {**(spec or {}), "method": method, "url": url})

    def invoke(self, name: str, spec: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Invoke one function by name; returns the answer as a dict (see the module)."""
        spec = {} if spec is None else spec
        if not isinstance(spec, Mapping):
            raise RequestError("the invocation must be a JSON object")
        entry = self._by_name.get(name)
        if entry is None:
            raise RequestError(f"no function {name!r}; there are: {sorted(self._by_name)}")
        if entry["deferred_bindings"]:
            raise RequestError(f"{name} uses SDK-type bindings: not on the native path")
        if self._streaming and entry["trigger"] == "httpTrigger":
            raise RequestError(f"{name} uses HTTP streaming: not on the native path")
        warn: list[str] = []
        kind, meta = entry["trigger"], {}
        if kind == "httpTrigger":
            datum = self._http_datum(entry, spec, warn)
            # RpcHttpTriggerMetadataRemoved: no "$request" in the metadata.
            meta = {}
        elif kind == "queueTrigger":
            datum, meta = self._queue_datum(entry, spec, warn)
        elif kind == "blobTrigger":
            datum, meta = self._blob_datum(entry, spec, warn)
        elif kind == "timerTrigger":
            datum = self._timer_datum(spec)
        else:
            datum = self._generic(spec.get("trigger"), "trigger")
        for key, value in (spec.get("trigger_metadata") or {}).items():
            meta[key] = self._generic(value, f"trigger_metadata.{key}")

        inputs = [(entry["trigger_param"], datum)]
        given = dict(spec.get("inputs") or {})
        for b in entry["bindings"]:
            if (
                b["name"] == entry["trigger_param"]
                or b["name"] == "$return"
                or str(b.get("direction", "")).upper() != "IN"
            ):
                continue
            if b["name"] not in given:
                warn.append(f"input {b['name']} ({b.get('type')}) not given: None")
            inputs.append((b["name"], self._generic(given.pop(b["name"], None), b["name"])))
        if given:
            raise RequestError(f"{name} has no input binding named {sorted(given)}")

        invocation_id = str(spec.get("invocation_id") or uuid.uuid4())
        answer: dict[str, Any] = {"ok": False, "function": name, "invocation_id": invocation_id}
        started = time.perf_counter()

        async def run() -> tuple:
            coroutine = self._native.invocation_request_native(
                invocation_id,
                entry["function_id"],
                inputs,
                meta,
                str(spec.get("trace_parent") or ""),
                str(spec.get("trace_state") or ""),
                int(spec.get("retry_count") or 0),
                int(spec.get("max_retry_count") or 0),
            )
            if self.timeout:
                return await asyncio.wait_for(coroutine, self.timeout)
            return await coroutine

        try:
            ok, returned, outputs, error, trace = self._runner.run(run())
        except TimeoutError:
            # A sync function's thread cannot be stopped; the process should end soon.
            answer["error"] = f"timed out after {self.timeout} s"
            answer["timed_out"] = True
        else:
            answer["ok"] = bool(ok)
            if ok:
                answer.update(self._show_return(returned))
                if kind == "httpTrigger" and "return" in answer:
                    # A function that returns a str: the host answers 200 text/plain.
                    answer.update(
                        status=200,
                        body=answer["return"]["value"],
                        headers={"content-type": "text/plain; charset=utf-8"},
                    )
                answer["outputs"] = [self._show_output(n, o) for n, o in outputs]
            else:
                answer["error"], answer["traceback"] = error, trace
        answer["duration_ms"] = round((time.perf_counter() - started) * 1000, 3)
        answer["warnings"] = warn
        return answer

    def _show_return(self, datum: Any) -> dict[str, Any]:
        if datum is None or datum.type is None:
            return {}
        if datum.type != "http":
            return {"return": self._show_output("$return", datum)}
        value = datum.value
        body = value["body"].value if value.get("body") is not None else b""
        body = body.encode("utf-8") if isinstance(body, str) else bytes(body or b"")
        headers = {k: v.value for k, v in (value.get("headers") or {}).items()}
        out: dict[str, Any] = {
            "status": int(value["status_code"].value),
            "headers": headers,
            "body": show_bytes(body),
            "body_bytes": len(body),
        }
        if (
            "json"
            in next((v for k, v in headers.items() if k.lower() == "content-type"), "").lower()
        ):
            with contextlib.suppress(ValueError):
                out["body_json"] = json.loads(body)
        if value.get("cookies"):
            out["cookies"] = [m.OutputString() for jar in value["cookies"] for m in jar.values()]
        return out

    def _show_output(self, name: str, datum: Any) -> dict[str, Any]:
        if datum is None:
            return {"name": name, "type": None, "value": None}
        value = datum.value
        if datum.type == "json" and isinstance(value, (str, bytes)):
            with contextlib.suppress(ValueError):
                value = json.loads(value)
        return {"name": name, "type": datum.type, "value": _plain(value)}

    # -- the rest ----------------------------------------------------------

    def report(self) -> dict[str, Any]:
        """What ``list`` prints."""
        return {
            "native_host": __version__,
            "versions": self.versions,
            "app_dir": str(self.app_dir),
            "route_prefix": self.route_prefix,
            "index_ms": self.index_ms,
            "capabilities": self.capabilities,
            "worker_metadata": self.worker_metadata,
            "functions": self.functions,
            "warnings": self.warnings,
        }

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._runner.close()
        with contextlib.suppress(Exception):
            # wait=False: a function that hangs must not hang the host too.
            pool = self._rt.get_threadpool_executor()
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)
        with contextlib.suppress(Exception):
            os.chdir(self._old_cwd)

    def __enter__(self) -> NativeHost:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# --------------------------------------------------------------------------
# 4. Command line
# --------------------------------------------------------------------------


def _load_json(text: str, what: str) -> Any:
    """Inline JSON, "-" for stdin, else a file."""
    if text == "-":
        text, what = sys.stdin.read(), "stdin"
    elif not text.lstrip().startswith(("{", "[")):
        try:
            text = pathlib.Path(text).read_text("utf-8-sig")
        except OSError as exc:
            raise RequestError(f"cannot read {what}: {exc}") from None
    try:
        return json.loads(text)
    except ValueError as exc:
        raise RequestError(f"{what} is not JSON: {exc}") from None


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="native_host.py",
        description="Index and invoke an Azure Functions v2 app "
        "on azure-functions-runtime, without gRPC. See the top of the file.",
    )
    parser.add_argument("app_dir")
    parser.add_argument(
        "--settings", default="auto", help='local.settings.json to use; "none" for no file'
    )
    parser.add_argument("--env", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds; 0: none")
    parser.add_argument(
        "--log-level", default="WARNING", help="level of the log on stderr (default WARNING)"
    )
    parser.add_argument("--compact", action="store_true", help="JSON on one line")
    sub = parser.add_subparsers(dest="command")
    p = sub.add_parser("list", help="print the functions (the default)")
    p.add_argument("--strict", action="store_true", help="exit 1 on warnings")
    p = sub.add_parser("invoke", help="invoke one function by name")
    p.add_argument("name")
    p.add_argument("--request", default="{}", help='JSON, a file, or "-"')
    p = sub.add_parser("call", help="invoke the function that a method and URL route to")
    p.add_argument("method")
    p.add_argument("url")
    p.add_argument("--request", default="{}", help='JSON, a file, or "-"')
    p = sub.add_parser(
        "batch",
        help='JSON lines: {"function": NAME, ..} or '
        '{"method": .., "url": ..}; one answer line each',
    )
    p.add_argument("file")
    args = parser.parse_args(argv)

    # Whatever the app or a C library writes to fd 1 goes to stderr, so that stdout
    # holds only our JSON.
    sys.stdout.flush()
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    out = os.fdopen(answer_fd, "w", encoding="utf-8")

    def emit(doc: Any, compact: bool = args.compact) -> None:
        out.write(
            json.dumps(
                doc,
                ensure_ascii=False,
                default=repr,
                **({"separators": (",", ":")} if compact else {"indent": 2}),
            )
        )
        out.write("\n")
        out.flush()

    logging.basicConfig(
        stream=sys.stderr,
        level=args.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )

    env = {}
    for pair in args.env:
        key, sep, value = pair.partition("=")
        if not sep:
            parser.error("--env wants KEY=VALUE")
        env[key] = value
    request_cwd = os.getcwd()  # indexing changes the working directory
    code = 0
    try:
        spec = lines = None
        if args.command in ("invoke", "call"):
            spec = _load_json(args.request, "--request")
        elif args.command == "batch":
            text = (
                sys.stdin.read()
                if args.file == "-"
                else (pathlib.Path(request_cwd) / args.file).read_text("utf-8")
            )
            lines = [json.loads(x) for x in text.splitlines() if x.strip()]
        host = NativeHost(
            args.app_dir,
            env=env,
            timeout=args.timeout or None,
            settings=None if args.settings == "none" else args.settings,
        )
    except AppIndexError as exc:
        emit({"ok": False, "error": str(exc), "traceback": exc.stack_trace})
        out.close()
        return 1
    except (RequestError, OSError, ValueError) as exc:
        emit({"ok": False, "error": f"{type(exc).__name__}: {exc}"})
        out.close()
        return 2
    with host:
        try:
            if args.command in (None, "list"):
                emit(host.report())
                if getattr(args, "strict", False) and host.warnings:
                    code = 1
            elif args.command == "invoke":
                answer = host.invoke(args.name, spec)
                emit(answer)
                code = 0 if answer["ok"] else 3
            elif args.command == "call":
                answer = host.call(args.method, args.url, spec)
                emit(answer)
                code = 0 if answer["ok"] else 3
            else:
                for item in lines or []:
                    name = item.pop("function", None)
                    try:
                        answer = (
                            host.invoke(name, item)
                            if name
                            else host.call(item.get("method", "GET"), item["url"], item)
                        )
                    except (RequestError, KeyError) as exc:
                        answer = {
                            "ok": False,
                            "function": name,
                            "error": f"{type(exc).__name__}: {exc}",
                        }
                    emit(answer, compact=True)
                    code = code or (0 if answer["ok"] else 3)
        except RequestError as exc:
            emit({"ok": False, "error": str(exc)})
            code = 2
        except Exception as exc:  # a fault of this script's or of the library's
            emit({"ok": False, "error": repr(exc), "traceback": traceback.format_exc()})
            code = 3
    out.close()
    return code


if __name__ == "__main__":
    status = main()
    # A sync function that timed out still holds a pool thread, and a normal exit would
    # wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
