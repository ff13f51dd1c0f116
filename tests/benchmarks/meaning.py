"""What it costs to read levels, progress and fields off lines of many shapes: CPU ns per line.

    python tests/benchmarks/meaning.py [--rounds N]

Everything takes turns within one process and the best of all rounds counts; `split` is ``str.split("\\n")`` of the
same text, a unit that makes machines comparable. `levels`, `progress` and `fields` come on top of `texts`. The last rows are batches of one
line, as they come when a program redraws its progress.
"""

import argparse
import random
import time

from subwatch.processors import Pipeline, Redactor
from subwatch.records import Lines, Run

WORDS = (
    "copying base file to the target directory from source segment block relation index table vacuum sync wrote"
    " read page checksum Done next step"
).split()
STAMP = "2026-11-22 15:09:{s:02d}"
KINDS = {
    "prose": "{words}",
    "path": "/var/lib/postgresql/15/main/base/16384/{i} -> /backup/base/16384/{i} {words}",
    "indented": "    at {i} {words}",
    "figures": "{i} files copied, {i}/99999 kB {words}",
    "program": "pg_tool: reading {words}",
    "time": STAMP + ".{ms:03d} {words}",
    "time, program": STAMP + " pg_tool[4711]: info: {words}",
    "PostgreSQL": STAMP + ".{ms:03d} UTC [{pid}] LOG:  {words}",
    "log4j": STAMP + ",{ms:03d} [main-{s}] INFO  org.app.Main - {words}",
    "Python": STAMP + ",{ms:03d} - app.db - {level} - {words}",
    "[time] level": "[" + STAMP + "] INFO app: {words}",
    "level:name:": "INFO:app.db:{words}",
    "[level]": "[INFO] {words}",
}
ONE = {"a line": STAMP + " INFO app: x", "an update": "714149/1808798 kB (39%), 0/1 tablespace (base/1)"}
RUN = Run(id="0", argv=("prog",), program="prog", cwd="/", host="h", tags={}, caller=None, parent_pid=1)
COLUMNS = ("levels", "progress", "fields")


def make(kind, i):
    words = " ".join(random.choice(WORDS) for _ in range(16))
    level = random.choice(("INFO", "INFO", "DEBUG", "WARNING"))
    return kind.format(i=i, s=i % 60, ms=i % 1000, pid=4000 + i % 20, level=level, words=words)[:79]


def contenders(block):
    """What is measured, by name; each begins with lines that nobody has looked at."""
    pipeline = Pipeline(Redactor(), program="prog")

    def read(*columns):
        lines = Lines(RUN, "stderr", 1, 0, False, pipeline, block)
        for column in ("texts", *columns):
            getattr(lines, column)

    text = block.decode()
    yield "split", lambda: text.split("\n")
    yield "texts", read
    for column in COLUMNS:
        yield column, lambda column=column: read(column)
    yield "all", lambda: read(*COLUMNS)


def best(functions, rounds):
    found = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for key, function in functions.items():
            start = time.thread_time_ns()
            function()
            found[key] = min(found[key], time.thread_time_ns() - start)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="turns of each (default 100)")
    random.seed(1)
    functions, counts = {}, {}
    for name, kind in (KINDS | ONE).items():
        counts[name] = count = 1 if name in ONE else 800
        block = "".join(
            make(kind, i) + ("\r" if name == "an update" else "\n") for i in range(count)
        ).encode()
        for column, function in contenders(block):
            functions[name, column] = function
    found = best(functions, parser.parse_args().rounds)
    print(f"{'ns a line':16}" + "".join(f"{column:>9}" for column in ("split", "texts", *COLUMNS, "all")))
    for name, count in counts.items():
        texts = found[name, "texts"]
        more = [found[name, column] - texts for column in COLUMNS]
        row = [found[name, "split"], texts, *more, found[name, "all"]]
        print(f"{name:16}" + "".join(f"{value / count:9.0f}" for value in row))


if __name__ == "__main__":
    main()
