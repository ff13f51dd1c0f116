"""One contender of a benchmark, run in a process of its own: prints its figures as JSON.

python cases.py CASE CHILD [ARGUMENT...]
"""

import asyncio
import json
import logging
import os
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(__file__))

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


class Measure:
    """User and system CPU time of this process, wall time and peak memory, of what is inside ``with``."""

    def __enter__(self):
        self.before = resource.getrusage(resource.RUSAGE_SELF)
        self.start = time.perf_counter()
        return self

    def __exit__(self, *exc):
        wall = time.perf_counter() - self.start
        after = resource.getrusage(resource.RUSAGE_SELF)
        before = self.before
        self.figures = {
            "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            "wall": wall,
            "rss": after.ru_maxrss / 1024,
        }


def measured(function, **more):
    with Measure() as measure:
        more.update(function() or {})
    return measure.figures | more


class Texts:
    """A sink that takes batches and reads the texts."""

    def __init__(self):
        self.lines = 0

    def open(self, run):
        return self

    def emit(self, records):
        if type(records).__name__ == "Lines":
            self.lines += len(records.texts)

    def close(self, timeout=0):
        pass


class Reads(Texts):
    """A sink that reads texts, levels and progress."""

    def emit(self, records):
        if type(records).__name__ == "Lines":
            self.lines += len(records.texts)
            records.levels, records.progress, records.fields  # noqa: B018


def warm():
    import subwatch

    subwatch.run(["true"], sinks=[Texts()], capture_output=True)


def with_sink(sink, child, capture=True):
    import subwatch

    warm()

    def go():
        target = {"capture_output": True} if capture else {"stderr": subprocess.DEVNULL}
        subwatch.run(child, sinks=[] if sink is None else [sink], **target)
        return {"lines": getattr(sink, "lines", None)}

    return measured(go)


# -- throughput ------------------------------------------------------------------------------------------


@case
def std_capture(child):
    return measured(lambda: subprocess.run(child, capture_output=True) and None)


@case
def run_texts(child):
    return with_sink(Texts(), child)


@case
def run_meaning(child):
    return with_sink(Reads(), child)


@case
def run_nobody(child):
    return with_sink(None, child)


@case
def run_uncaptured(child):
    return with_sink(Texts(), child, capture=False)


@case
def run_logging_off(child):
    import subwatch

    logging.basicConfig(level=logging.ERROR)
    subwatch.run(
        ["true"], sinks=["logging"], capture_output=True
    )  # what importing costs has a row of its own
    return measured(lambda: subwatch.run(child, sinks=["logging"], capture_output=True) and None)


@case
def run_callable(child):
    return with_sink(lambda record: None, child)


@case
def run_logging(child):
    import article
    import subwatch

    sink = subwatch.sink("logging", logger=article.nop_logger())
    warm()
    return measured(lambda: subwatch.run(child, sinks=[sink], capture_output=True) and None)


def on_loop(make, uvloop=False):
    """Run a coroutine on a loop; what it returns is dropped inside (asyncio.run would repr() it)."""

    async def boxed():
        await make()

    if uvloop:
        import uvloop as uv

        return uv.run(boxed())
    return asyncio.run(boxed())


@case
def article_empty(child):
    import article

    return measured(lambda: on_loop(lambda: article.article(child)))


@case
def article_logging(child):
    import article

    on_line = article.log_line(article.nop_logger(), "child")
    return measured(lambda: on_loop(lambda: article.article(child, on_line)))


def _aio_texts(child, uvloop):
    from subwatch import aio

    warm()
    return measured(lambda: on_loop(lambda: aio.run(child, sinks=[Texts()], capture_output=True), uvloop))


@case
def aio_texts(child):
    return _aio_texts(child, False)


@case
def aio_texts_uvloop(child):
    return _aio_texts(child, True)


# -- latency: microseconds from the child's own stamp to the consumer ---------------------------------------


def quantiles(delays):
    delays = sorted(delays)
    return {"p50": delays[len(delays) // 2] / 1000, "p99": delays[len(delays) * 99 // 100] / 1000}


class Stamps(Texts):
    def __init__(self):
        self.delays = []

    def emit(self, records):
        if type(records).__name__ == "Lines":
            now = time.time_ns()
            self.delays.extend(now - int(text) for text in records.texts)


@case
def latency_run(child):
    sink = Stamps()
    figures = with_sink(sink, child)
    return figures | quantiles(sink.delays)


@case
def latency_aio(child):
    from subwatch import aio

    warm()
    sink = Stamps()
    figures = measured(lambda: on_loop(lambda: aio.run(child, sinks=[sink], capture_output=True)))
    return figures | quantiles(sink.delays)


@case
def latency_article(child):
    import article

    delays = []
    on_line = lambda line: delays.append(time.time_ns() - int(line))
    figures = measured(lambda: on_loop(lambda: article.article(child, on_line)))
    return figures | quantiles(delays)


# -- start-up ------------------------------------------------------------------------------------------------


def repeat(function, times=200):
    function()
    return measured(lambda: [function() for _ in range(times)] and None)


@case
def start_std(child):
    return repeat(lambda: subprocess.run(["true"], capture_output=True))


@case
def start_run(child):
    import subwatch

    return repeat(lambda: subwatch.run(["true"], capture_output=True))


WORDS = "true --host db.example.com --port 5432 -D /var/lib/backup --checkpoint=fast --verbose".split()


@case
def start_std_words(child):
    return repeat(lambda: subprocess.run(WORDS, capture_output=True))


@case
def start_run_words(child):
    import subwatch

    return repeat(lambda: subwatch.run(WORDS, capture_output=True))


def repeat_async(make, times=200):
    async def many():
        await make()
        return [await make() for _ in range(times)] and None

    return measured(lambda: on_loop(many))


@case
def start_aio(child):
    from subwatch import aio

    return repeat_async(lambda: aio.run(["true"], capture_output=True))


@case
def start_article(child):
    import article

    return repeat_async(lambda: article.article(["true"]))


@case
def import_subprocess(child):
    return measured(lambda: __import__("subprocess") and None)


@case
def import_subwatch(child):
    return measured(lambda: __import__("subwatch") and None)


# -- many at once ----------------------------------------------------------------------------------------------


def many(make, count):
    most = 0

    async def all_of_them():
        nonlocal most
        tasks = [asyncio.ensure_future(make()) for _ in range(count)]
        while not all(task.done() for task in tasks):
            most = max(most, threading.active_count())
            await asyncio.sleep(0.05)
        for task in tasks:
            task.result()

    figures = measured(lambda: on_loop(all_of_them))
    return figures | {"threads": most}


@case
def thousand_aio(child):
    from subwatch import aio

    sinks = []

    async def one():
        sink = Texts()
        sinks.append(sink)
        await aio.run(child, sinks=[sink], capture_output=True)

    warm()
    figures = many(one, 1000)
    assert sum(sink.lines for sink in sinks) == 200_000, "lines were lost"
    return figures


@case
def thousand_article(child):
    import article

    count = 0

    def on_line(line):
        nonlocal count
        count += 1

    figures = many(lambda: article.article(child, on_line), 1000)
    assert count == 200_000, "lines were lost"
    return figures


if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](sys.argv[2:])))
