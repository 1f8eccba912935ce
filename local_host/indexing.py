"""Loads a `function_app.py` and refuses what the real host or worker refuses.

The rules are in docs/platform.md#1, #3 and #7.1.

All problems of an app are reported together, each with the name of its function. If the real host
would drop one function and run the others, this host does not start, so that the developer notices.
"""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any
from weakref import WeakKeyDictionary

import azure.functions as func

from local_host.app_settings import (
    AppRefusedError,
    expand_settings,
    is_disabled,
    resolve_connection,
)
from local_host.host_json import HostOptions
from local_host.ncrontab import Schedule
from local_host.routes import (
    BadTemplateError,
    Route,
    full_template,
    parse_template,
    same_route,
    sort_key,
)

_log = logging.getLogger(__name__)

_FUNCTION_NAME = re.compile(r"(?!host$)[a-z][a-z0-9_\-]{0,127}", re.IGNORECASE | re.ASCII)
_BINDING_NAME = re.compile(r"(?!.*__)[a-zA-Z_][a-zA-Z0-9_]{0,127}|\$return", re.ASCII)
_QUEUE_NAME = re.compile(r"(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
_SCRIPT_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_\-]*\.py", re.ASCII)
_STORAGE_TRIGGERS = ("queueTrigger", "blobTrigger")
_TRIGGERS = ("httpTrigger", "timerTrigger", *_STORAGE_TRIGGERS)
_EXPANDED = ("queueName", "path", "schedule")

Handler = Callable[..., Any]


def signature_problems(handler: Handler, trigger_type: str, parameter: str) -> list[str]:
    """The problems for which the worker would refuse a handler whose trigger binds `parameter`."""
    try:
        hints = typing.get_type_hints(handler)
        names = list(inspect.signature(handler).parameters)
    except Exception as error:
        return [f"its annotations cannot be resolved: {error}"]
    problems = _parameter_problems(names, hints, parameter)
    if parameter in hints and not _takes(trigger_type, hints[parameter]):
        problems.append(
            f"parameter {parameter!r} of a {trigger_type} cannot be annotated "
            f"{_show(hints[parameter])}"
        )
    if trigger_type == "httpTrigger" and "return" in hints and not _is_answer(hints["return"]):
        problems.append(
            f"an HTTP function cannot be annotated to return {_show(hints['return'])}; "
            "only HttpResponse or str"
        )
    if hides_coroutine(handler):
        problems.append(
            "a plain function wraps an async one: the worker would take the coroutine for the "
            "result; the wrapper must be async def too"
        )
    return problems


def find_converter(binding_type: str) -> Any:
    """The library's converter for a type of binding, which the worker uses too."""
    return func.get_binding_registry().get(binding_type)


def wants_context(handler: Handler, parameter: str) -> bool:
    """Whether the worker passes `context` to this handler."""
    return parameter != "context" and "context" in inspect.signature(handler).parameters


def wants_raw(handler: Handler, parameter: str) -> bool:
    """Whether a trigger parameter is annotated str or bytes and gets the raw content."""
    return typing.get_type_hints(handler).get(parameter) in (str, bytes)


def hides_coroutine(handler: Handler) -> bool:
    """Whether a handler that is registered as sync wraps an async function."""
    wrapped: Any = handler
    while not inspect.iscoroutinefunction(wrapped) and hasattr(wrapped, "__wrapped__"):
        wrapped = wrapped.__wrapped__
    return wrapped is not handler and inspect.iscoroutinefunction(wrapped)


def _parameter_problems(names: list[str], hints: dict[str, Any], parameter: str) -> list[str]:
    problems = []
    if parameter not in names:
        problems.append(f"the trigger's argument {parameter!r} is no parameter of the function")
    extra = [name for name in names if name not in (parameter, "context")]
    if extra:
        problems.append(f"parameters without a binding: {', '.join(extra)} (only context may be)")
    hint = hints.get("context")
    is_bound = parameter == "context" or "context" not in names
    if not is_bound and hint is not None and getattr(hint, "__name__", "") != "Context":
        problems.append("parameter 'context' must be annotated azure.functions.Context")
    return problems


def _takes(trigger_type: str, hint: Any) -> bool:
    if not isinstance(hint, type):
        return False
    if hint in (str, bytes):
        return trigger_type != "httpTrigger"
    return bool(find_converter(trigger_type).check_input_type_annotation(hint))


