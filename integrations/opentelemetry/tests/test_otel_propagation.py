"""Trace context through the environment: what a child is told, and how it picks it up."""

from __future__ import annotations

import os

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from subwatch_opentelemetry import OpenTelemetrySink, continue_trace
from subwatch_opentelemetry._propagation import _EnvironmentGetter, _variable, child_environment, traceparent

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


@pytest.fixture(autouse=True)
def _propagator():
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(
        CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
    )
    yield
    propagate.set_global_textmap(before)


@pytest.fixture(name="within")
def _within():
    tokens = []
    yield lambda ctx: tokens.append(context.attach(ctx))
    for token in reversed(tokens):
        context.detach(token)


def remote(state=()):
    place = SpanContext(
        TRACE, SPAN, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState(list(state))
    )
    return trace.set_span_in_context(NonRecordingSpan(place))


def test_child_is_told_its_span(memory, Child, follow):
    child = Child()
    stream = follow(memory.sink(), child, child.start(), child.exit())

    place = memory.span.get_span_context()
    assert stream.env == {
        "TRACEPARENT": f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags:02x}",
        "TRACESTATE": None,
        "BAGGAGE": None,
    }


def test_state_and_baggage_go_along(memory, Child, within):
    within(baggage.set_baggage("tenant", "a b", remote([("vendor", "x")])))
    stream = memory.sink().open(Child().run)

    assert stream.env["TRACEPARENT"].startswith(f"00-{TRACE:032x}-")
    assert stream.env["TRACESTATE"] == "vendor=x"
    assert stream.env["BAGGAGE"] == "tenant=a+b"
    stream.close()


def test_baggage_can_be_kept_back(memory, Child, within):
    within(baggage.set_baggage("secret", "hunter2"))
    stream = memory.sink(baggage=False).open(Child().run)

    assert stream.env["BAGGAGE"] is None
    stream.close()


class Own(CompositePropagator):
    """The same as the default one, but not known to be."""


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
@pytest.mark.parametrize("state", [[], [("vendor", "x")]])
@pytest.mark.parametrize("bags", [{}, {"tenant": "a b"}])
@pytest.mark.parametrize("with_baggage", [True, False])
def test_the_shortcut_says_what_the_propagator_says(flags, state, bags, with_baggage):
    place = SpanContext(TRACE, SPAN, False, TraceFlags(flags), TraceState(state))
    within = context.Context()
    for name, text in bags.items():
        within = baggage.set_baggage(name, text, within)
    given = NonRecordingSpan(place), traceparent(place), within, with_baggage
    short = child_environment(*given)
    propagate.set_global_textmap(Own([TraceContextTextMapPropagator(), W3CBaggagePropagator()]))

    assert short == child_environment(*given)


def test_nothing_when_not_wanted(memory, Child):
    stream = memory.sink(propagate=False).open(Child().run)

    assert stream.env == {}
    stream.close()


def test_without_sdk_inherited_variables_pass_through(Child):
    assert OpenTelemetrySink().open(Child().run).env == {}


def test_without_sdk_a_known_parent_is_handed_on(Child, within):
    within(remote())
    child = Child()
    stream = OpenTelemetrySink().open(child.run)

    assert stream.env["TRACEPARENT"] == PARENT
    assert child.run.fields == {"trace_id": f"{TRACE:032x}", "span_id": f"{SPAN:016x}"}


def test_unsampled_is_handed_on_as_unsampled(Child):
    sink = OpenTelemetrySink(tracer_provider=TracerProvider(ALWAYS_OFF, shutdown_on_exit=False))
    flags = int(sink.open(Child().run).env["TRACEPARENT"][-2:], 16)
    assert flags & TraceFlags.SAMPLED == 0


def test_continue_trace():
    token = continue_trace({"TRACEPARENT": PARENT, "TRACESTATE": "vendor=x", "BAGGAGE": "tenant=a"})
    try:
        place = trace.get_current_span().get_span_context()
        assert (place.trace_id, place.span_id, place.is_remote) == (TRACE, SPAN, True)
        assert place.trace_state.get("vendor") == "x"
        assert baggage.get_baggage("tenant") == "a"
    finally:
        context.detach(token)
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "value", ["", "nonsense", "00-0-0-00", "ff-" + PARENT[3:], "x" * 500, "é", PARENT.upper() + "-"]
)
def test_invalid_variables_change_nothing(monkeypatch, value):
    monkeypatch.setenv("TRACEPARENT", value)
    monkeypatch.setenv("TRACESTATE", "=,=,")
    monkeypatch.setenv("BAGGAGE", "a=b")
    before = trace.get_current_span().get_span_context()
    token = continue_trace()
    assert trace.get_current_span().get_span_context() == before
    context.detach(token)


def test_environment_of_this_process_is_not_touched(memory, Child, follow, monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "nonsense")
    before = dict(os.environ)
    child = Child()
    follow(memory.sink(), child, child.start(), child.exit())

    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("traceparent", "TRACEPARENT"),
        ("x-b3-traceid", "X_B3_TRACEID"),
        ("uber-trace-id", "UBER_TRACE_ID"),
        ("1st", "_1ST"),
        ("", "_"),
        ("é.b", "__B"),
    ],
)
def test_names(key, name):
    assert _variable(key) == name
    assert _EnvironmentGetter().get({name: "value"}, key) == ["value"]


def test_keys_are_normalised_names_only():
    assert _EnvironmentGetter().keys({"A_1": "", "lower": "", "1A": "", "A-B": "", "_X": ""}) == ["A_1", "_X"]
