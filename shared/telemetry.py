"""Traces and metrics by OpenTelemetry, if GATEWAY_TELEMETRY turns them on (docs/operate.md).

The gateway makes spans and measurements. The worker of the platform sets the provider that exports
them; without the platform, the process that runs the gateway does. Attributes are the fields of log
lines (`shared.log`), so no value of a row can be among them, and of an error only the class is
noted.

Turned off, a span costs a comparison, and nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, Unpack

from shared import log
from shared.log import Fields, attribute

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_NAME: Final = "payroll-import-gateway"
_PREFIX: Final = "gateway."
_NO_SPAN: Final[AbstractContextManager[None]] = nullcontext()


@dataclass(frozen=True, slots=True)
class Metric:
    """A measurement: its name behind `gateway.`, its kind and unit, and what it says."""

    name: str
    kind: str
    unit: str
    meaning: str


CALL_DURATION: Final = Metric(
    "call.duration", "histogram", "s", "Time of calls, by function and status."
)
ROWS: Final = Metric("rows", "counter", "{row}", "Rows of ended imports, by type and outcome.")
CHUNK_DURATION: Final = Metric(
    "chunk.duration", "histogram", "s", "Time of handling a chunk, by type."
)
QUEUE_WAIT: Final = Metric(
    "queue.wait",
    "histogram",
    "s",
    "Time from the acceptance of an import to a start of a chunk of it.",
)
OPEN_IMPORTS: Final = Metric(
    "imports.open", "gauge", "{import}", "Open imports of all tenants, as the sweep has found them."
)
RETRIES: Final = Metric(
    "storage.retries", "counter", "{request}", "Requests to tables and queues that were repeated."
)
METRICS: Final = (CALL_DURATION, ROWS, CHUNK_DURATION, QUEUE_WAIT, OPEN_IMPORTS, RETRIES)


class _Instruments:
    """What OpenTelemetry gives for spans and measurements."""

    def __init__(self) -> None:
        from opentelemetry import metrics, trace

        meter = metrics.get_meter(_NAME)
        make: dict[str, Callable[..., Any]] = {
            "counter": meter.create_counter,
            "histogram": meter.create_histogram,
            "gauge": meter.create_gauge,
        }
        self.tracer: Tracer = trace.get_tracer(_NAME)
        self._by_name: dict[str, Any] = {
            each.name: make[each.kind](f"{_PREFIX}{each.name}", each.unit, each.meaning)
            for each in METRICS
        }

    def note(self, metric: Metric, value: float, attributes: dict[str, Any]) -> None:
        instrument = self._by_name[metric.name]
        match metric.kind:
            case "counter":
                instrument.add(value, attributes)
            case "histogram":
                instrument.record(value, attributes)
            case _:
                instrument.set(value, attributes)


_instruments: _Instruments | None = None


def turn_on() -> None:
    """Use the providers of this process from now on.

    Where the packages are not installed, telemetry stays off and a log line says so: the gateway
    works without it.
    """
    global _instruments  # noqa: PLW0603 (the providers belong to the process too)
    try:
        _instruments = _Instruments()
    except ImportError as error:
        log.failure("telemetry.packages_missing", error)


def span(name: str, parent: str = "", **fields: Unpack[Fields]) -> AbstractContextManager[Any]:
    """A span around a block; one of OpenTelemetry, or None where telemetry is off.

    `parent` is the `traceparent` of another process. The span then belongs to that trace, and is
    linked to the span that the worker has made for this invocation.
    """
    return _NO_SPAN if _instruments is None else _span(_instruments.tracer, name, parent, fields)


def call_span(name: str, traceparent: str) -> AbstractContextManager[Any]:
    """The span of a call. It belongs to the worker's span if there is one, else to the header's.

    The span of the worker, or of the host, already counts as the request.
    """
    if _instruments is None:
        return _NO_SPAN
    if current_trace():
        return _span(_instruments.tracer, name, "", {})
    return _span(_instruments.tracer, name, traceparent, {}, is_call=True)


def note_answer(span: Any, status: int, correlation_id: str) -> None:
    """Note on the span of a call how it was answered; from 500 on the call has failed."""
    if span is None:
        return
    from opentelemetry import trace

    span.set_attribute("gateway.status", status)
    span.set_attribute("http.response.status_code", status)
    span.set_attribute("gateway.correlation_id", correlation_id)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.set_status(trace.StatusCode.ERROR)


def traced(
    name: str,
) -> Callable[[Callable[Parameters, Awaitable[Result]]], Callable[Parameters, Awaitable[Result]]]:
    """A span around every call of a coroutine function."""

    def decorate(
        function: Callable[Parameters, Awaitable[Result]],
    ) -> Callable[Parameters, Awaitable[Result]]:
        @functools.wraps(function)
        async def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if _instruments is None:
                return await function(*args, **kwargs)
            with _span(_instruments.tracer, name, "", {}):
                return await function(*args, **kwargs)

        return run

    return decorate


def current_trace() -> str:
    """The `traceparent` of the current span (W3C Trace Context); "" without one."""
    if _instruments is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def note(metric: Metric, value: float, **fields: Unpack[Fields]) -> None:
    """Add to a counter, or note a value."""
    if _instruments is not None:
        _instruments.note(metric, value, _attributes(fields))


@contextmanager
def _span(
    tracer: Tracer, name: str, parent: str, fields: Fields, *, is_call: bool = False
) -> Iterator[Span]:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context: Context | None = None
    links: list[trace.Link] = []
    kind = trace.SpanKind.SERVER if is_call else trace.SpanKind.INTERNAL
    if parent:
        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
        here = trace.get_current_span().get_span_context()
        if here.is_valid:
            links = [trace.Link(here)]
        kind = kind if is_call else trace.SpanKind.CONSUMER
    with tracer.start_as_current_span(
        name,
        context,
        kind,
        _attributes(fields),
        links,
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


def _attributes(fields: Fields) -> dict[str, Any]:
    return {f"{_PREFIX}{name}": attribute(name, value) for name, value in fields.items()}
