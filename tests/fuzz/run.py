"""Fuzzes all properties, guided by coverage: ``tox run -e fuzz -- --seconds 600 [NAME...]``.

Each property of Hypothesis takes a buffer of bytes as its source of randomness; atheris (libFuzzer) finds buffers that
reach new code. A failure is kept in Hypothesis' database, so that pytest shows it at once, made small; once it is
understood it becomes an ``@example`` of its property. What libFuzzer finds of interest is kept in ``.hypothesis/fuzz``
for the next time.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import random
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Where properties are: those of this folder first, then what else the core and the integrations have.
PLACES = ("tests/fuzz", "tests", "integrations/*/tests")
#: Most bytes of a buffer: what Hypothesis itself takes for one example.
LARGEST = 8192


def takes_more(function, given):
    """Whether a property has parameters that Hypothesis does not fill: fixtures of pytest, or its parameters."""
    return len(function.args.args) > len(given.args) + len(given.keywords)


def properties():
    """Names of all properties, as FILE::NAME; those that pytest gives something to are left out."""
    found = []
    for place in PLACES:
        for path in sorted(ROOT.glob(f"{place}/test_*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                for mark in getattr(node, "decorator_list", ()):
                    if ast.unparse(mark).startswith("given(") and not takes_more(node, mark):
                        found.append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def sow(corpus):
    """Fill a corpus that is empty: grown from nothing, buffers are too short for most examples for a long time."""
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        source = random.Random(0)
        for number in range(64):
            (corpus / f"seed{number}").write_bytes(source.randbytes(32 << number % 7))


def fuzz(name, seconds):
    """Fuzz one property in this process; ends it."""
    import atheris

    with atheris.instrument_imports(include=["subwatch", "subwatch_loki", "subwatch_opentelemetry"]):
        path, _, function = name.partition("::")
        spec = importlib.util.spec_from_file_location("properties", ROOT / path)
        module = sys.modules["properties"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        one_input = getattr(module, function).hypothesis.fuzz_one_input
        corpus = ROOT / ".hypothesis/fuzz" / Path(path).stem / function
        sow(corpus)
        options = [
            f"-max_len={LARGEST}",
            "-len_control=0",  # otherwise buffers stay below 50 bytes, which is not even a line
            f"-max_total_time={seconds}",
            "-rss_limit_mb=2048",
            "-timeout=60",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}-", str(corpus)], one_input)
        atheris.Fuzz()


def fuzzed(name, seconds):
    """Fuzz one property in a process of its own; return whether it held, and what is to be said."""
    begun = time.monotonic()
    command = [sys.executable, __file__, "--one", name, "--seconds", str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        ending = threading.Timer(seconds * 2 + 120, child.kill)  # where libFuzzer's own limit does not help
        ending.start()
        last = deque(child.stdout, 100)
        ending.cancel()
    said = [line.rstrip() for line in last if not line.startswith("INFO: Instrumenting")]
    if child.returncode == 0:
        said = [line for line in said if " cov: " in line][-1:]
    return child.returncode == 0, "\n".join([*said, f"({time.monotonic() - begun:.0f} s)"])


def main():
    """Fuzz all properties, or those named, for so many seconds in all, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="part of the name of a property; all by default"
    )
    parser.add_argument("--seconds", type=int, default=300, help="for all of them together (default 300)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.seconds)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is needed: pip install atheris (Linux, CPython)", file=sys.stderr)
        return 1
    chosen = [
        name for name in properties() if not arguments.names or any(part in name for part in arguments.names)
    ]
    failed = []
    for name in chosen:
        seconds = max(1, arguments.seconds // len(chosen))
        print(f"== {name}: {seconds} s", flush=True)
        held, report = fuzzed(name, seconds)
        print(report, flush=True)
        if not held:
            failed.append(name)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} properties held", *failed, sep="\n")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
