"""`python -m tests.e2e.traced_host …`: the local host, with providers that write spans and metrics.

They write a JSON object a line into the files `spans` and `metrics` of the folder TELEMETRY_FOLDER.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from local_host.__main__ import main

FOLDER = "TELEMETRY_FOLDER"


def set_providers(folder: Path) -> None:
    spans = (folder / "spans").open("a", buffering=1)
    exporter = ConsoleSpanExporter(
        out=spans, formatter=lambda span: json.dumps(json.loads(span.to_json())) + "\n"
    )
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracers)
    written = (folder / "metrics").open("a", buffering=1)
    reader = PeriodicExportingMetricReader(
        ConsoleMetricExporter(
            out=written, formatter=lambda data: json.dumps(json.loads(data.to_json())) + "\n"
        ),
        export_interval_millis=300,
    )
    metrics.set_meter_provider(MeterProvider([reader]))


if __name__ == "__main__":
    set_providers(Path(os.environ[FOLDER]))
    sys.exit(main())
