"""Which handler signatures the worker takes (PLATFORM 7.1), told per function.

Only what this host runs is told apart here: a trigger, the optional context, and the `$return`
of an HTTP function.
"""

import inspect
import typing
from collections.abc import Callable
from typing import Any

import azure.functions as func

Handler = Callable[..., Any]


def signature_problems(handler: Handler, trigger_type: str, parameter: str) -> list[str]:
    """What the worker would refuse in a handler whose trigger binds `parameter`."""
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
    """The library's converter for a type of binding, the one that the worker uses."""
    return func.get_binding_registry().get(binding_type)


def wants_context(handler: Handler, parameter: str) -> bool:
    """Whether the worker passes `context` to this handler."""
    return parameter != "context" and "context" in inspect.signature(handler).parameters


def wants_raw(handler: Handler, parameter: str) -> bool:
    """Whether a trigger parameter is annotated str or bytes and gets the bare content."""
    return typing.get_type_hints(handler).get(parameter) in (str, bytes)


def hides_coroutine(handler: Handler) -> bool:
    """Whether a handler that is registered as sync has an async function underneath."""
    inner: Any = handler
    while not inspect.iscoroutinefunction(inner) and hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    return inner is not handler and inspect.iscoroutinefunction(inner)


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
