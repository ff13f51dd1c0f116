"""Run one module of CPython's own tests under the instrumentor: ``python cpython_instrumented.py MODULE PATH...``.

The paths are those of the packages; they are not in the environment, since the children of the tests do not need them.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import unittest

sys.path += sys.argv[2:]

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from subwatch_opentelemetry import SubwatchInstrumentor


def main(module):
    # one test fills the table of descriptors: give it the usual one
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.set_event_loop(None)  # one test counts on another's having done this
    spans = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    SubwatchInstrumentor().instrument(tracer_provider=provider)
    tests = unittest.defaultTestLoader.loadTestsFromName(module)
    result = unittest.TextTestRunner(stream=sys.stdout).run(tests)
    print(f"{len(spans.get_finished_spans())} spans")
    sys.exit(not (result.wasSuccessful() and result.testsRun and spans.get_finished_spans()))


if __name__ == "__main__":
    main(sys.argv[1])
