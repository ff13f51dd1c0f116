"""Make the calls of a table with the original or with ours, and write down what comes back.

python tests/dropin/caller.py TABLE original|ours RESULTS
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases  # noqa: E402

ATTRIBUTES = (
    "cmd",
    "returncode",
    "output",
    "stdout",
    "stderr",
    "timeout",
    "errno",
    "strerror",
    "filename",
    "filename2",
)
MARK = "=====case:%s=====\n"


def original(table):
    if table == "ASYNC":
        return lambda case: asyncio.run(call(case, asyncio.create_subprocess_exec))
    function = subprocess.Popen if table == "POPEN" else subprocess.run
    return lambda case: case(function)


def ours(table):
    import subwatch
    from subwatch import aio

    logging.getLogger("subwatch").addHandler(
        logging.StreamHandler()
    )  # a complaint would show as a difference
    subwatch.configure(sinks=[lambda record: None])
    if table == "ASYNC":
        return lambda case: asyncio.run(call(case, aio.create_subprocess_exec))
    if table == "AIO":
        return lambda case: case(lambda *args, **kwargs: asyncio.run(aio.run(*args, **kwargs)))
    if table == "POPEN":
        subwatch.Popen(["true"]).wait()  # makes what one process needs once
        return lambda case: case(subwatch.Popen)
    return lambda case: case(subwatch.run)


async def call(case, function):
    return await case(function)


def text(value):
    """Text of an output: TimeoutExpired holds text where the original holds bytes (documented)."""
    return value.decode() if isinstance(value, bytes) else value


def describe(value):
    if isinstance(value, BaseException):
        fields = {name: getattr(value, name) for name in ATTRIBUTES if hasattr(value, name)}
        if isinstance(value, subprocess.TimeoutExpired):
            fields = {name: text(field) for name, field in fields.items()}
        arguments = value.args
        if isinstance(value, UnicodeError):
            arguments = arguments[:1]
        return f"{type(value).__module__}.{type(value).__qualname__}{arguments!r} {str(value)!r} {fields!r}"
    return f"{type(value).__name__} {value!r}"


def open_fds():
    return len(os.listdir("/proc/self/fd"))


def settled(before):
    """How many descriptors a case has left open, once threads had time to end."""
    deadline = time.monotonic() + 3
    while open_fds() != before and time.monotonic() < deadline:
        time.sleep(0.005)
    return open_fds() - before


def main():
    table, who, results = sys.argv[1:]
    invoke = {"original": original, "ours": ours}[who](table)
    home = os.getcwd()
    told = {}
    warnings.simplefilter("ignore", ResourceWarning)
    for name, case in getattr(cases, "RUN" if table == "AIO" else table).items():
        place = Path(home, name.replace("/", "-"))
        place.mkdir()
        os.chdir(place)
        for fd in (1, 2):
            os.write(fd, (MARK % name).encode())
        before = open_fds()
        try:
            value = invoke(case)
        except Exception as error:
            value = error
        seen = describe(value).replace(str(place), "$PLACE")
        # a plain wait() tells the time that was left, not the timeout
        seen = re.sub(r"-?\d+\.\d{6,}(e-\d+)?", lambda number: f"{float(number[0]):.1g}", seen)
        seen = re.sub(r"-?\b(\de-\d+|0)(?=[ ,)}])", "0", seen)
        trace = "".join(traceback.format_exception(value)) if isinstance(value, Exception) else ""
        value = None
        told[name] = {"seen": seen, "trace": trace, "left": settled(before)}
        os.chdir(home)
    Path(results).write_text(json.dumps(told))


main()