def _is_answer(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, (func.HttpResponse, str))


def _show(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


@dataclass(frozen=True, slots=True)
class AppFunction:
    """A function that this host runs. `trigger` is its binding with the settings filled in."""

    name: str
    handler: Handler
    trigger: dict[str, Any]
    route: Route | None

    @property
    def kind(self) -> str:
        """The type of its trigger, e.g. `queueTrigger`."""
        return str(self.trigger["type"])

    @property
    def parameter(self) -> str:
        """The handler's parameter for the trigger."""
        return str(self.trigger["name"])

    @property
    def is_binary(self) -> bool:
        """Whether the trigger passes bytes instead of text."""
        return str(self.trigger.get("dataType", "")).upper() in ("BINARY", "STREAM")


# An app lists its functions only once in a process.
_LISTED: WeakKeyDictionary[ModuleType, list[func.Function]] = WeakKeyDictionary()


def load_functions(directory: Path) -> list[func.Function]:
    """Import the app as the worker does and build its functions, once.

    Raises AppRefusedError if the import fails or there is not exactly one function app.
    """
    script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
    if not _SCRIPT_NAME.fullmatch(script) or not (directory / script).is_file():
        raise AppRefusedError([f"there is no {script} in {directory}"])
    os.chdir(directory)
    sys.path.insert(0, str(directory))
    name = script.removesuffix(".py")
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ != str(directory / script):
        # The app of another folder, which this process has loaded before.
        del sys.modules[name]
    try:
        return _only_app(importlib.import_module(name), script)
    except AppRefusedError:
        raise
    except Exception as error:
        _log.exception("%s cannot be loaded", script)
        function = _function_in(error.__traceback__)
        location = f"function {function}: " if function else ""
        raise AppRefusedError([f"{location}{script} cannot be loaded: {error!r}"]) from error


def index(functions: Sequence[func.Function], options: HostOptions) -> list[AppFunction]:
    """Check every function, in the host's order. Raises AppRefusedError with all problems.

    Disabled functions are checked too, but not returned.
    """
    entries: list[AppFunction] = []
    problems: list[str] = []
    for function in sorted(functions, key=lambda f: sort_key(str(f.get_function_name()))):
        name = str(function.get_function_name())
        own_functions = list(_function_problems(function, name, options))
        trigger, missing = _expanded_trigger(function)
        own_functions += [f"the app setting {setting} is not set" for setting in missing]
        if not own_functions:
            own_functions, entry = _build_entry(function, name, trigger, options, entries)
            entries += [entry] if entry else []
        problems += [f"function {name}: {problem}" for problem in own_functions]
    if problems:
        raise AppRefusedError(problems)
    return [function for function in entries if not is_disabled(function.name)]


def _only_app(module: ModuleType, script: str) -> list[func.Function]:
    apps = [n for n in dir(module) if isinstance(getattr(module, n), func.FunctionRegister)]
    if not apps:
        raise AppRefusedError([f"{script} has no FunctionApp at the top level"])
    if len(apps) > 1:
        raise AppRefusedError([f"{script} has more than one FunctionApp (or name for it): {apps}"])
    functions = _LISTED.get(module)
    if functions is None:
        functions = _LISTED[module] = getattr(module, apps[0]).get_functions()
    if not functions:
        _log.warning("%s has no functions", script)
    return functions


def _function_in(traceback: TracebackType | None) -> str:
    """The function that was being decorated when the library raised, or an empty name."""
    name = ""
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, func.Function):
            name = str(owner.get_function_name())
        traceback = traceback.tb_next
    return name


def _function_problems(function: func.Function, name: str, options: HostOptions) -> Iterator[str]:
    if not _FUNCTION_NAME.fullmatch(name):
        yield "the host does not take this name (a letter, then letters, digits, - and _)"
    bindings = [json.loads(raw) for raw in function.get_raw_bindings()]
    yield from _binding_problems(bindings)
    for binding in bindings:
        yield from _unsupported(binding, options)
    handler = function.get_user_function()
    trigger = function.get_trigger()
    if not inspect.isroutine(handler) or trigger is None:
        yield "the handler is no plain function"
    elif trigger.get_binding_name() in _TRIGGERS:
        yield from signature_problems(handler, trigger.get_binding_name(), trigger.name)
    if function.get_settings_dict("retry_policy"):
        if trigger is not None and trigger.get_binding_name() == "timerTrigger":
            _log.warning("function %s: its retry policy is not applied here", name)
        else:
            yield "a retry policy works only on timers; storage triggers have their own attempts"


