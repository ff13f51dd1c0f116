"""The examples of the main README that need an SDK run as they stand, after what an application does first."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
EXAMPLES = dict(re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", README.read_text(), re.DOTALL))
BEFORE = {
    "sentry": """
import sentry_sdk
def tell(event, hint):
    print(event["exception"]["values"][-1]["value"], [crumb["message"] for crumb in event["breadcrumbs"]["values"]])
sentry_sdk.init("http://key@127.0.0.1:9/1", before_send=tell)
""",
    "opentelemetry": """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
spans = InMemorySpanExporter()
trace.set_tracer_provider(TracerProvider())
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(spans))
""",
}
AFTER = {"sentry": "", "opentelemetry": "print([span.name for span in spans.get_finished_spans()])"}
SEEN = {"sentry": "disk full", "opentelemetry": "['sh']"}


@pytest.mark.parametrize("name", BEFORE)
def test_example(name, tmp_path):
    code = BEFORE[name] + EXAMPLES[name] + AFTER[name]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert SEEN[name] in done.stdout, done.stdout + done.stderr
