"""Runs the benchmarks and prints their table; ``--readme`` also puts it into README.md.

    python tests/benchmarks/bench.py [--rounds N] [--only TEXT] [--readme]

Every contender runs in a fresh process. A ratio pairs two that ran one right after the other, and the median
of the ratios of all rounds counts: what a machine's other load does to one it does to both. CPU is user plus
system time of the watching process; the child is compiled (child.c), its lines are 80 bytes of words.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
README = HERE.parent.parent / "README.md"

MILLION = ["lines", "1000000"]
LOG = ["log", "1000000"]
# what, figure, ours, theirs, arguments of the child (ours, theirs), at most, aim
ROWS = [
    ("captured, a sink reads all texts", "cpu", "run_texts", "std_capture", MILLION, MILLION, 1.6, 1.3),
    ("the same, lines with time, program and level", "cpu", "run_texts", "std_capture", LOG, LOG, 1.6, 1.3),
    ("levels, progress and fields read, too", "cpu", "run_meaning", "run_texts", MILLION, MILLION, 1.35, 1.2),
    ("the same, lines with time, program and level", "cpu", "run_meaning", "run_texts", LOG, LOG, 1.35, 1.2),
    ("captured, nobody reads (no sink)", "cpu", "run_nobody", "std_capture", MILLION, MILLION, 0.9, 0.51),
    ("captured, logging level off", "cpu", "run_logging_off", "std_capture", MILLION, MILLION, 0.9, 0.51),
    ("peak memory of a capture", "rss", "run_texts", "std_capture", MILLION, MILLION, 0.7, 0.57),
    ("peak memory without capture, 1,000,000 / 50,000 lines", "rss", "run_uncaptured", "run_uncaptured", MILLION,
     ["lines", "50000"], 1.05, 1.0),
    ("one record object per line", "cpu", "run_callable", "article_empty", MILLION, MILLION, 0.45, 0.35),
    ("asyncio, a sink reads all texts", "cpu", "aio_texts", "article_empty", MILLION, MILLION, 0.22, 0.13),
    ("asyncio under uvloop / asyncio", "cpu", "aio_texts_uvloop", "aio_texts", MILLION, MILLION, 1.1, 1.0),
    ("one write per line", "cpu", "run_texts", "std_capture", ["writes", "500000"], ["writes", "500000"], 0.7, 0.5),
    ("logging into a handler that does nothing", "cpu", "run_logging", "article_logging", ["lines", "100000"],
     ["lines", "100000"], 0.45, 0.3),
    ("delay of a line, one every 2 ms, p50", "p50", "latency_run", "latency_article", ["paced", "500", "2000"],
     ["paced", "500", "2000"], 0.55, 0.5),
    ("the same on asyncio", "p50", "latency_aio", "latency_article", ["paced", "500", "2000"],
     ["paced", "500", "2000"], 0.85, 0.75),
    ('run(["true"]), CPU', "cpu", "start_run", "start_std", [], [], 1.4, 1.0),
    ('run(["true", ...]) with eight arguments, CPU', "cpu", "start_run_words", "start_std_words", [], [], 1.4, 1.0),
    ('run(["true"]), wall', "wall", "start_run", "start_std", [], [], 1.1, 1.0),
    ('asyncio run(["true"])', "cpu", "start_aio", "start_article", [], [], 0.6, 0.45),
    ("1,000 children at once on asyncio", "cpu", "thousand_aio", "thousand_article", ["spread", "200", "1000"],
     ["spread", "200", "1000"], 0.6, 0.42),
    ("CPU per line, 1,000,000 / 50,000 lines", "cpu/line", "run_texts", "run_texts", MILLION, ["lines", "50000"], 1.2, 1.0),
    ("CPU per byte, lines of 64 KiB, 64 MB / 8 MB", "cpu/line", "run_texts", "run_texts", ["long", "1000", "65536"],
     ["long", "125", "65536"], 1.2, 1.0),
    ("CPU per byte, one line, 80 MB / 10 MB", "cpu/byte", "run_texts", "run_texts", ["long", "1", "80000000"],
     ["long", "1", "10000000"], 1.2, 1.0),
    ("import subwatch above import subprocess, ms", "import", "import_subwatch", "import_subprocess", [], [], 10, 10),
]  # fmt: skip
PEERS = {
    "std_capture": "subprocess.run", "start_std": "subprocess.run",
    "start_std_words": "subprocess.run", "article_empty": "the article",
    "article_logging": "the article", "latency_article": "the article", "start_article": "the article",
    "thousand_article": "the article", "import_subprocess": "-",
}  # fmt: skip


def figures(name, child, arguments):
    command = [child, *arguments] if arguments else []
    options = ["-I"] if name.startswith("import_") else []
    done = subprocess.run(
        [sys.executable, *options, str(HERE / "cases.py"), name, *command], stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout)


def value(found, figure, arguments):
    if figure == "cpu/line":
        return found["cpu"] / int(arguments[1])
    if figure == "cpu/byte":
        return found["cpu"] / int(arguments[2])
    if figure == "import":
        return found["wall"] * 1000
    return found[figure]


def compare(row, child, rounds):
    _, figure, ours, theirs, our_args, their_args, *_ = row
    results = []
    for _ in range(rounds):
        b = value(figures(theirs, child, their_args), figure, their_args)
        a = value(figures(ours, child, our_args), figure, our_args)
        results.append(a - b if figure == "import" else a / b)
    return statistics.median(results), min(results), max(results)


def table(rows, child, rounds):
    yield "| what | beside | ratio (min to max) | at most | aim | |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        what, _, ours, theirs, *_, most, aim = row
        ratio, low, high = compare(row, child, rounds)
        verdict = "aim reached" if ratio <= aim else "kept" if ratio <= most else "**missed**"
        peer = PEERS.get(theirs, "itself" if ours == theirs else theirs)
        yield f"| {what} | {peer} | {ratio:.2f} ({low:.2f} to {high:.2f}) | {most} | {aim} | {verdict} |"


def machine():
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpu = model[1].strip() if model else platform.machine()
    return f"Python {platform.python_version()}, {platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} x {cpu}"


def write(lines, mark):
    """Put lines between two marks of the README."""
    start, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    before, rest = README.read_text().split(start)
    README.write_text(f"{before}{start}\n" + "\n".join(lines) + f"\n{end}{rest.split(end)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="pairs per row (default 5)")
    parser.add_argument("--only", default="", help="only rows whose name has this text")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    arguments = parser.parse_args()
    rows = [row for row in ROWS if arguments.only in row[0]]
    with tempfile.TemporaryDirectory() as folder:
        child = f"{folder}/child"
        subprocess.run(["cc", "-O2", "-o", child, str(HERE / "child.c")], check=True)
        lines = [f"{machine()}; median of {arguments.rounds} pairs.", ""]
        print(*lines, sep="\n", flush=True)
        for line in table(rows, child, arguments.rounds):
            print(line, flush=True)
            lines.append(line)
    if arguments.readme:
        write(lines, "benchmarks")


if __name__ == "__main__":
    main()
