"""Trace context through the environment of a child, in both directions.

By the specification of environment variable carriers (``specification/context/env-carriers.md``): names in
upper case (``TRACEPARENT``, ``TRACESTATE``, ``BAGGAGE``), values as in HTTP headers. The API has the same
in a private module; its default setter writes lower-case names, which no child reads.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from opentelemetry import baggage, context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, Setter, TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanContext

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")


@lru_cache(maxsize=64)
def _variable(key: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", key).upper()
    return "_" + name if not name or name[0].isdigit() else name


@lru_cache(maxsize=4)
def _variables(propagator: TextMapPropagator) -> tuple[str, ...]:
    return tuple(map(_variable, propagator.fields))


@lru_cache(maxsize=4)
def _is_usual(propagator: TextMapPropagator) -> bool:
    """Whether it is the API's default one."""
    if type(propagator) is not CompositePropagator:
        return False
    parts = [type(part) for part in getattr(propagator, "_propagators", ())]
    return parts == [TraceContextTextMapPropagator, W3CBaggagePropagator]


class _EnvironmentSetter(Setter["MutableMapping[str, str | None]"]):
    def set(self, carrier: MutableMapping[str, str | None], key: str, value: str) -> None:
        carrier[_variable(key)] = value


class _EnvironmentGetter(Getter["Mapping[str, str]"]):
    def get(self, carrier: Mapping[str, str], key: str) -> list[str] | None:
        value = carrier.get(_variable(key))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, str]) -> list[str]:
        return [name for name in carrier if _NAME.fullmatch(name)]


_SETTER = _EnvironmentSetter()
_GETTER = _EnvironmentGetter()


def traceparent(place: SpanContext) -> str:
    """Return a span's ids and flags as the W3C header has them."""
    return "00-%032x-%016x-%02x" % (place.trace_id, place.span_id, place.trace_flags)  # noqa: UP031 - the fastest


def child_environment(span: Span, parent: str, within: Context, with_baggage: bool) -> dict[str, str | None]:
    """Return the variables that make a child continue the trace.

    Args:
        span: The span that is to be the child's parent.
        parent: Its `traceparent`.
        within: Context in which it was started.
        with_baggage: Whether the child may see the baggage.

    Returns:
        A value for each variable to set, None for each to remove: an inherited ``TRACESTATE`` does
        not belong to the new ``TRACEPARENT``.
    """
    propagator = propagate.get_global_textmap()
    place = span.get_span_context()
    if (
        _is_usual(propagator)
        and place.is_valid
        and not place.trace_state
        and not (with_baggage and within and baggage.get_all(within))
    ):  # what the propagator would say, in a fifth of its time
        return {"TRACEPARENT": parent, "TRACESTATE": None, "BAGGAGE": None}
    within = trace.set_span_in_context(span, within)
    variables: dict[str, str | None] = dict.fromkeys(_variables(propagator))
    propagator.inject(variables, within if with_baggage else baggage.clear(within), _SETTER)
    return variables


def continue_trace(environ: Mapping[str, str] | None = None) -> Token[Context]:
    """Continue, in a child process, the trace of the process that started it.

    Call it once, after the SDK is set up: what starts afterwards in this thread (or from it in
    asyncio) belongs to the parent's trace. Variables that are missing or invalid change nothing.

    Args:
        environ: Environment to read ``TRACEPARENT``, ``TRACESTATE`` and ``BAGGAGE`` (or what the global
            propagator uses) from; default: :data:`os.environ`.

    Returns:
        A token for :func:`opentelemetry.context.detach`, for those who want to end it.
    """
    return context.attach(propagate.extract(os.environ if environ is None else environ, getter=_GETTER))