def _binding_problems(bindings: Sequence[dict[str, Any]]) -> Iterator[str]:
    seen_names: set[str] = set()
    for binding in bindings:
        name = str(binding["name"])
        if not _BINDING_NAME.fullmatch(name):
            yield f"the host does not take the binding name {name!r}"
        if name.lower() in seen_names:
            yield f"the binding name {name!r} is there twice"
        seen_names.add(name.lower())


def _unsupported(binding: dict[str, Any], options: HostOptions) -> Iterator[str]:
    kind, name = str(binding["type"]), str(binding["name"])
    if kind == "http" and name == "$return":
        return
    if kind not in _TRIGGERS:
        yield f"the local host does not run bindings of type {kind}"
    if kind in _STORAGE_TRIGGERS:
        connection = str(binding.get("connection") or "")
        if resolve_connection(connection) is None:
            yield f"the connection setting {connection or 'AzureWebJobsStorage'} is not set"
        if not options.has_bundle:
            yield f"host.json has no extensionBundle, so the host would not know {kind}"


def _expanded_trigger(function: func.Function) -> tuple[dict[str, Any], list[str]]:
    trigger: dict[str, Any] = {}
    for raw in function.get_raw_bindings():
        binding = json.loads(raw)
        if str(binding["type"]) in _TRIGGERS:
            trigger = binding
    missing: list[str] = []
    for key in _EXPANDED:
        if key in trigger:
            trigger[key], names = expand_settings(str(trigger[key]))
            missing += names
    return trigger, missing


def _build_entry(
    function: func.Function,
    name: str,
    trigger: dict[str, Any],
    options: HostOptions,
    earlier: Sequence[AppFunction],
) -> tuple[list[str], AppFunction | None]:
    """The function's entry, or its problems with the `earlier` functions."""
    if any(bindings.name.lower() == name.lower() for bindings in earlier):
        return ["another function has this name (case does not count)"], None
    route = None
    try:
        if trigger["type"] == "httpTrigger":
            text = full_template(trigger.get("route"), name, options.http.route_prefix)
            methods = tuple(str(method).upper() for method in trigger.get("methods") or ())
            route = Route(name, text, methods, parse_template(text))
            for bindings in earlier:
                if bindings.route and same_route(bindings.route, route):
                    return [f"its route and method are those of function {bindings.name}"], None
        else:
            _check_source(trigger)
    except (BadTemplateError, ValueError) as error:
        return [str(error)], None
    return [], AppFunction(name, function.get_user_function(), trigger, route)


def _check_source(trigger: dict[str, Any]) -> None:
    """Queue name, blob path or schedule; raises ValueError with a sentence."""
    if trigger["type"] == "queueTrigger":
        trigger["queueName"] = str(trigger["queueName"]).lower()
        if not _QUEUE_NAME.fullmatch(trigger["queueName"]):
            raise ValueError(f"{trigger['queueName']!r} is no name for a queue")
    if trigger["type"] == "timerTrigger":
        Schedule.parse(str(trigger["schedule"]))
    if trigger["type"] == "blobTrigger":
        path_pattern(str(trigger["path"]).strip("/"))
        if str(trigger.get("dataType", "")).upper() != "BINARY":
            raise ValueError("a blob trigger without data_type BINARY gets mangled bytes")
        if trigger.get("source") not in (None, "EventGrid", "LogsAndContainerScan"):
            raise ValueError(f"the host does not know the blob source {trigger['source']!r}")


def path_pattern(path: str) -> re.Pattern[str]:
    """The pattern of the blob names for a path like `container/{name}.{ext}`.

    `{name}` is greedy and matches slashes too.
    """
    container, _, rest = path.partition("/")
    if "{" in container or not container:
        raise ValueError(f"the blob path {path!r} must begin with the name of a container")
    pattern = ""
    for literal, parameter in re.findall(r"((?:[^{}]|\{\{|\}\})+)|(\{[^{}]+\})", rest or "{name}"):
        text = literal.replace("{{", "{").replace("}}", "}")
        pattern += ".+" if parameter else re.escape(text)
    return re.compile(pattern, re.DOTALL)
