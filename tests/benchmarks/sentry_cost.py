"""What the Sentry sink costs, as ratios in one process; ``python tests/benchmarks/sentry_cost.py [--rounds N]``.

Needs subwatch-sentry. The SDK is initialised, with tracing on and a transport that does nothing; the run with the sink
and the run without any (``sinks=[]``) take turns, and each ratio is that of two that ran one right after the other.
Printed are the median and the quartiles of all rounds, of this process's CPU time (user and system).

- A million lines, of 68 bytes, of words and of a program's progress: what is new is done once, at the run's end.
- The same where the run fails: an event with the last lines, an attachment of 64 KiB, all of it serialised.
- A million lines with the sink beside a sink that reads all texts, and beside that one alone.
- A trivial child, /bin/true, in a transaction: a span, and four variables in the child's environment. A run without the
  sink has the span, the breadcrumb and the variables of the SDK's own StdlibIntegration, which the sink keeps away; for
  information, the same where the application has switched that off.

The exit status is 1 where a bound is missed.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys

import sentry_sdk
from sentry_sdk.integrations.stdlib import StdlibIntegration
from sentry_sdk.transport import Transport

import subwatch
from subwatch_sentry import SentrySink

WORDS = "%07d copying the next of many files from the one place to the other\\n"
PROGRESS = "%07d pg_basebackup: 123456/789012 kB (15%%), 0/1 tablespace padding\\n"
FLOOD = """
import os, sys
block = b"".join(b"{line}" % number for number in range(1000))
for _ in range(1000):
    os.write(2, block)
sys.exit({code})
"""
TRUE = "/bin/true"


class Nowhere(Transport):
    """Takes envelopes as bytes, and leaves it at that."""

    def capture_envelope(self, envelope):
        envelope.serialize()


class Texts:
    """A sink that reads all texts."""

    def open(self, run):
        return self

    def emit(self, records):
        if type(records) is subwatch.Lines:
            records.texts

    def close(self, timeout=0.0):
        pass


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def spent(function):
    before = cpu()
    function()
    return cpu() - before


def ratios(ours, theirs, rounds):
    """Ratios of CPU time of two functions that take turns; the order changes from round to round."""
    ours(), theirs()
    for number in range(rounds):
        if number % 2:
            first = spent(ours)
            yield first / spent(theirs)
        else:
            first = spent(theirs)
            yield spent(ours) / first


def flood(line, code=0):
    return [sys.executable, "-c", FLOOD.format(line=line, code=code)]


def lines(command, ours, theirs):
    def run(sinks):
        subwatch.run(command, sinks=sinks, stderr=subprocess.DEVNULL)

    return lambda: run(ours), lambda: run(theirs)


def children(count, ours):
    def run(sinks):
        with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(name="benchmark"):
            for _ in range(count):
                subwatch.run([TRUE], sinks=sinks)

    return lambda: run(ours), lambda: run([])


def init(**options):
    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=Nowhere(), traces_sample_rate=1.0, **options)


def main():
    parser = argparse.ArgumentParser(description="What the Sentry sink costs.")
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    init()
    sink, texts = SentrySink(), Texts()
    rows = [
        ("1,000,000 lines of words / without a sink", lines(flood(WORDS), [sink], []), 1.15),
        ("1,000,000 lines of progress / without a sink", lines(flood(PROGRESS), [sink], []), 1.15),
        ("the same, failing / without a sink", lines(flood(PROGRESS, 1), [sink], []), None),
        (
            "beside a sink that reads texts / that one alone",
            lines(flood(WORDS), [texts, sink], [texts]),
            1.15,
        ),
        ("a trivial child, in a transaction / without a sink", children(40, [sink]), 1.1),
    ]
    print(
        f"Python {platform.python_version()}, sentry-sdk {sentry_sdk.VERSION}, {os.cpu_count()} CPUs; {rounds} rounds"
    )
    missed = any([measured(*row, rounds) for row in rows])
    init(disabled_integrations=[StdlibIntegration])
    measured("the same, StdlibIntegration switched off", children(40, [sink]), None, rounds)
    sys.exit(missed)


def measured(name, contenders, bound, rounds):
    """Print a row; return whether its bound is missed."""
    low, median, high = statistics.quantiles(ratios(*contenders, rounds), n=4)
    missed = bound is not None and median > bound
    verdict = "" if bound is None else f"at most {bound}: {'MISSED' if missed else 'kept'}"
    print(f"{name:52} {median:.3f} ({low:.3f} to {high:.3f})  {verdict}", flush=True)
    return missed


if __name__ == "__main__":
    main()
