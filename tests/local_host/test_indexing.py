"""What the host and the worker refuse is refused here, with the function's name."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from local_host.app_settings import AppRefusedError
from local_host.host_json import HostOptions, read_host_json
from local_host.indexing import AppFunction, index, load_functions
from tests.local_host import signature_samples as samples

_HOST_JSON = """
{"version": "2.0", "extensionBundle": {"id": "b"}, "extensions": {"http": {"routePrefix": ""}}}
"""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostOptions:
    monkeypatch.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
    (tmp_path / "host.json").write_text(_HOST_JSON)
    return read_host_json(tmp_path / "host.json")


def check(app: func.FunctionApp, options: HostOptions) -> list[AppFunction]:
    return index(app.get_functions(), options)


def refusal(app: func.FunctionApp, options: HostOptions) -> str:
    with pytest.raises(AppRefusedError) as refused:
        check(app, options)
    return str(refused.value)


def http_app(handler: Callable[..., Any], **more: Any) -> func.FunctionApp:
    app = func.FunctionApp()
    app.route("r", **more)(handler)
    return app


def queue_app(handler: Callable[..., Any], **more: Any) -> func.FunctionApp:
    app = func.FunctionApp()
    arguments = {"arg_name": "msg", "queue_name": "jobs", "connection": "AzureWebJobsStorage"}
    app.queue_trigger(**{**arguments, **more})(handler)
    return app


def blob_app(handler: Callable[..., Any], **more: Any) -> func.FunctionApp:
    app = func.FunctionApp()
    arguments = {"arg_name": "blob", "path": "drop/{name}", "connection": "AzureWebJobsStorage"}
    app.blob_trigger(**{**arguments, "data_type": func.DataType.BINARY, **more})(handler)
    return app


@pytest.mark.parametrize("handler", [samples.plain, samples.answer, samples.text, samples.quoted])
def test_accepted_http_signatures(handler: Any, options: HostOptions) -> None:
    assert check(http_app(handler), options)[0].name == handler.__name__


@pytest.mark.parametrize("handler", [samples.message, samples.message_text, samples.message_bytes])
def test_accepted_queue_signatures(handler: Any, options: HostOptions) -> None:
    assert check(queue_app(handler), options)[0].kind == "queueTrigger"


@pytest.mark.parametrize("handler", [samples.stream, samples.stream_bytes])
def test_accepted_blob_signatures(handler: Any, options: HostOptions) -> None:
    assert check(blob_app(handler), options)[0].is_binary


@pytest.mark.parametrize(
    "handler",
    [
        samples.optional_answer,
        samples.optional_request,
        samples.no_answer,
        samples.dict_answer,
        samples.route_value,
        samples.defaulted,
        samples.arguments,
        samples.keywords,
        samples.wrong_context,
        samples.other_name,
        samples.wrong_request,
        samples.unknown_name,
        samples.out,
    ],
)
def test_refused_http_signatures(handler: Any, options: HostOptions) -> None:
    assert f"function {handler.__name__}: " in refusal(http_app(handler), options)


@pytest.mark.parametrize(
    "handler", [samples.dict_message, samples.any_message, samples.list_message]
)
def test_refused_queue_signatures(handler: Any, options: HostOptions) -> None:
    assert f"function {handler.__name__}: parameter 'msg'" in refusal(queue_app(handler), options)


def test_refused_blob_signature(options: HostOptions) -> None:
    assert "function bytearray_blob: " in refusal(blob_app(samples.bytearray_blob), options)


def test_plain_wrapper_around_an_async_function_is_refused(options: HostOptions) -> None:
    @functools.wraps(samples.answer)
    def wrapper(req: func.HttpRequest) -> Any:
        return samples.answer(req)

    assert "must be async def too" in refusal(http_app(wrapper), options)


@pytest.mark.parametrize("name", ["1st", "with space", "host", "a" * 129, "a.b", "\u0142"])
def test_function_name_that_the_host_does_not_take(name: str, options: HostOptions) -> None:
    app = func.FunctionApp()
    app.function_name(name)(app.route("r")(samples.answer))
    assert f"function {name}: the host does not take this name" in refusal(app, options)


def test_names_that_differ_only_in_case_are_refused(options: HostOptions) -> None:
    app = func.FunctionApp()
    app.function_name("Dup")(app.route("a")(samples.answer))
    app.function_name("dUP")(app.route("b")(samples.text))
    assert "function dUP: another function has this name" in refusal(app, options)


@pytest.mark.parametrize("route", ["admin/x", "administrators", "a//b", "{x:uuid}", "{a}{b}"])
def test_route_that_the_host_does_not_take(route: str, options: HostOptions) -> None:
    app = func.FunctionApp()
    app.route(route)(samples.answer)
    assert refusal(app, options).startswith("function answer: ")


def test_leading_slash_under_a_prefix_is_refused(
    options: HostOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = func.FunctionApp()
    app.route("/x")(samples.answer)
    assert check(app, options)
    monkeypatch.setenv("AzureFunctionsJobHost__extensions__http__routePrefix", "api")
    other = func.FunctionApp()
    other.route("/x")(samples.answer)
    assert "two slashes" in refusal(other, read_host_json(tmp_path / "host.json"))


def test_duplicate_route_and_method_are_refused(options: HostOptions) -> None:
    app = func.FunctionApp()
    app.route("items/{id}", methods=["GET", "PUT"])(samples.answer)
    app.route("Items/{ID}", methods=["PUT"])(samples.text)
    assert "function text: its route and method are those of function answer" in refusal(
        app, options
    )


def test_binding_name_that_the_host_does_not_take(options: HostOptions) -> None:
    async def handler(a__b: func.HttpRequest) -> func.HttpResponse: ...  # type: ignore[empty-body]

    app = http_app(handler, trigger_arg_name="a__b")
    assert "function handler: the host does not take the binding name 'a__b'" in refusal(
        app, options
    )


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"queue_name": "%NOT_SET%"}, "the app setting NOT_SET is not set"),
        ({"connection": "NotSet"}, "the connection setting NotSet is not set"),
        ({"queue_name": "a_b"}, "'a_b' is no name for a queue"),
    ],
)
def test_queue_source_that_cannot_be_resolved(
    more: dict[str, str], problem: str, options: HostOptions
) -> None:
    assert refusal(queue_app(samples.message, **more), options) == f"function message: {problem}"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"data_type": None}, "without data_type BINARY"),
        ({"source": "EVENT_GRID"}, "blob source"),
        ({"path": "{container}/x"}, "must begin with the name of a container"),
    ],
)
def test_blob_source_that_is_wrong(
    more: dict[str, Any], problem: str, options: HostOptions
) -> None:
    assert problem in refusal(blob_app(samples.stream, **more), options)


def test_schedule_that_cannot_be_read(options: HostOptions) -> None:
    async def handler(timer: func.TimerRequest) -> None: ...

    app = func.FunctionApp()
    app.timer_trigger("timer", "every minute")(handler)
    assert "function handler: the schedule 'every minute'" in refusal(app, options)


def test_retry_policy_on_a_queue_trigger_is_refused(options: HostOptions) -> None:
    app = func.FunctionApp()
    retry = app.retry("fixed_delay", "3", delay_interval="00:00:05")
    retry(app.queue_trigger("msg", "jobs", "AzureWebJobsStorage")(samples.message))
    assert "function message: a retry policy" in refusal(app, options)


def test_storage_triggers_need_the_extension_bundle(options: HostOptions, tmp_path: Path) -> None:
    (tmp_path / "host.json").write_text('{"version": "2.0"}')
    reason = refusal(queue_app(samples.message), read_host_json(tmp_path / "host.json"))
    assert "function message: host.json has no extensionBundle" in reason


def test_unsupported_bindings_are_refused_by_type(options: HostOptions) -> None:
    async def handler(event: func.EventGridEvent) -> None: ...

    app = func.FunctionApp()
    app.event_grid_trigger("event")(handler)
    app.queue_output("out", "q", "AzureWebJobsStorage")(app.route("x")(samples.answer))
    reason = refusal(app, options)
    assert (
        "function handler: the local host does not run bindings of type eventGridTrigger" in reason
    )
    assert "function answer: the local host does not run bindings of type queue" in reason


def test_every_problem_of_every_function_is_reported(options: HostOptions) -> None:
    app = func.FunctionApp()
    app.route("admin/x")(samples.answer)
    app.route("y")(samples.no_answer)
    assert len(refusal(app, options).splitlines()) == 2


_HEAD = "import azure.functions as func\napp = func.FunctionApp()\n"
_FUNCTION = "@app.route('{0}')\ndef {0}(req: func.HttpRequest) -> func.HttpResponse: ...\n"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import azure.functions", "has no FunctionApp"),
        (_HEAD + "other = func.FunctionApp()", "more than one"),
        (_HEAD + "same = app", "more than one"),
        (_HEAD + "1 / 0", "ZeroDivisionError"),
        (_HEAD + _FUNCTION.format("f") * 2, "Function f does not have a unique function name"),
        (_HEAD + "@app.function_name('lone')\ndef f(req): ...", "Function lone does not have a"),
        (
            _HEAD + "@app.route('a')\n@app.timer_trigger('t', '* * * * * *')\ndef both(t): ...",
            "function both: ",
        ),
        ("def app(: ...", "SyntaxError"),
    ],
)
def test_app_that_cannot_be_loaded(
    source: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"app_{os.urandom(6).hex()}.py"
    (tmp_path / script).write_text(source)
    monkeypatch.setenv("PYTHON_SCRIPT_FILE_NAME", script)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(AppRefusedError) as refused:
        load_functions(tmp_path)
    assert problem in str(refused.value)


def test_folder_without_an_app(tmp_path: Path) -> None:
    with pytest.raises(AppRefusedError, match=r"there is no function_app\.py"):
        load_functions(tmp_path)
