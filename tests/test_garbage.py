"""A run leaves nothing to the garbage collector: all of it goes when its last user lets go.

A cycle anywhere would keep some fifty objects of each run until the next collection, which costs an application with
much in memory more than the run itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys

import pytest

import subwatch

CHATTY = [
    sys.executable,
    "-c",
    "import sys; print('out'); sys.stderr.write('a\\nb: 10%\\r20%\\nERROR: c\\n'); sys.exit(3)",
]


def popen(**options):
    with subwatch.Popen(CHATTY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, **options) as child:
        child.stderr.read()


def followed(**options):
    subwatch.Popen(CHATTY, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options).wait()


def run(**options):
    subwatch.run(CHATTY, **options)


def failing(**options):
    with contextlib.suppress(subprocess.CalledProcessError):
        subwatch.run(CHATTY, check=True, capture_output=True, text=True, **options)


def missing(**options):
    with contextlib.suppress(FileNotFoundError):
        subwatch.run(["/nonexistent"], **options)


def timeout(**options):
    with contextlib.suppress(subprocess.TimeoutExpired):
        subwatch.run(["sleep", "9"], timeout=0.05, stderr=subprocess.DEVNULL, **options)


async def aio(**options):
    await subwatch.aio.run(CHATTY, capture_output=True, input=b"x", **options)


async def aio_process(**options):
    child = await subwatch.aio.create_subprocess_exec(*CHATTY, stdout=-3, stderr=subprocess.PIPE, **options)
    await child.communicate()


WAYS = {
    "run": lambda **options: run(stdout=-3, stderr=-3, **options),
    "capture": lambda **options: run(capture_output=True, text=True, **options),
    "input": lambda **options: run(input=b"x", stdout=-3, stderr=-3, **options),
    "both": lambda **options: run(capture_output=True, watch_stdout=True, **options),
    "failing": failing,
    "missing": missing,
    "timeout": timeout,
    "popen": popen,
    "followed": followed,
    "aio": aio,
    "aio_process": aio_process,
}


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


@pytest.mark.parametrize(
    "sinks", [[], ["logging"], [print], [lambda record: None]], ids=["none", "logging", "print", "call"]
)
@pytest.mark.parametrize("way", WAYS)
def test_a_run_leaves_no_garbage(way, sinks, loop):
    def once():
        made = WAYS[way](sinks=sinks)
        if made is not None:
            loop.run_until_complete(made)

    gc.freeze()  # what all the other tests have made: looking through it takes longer than all of this
    once()  # caches and late imports
    loop.run_until_complete(asyncio.sleep(0.05))
    gc.collect()
    gc.disable()
    try:
        once()
        loop.run_until_complete(asyncio.sleep(0.05))  # what the loop and threads still hold
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [
            type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("subwatch")
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    assert left == []
