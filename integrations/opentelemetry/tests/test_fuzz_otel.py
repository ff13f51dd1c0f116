"""Properties of the trace context in a child's environment, in both directions. See tests/fuzz for how they are fuzzed."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from subwatch_opentelemetry import continue_trace
from subwatch_opentelemetry._propagation import child_environment, traceparent

# OpenTelemetry says on its loggers what it thinks of such values: that is not looked at here, nor shown.
for _name in ("opentelemetry.trace.span", "opentelemetry.baggage", "opentelemetry.baggage.propagation"):
    logging.getLogger(_name).addFilter(lambda record: not _fuzzing)
_fuzzing = False


@pytest.fixture(autouse=True)
def quiet():
    global _fuzzing
    _fuzzing = True
    yield
    _fuzzing = False


PIECES = st.sampled_from(
    [
        "",
        "00-",
        "01",
        "-",
        "f" * 32,
        "0" * 32,
        "a" * 16,
        "=",
        ",",
        ";",
        "%",
        "%0A",
        "\n",
        "\r\n",
        "\0",
        "é",
        "☃",
        " ",
        "k=v",
        "key",
    ]
)
TEXT = st.lists(PIECES | st.text(max_size=3)).map("".join)
NAMES = st.sampled_from(["TRACEPARENT", "TRACESTATE", "BAGGAGE", "traceparent", "X", "_"])
VALID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, TEXT | st.just(VALID)))
@example({"TRACEPARENT": VALID, "TRACESTATE": "a=b,c=\n", "BAGGAGE": "k=%00"})
def test_no_environment_breaks_a_child(environ):
    """Whatever somebody has put into the variables, the program goes on, and its own children get something valid."""
    token = continue_trace(environ)
    try:
        found = trace.get_current_span().get_span_context()
        assert found.is_valid or found.trace_id == 0
        if environ.get("TRACEPARENT") == VALID:
            assert f"{found.trace_id:032x}" == VALID[3:35]
        checked(child_environment(trace.get_current_span(), VALID, context.get_current(), True))
    finally:
        context.detach(token)


def checked(variables):
    for name, value in variables.items():
        assert name.isupper()
        if value is not None:
            assert not set("\0\r\n").intersection(value), "a header and a variable can hold it"
            os.fsencode(value)
    return variables


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.lists(st.tuples(TEXT, TEXT), max_size=3),
    st.dictionaries(TEXT, TEXT, max_size=3),
    st.booleans(),
)
@example(1, 1, [("key", "v")], {"key": "v"}, False)
def test_the_trace_arrives_whatever_the_baggage(trace_id, span_id, states, bags, with_baggage):
    state = TraceState()
    for name, text in states:
        state = state.add(name, text)
    span = NonRecordingSpan(SpanContext(trace_id, span_id, True, TraceFlags(1), state))
    here = trace.set_span_in_context(span, context.Context())
    for name, text in bags.items():
        here = baggage.set_baggage(name, text, here)
    variables = checked(child_environment(span, traceparent(span.get_span_context()), here, with_baggage))
    if not with_baggage:
        assert variables["BAGGAGE"] is None
    token = continue_trace({name: value for name, value in variables.items() if value is not None})
    try:
        arrived = trace.get_current_span().get_span_context()
        assert (arrived.trace_id, arrived.span_id) == (trace_id, span_id)
        assert set(baggage.get_all()) <= {name.strip() for name in bags} or with_baggage
    finally:
        context.detach(token)
