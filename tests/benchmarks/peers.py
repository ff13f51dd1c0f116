"""Asks every peer the same questions, measures it, and prints the tables; ``--readme`` puts them into README.md.

    tox run -e peers -- [--lines N] [--rounds N] [--only TEXT] [--readme]

The peers are installed from PyPI in an environment of their own. A question is a small program that runs a real
child (questions.py); its answer is what happened, and why not is printed on stderr. A figure is CPU time as a multiple of
that of `subprocess` in the same round, the median of all rounds. A peer that would need too long gets fewer
lines, which the table then says.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from bench import HERE, machine, write
from questions import FIGURES, QUESTIONS
from wrappers import PEERS

LIMIT = 60  # seconds that one process may take
BUDGET = 10  # seconds of CPU that a figure may cost; who would need more gets a tenth of the lines
SIGNS = {True: "yes", False: "no", None: "-"}


def ask(peer, what, *arguments, limit=LIMIT):
    """Run one question or figure; return its answer, or why there is none as a string."""
    command = [sys.executable, str(HERE / "questions.py"), peer, what, *map(str, arguments)]
    quiet = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, **quiet) as proc:
        try:
            out, err = proc.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return f"took longer than {limit} s"
        finally:  # what peers leave running
            try:
                os.killpg(proc.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    last = err.decode(errors="replace").strip().splitlines() or [f"status {proc.returncode}"]
    return json.loads(out.splitlines()[-1]) if out else last[-1]


def twice(peer, question):
    """The answer to a question; one that is not yes is asked for again, since a busy machine is late."""
    return ask(peer, question, limit=20) is True or ask(peer, question, limit=20)


def answers(peers, only):
    """Yield the rows of the table of questions."""
    yield "| | " + " | ".join(peers) + " |"
    yield "|---|" + "---|" * len(peers)
    for name, function in QUESTIONS.items():
        if only not in name:
            continue
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda peer: twice(peer, name), peers))
        for peer, reply in zip(peers, found, strict=True):
            if reply is not True:
                print(f"{name}: {peer}: {reply}", file=sys.stderr, flush=True)
        signs = [SIGNS[None if reply is None else reply is True] for reply in found]
        yield f"| {function.__doc__} | " + " | ".join(signs) + " |"


def measure(peer, what, child, sizes):
    """The figures of the largest of these sizes that stays within the limit; returns (size, figures)."""
    best = None
    for size in sizes:
        found = ask(peer, what, child, size)
        if not isinstance(found, dict):
            print(f"{what} {size}: {peer}: {found}", file=sys.stderr, flush=True)
            break
        best = size, found
        if found["cpu"] * 12 > BUDGET:
            break
    return best


def cell(mine, base, key, full):
    """The median ratio of one figure; with the size, where that is not the full one."""
    pairs = [(size, found[key] / size) for size, found in filter(None, mine)]
    if not pairs or (key == "rss" and pairs[0][0] != full):
        return "-"
    plain = [found[key] / size for size, found in base]
    ratio = statistics.median(one / other for (_, one), other in zip(pairs, plain, strict=False))
    size = pairs[0][0]
    return f"{ratio:.3g}" + (f" ({size:,})" if size != full else "")


def figures(peers, child, lines, children, rounds, only):
    """Yield the rows of the table of figures."""
    steps = sorted({max(lines // 100, 1), max(lines // 10, 1), lines})
    plan = {"start": [100], "lines": steps, "capture": steps, "hundred": [children]}
    plan = {what: sizes for what, sizes in plan.items() if only in what}
    found = {(what, peer): [] for what in plan for peer in peers}
    for _ in range(rounds):
        for what, sizes in plan.items():
            for peer in peers:
                known = found[what, peer]
                again = [known[0][0]] if known and known[0] else sizes if not known else []
                known.append(measure(peer, what, child, again))
    titles = {
        "start": [("start and end of `true`", "cpu")],
        "lines": [(f"{lines:,} lines, each to a function", "cpu")],
        "capture": [(f"{lines:,} lines captured", "cpu"), ("peak memory of that", "rss")],
        "hundred": [(f"{children} children at once", "cpu"), ("how long they took", "wall")],
    }
    columns = [(title, what, key) for what in plan for title, key in titles[what]]
    yield "| | " + " | ".join(title for title, *_ in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for peer in peers:
        cells = [
            cell(found[what, peer], found[what, "subprocess"], key, plan[what][-1])
            for _, what, key in columns
        ]
        yield f"| {peer} | " + " | ".join(cells) + " |"


def versions(peers):
    named = [(name, PEERS[name][0]) for name in peers]
    return ", ".join(f"{name} {metadata.version(dist)}" for name, dist in named if dist)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000, help="lines of stderr (default 1,000,000)")
    parser.add_argument("--children", type=int, default=100, help="children at once (default 100)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of figures (default 3)")
    parser.add_argument("--peers", default=",".join(PEERS), help="only these")
    parser.add_argument("--only", default="", help="only questions and figures whose name has this text")
    parser.add_argument("--readme", action="store_true", help="put the tables into README.md")
    arguments = parser.parse_args()
    peers = arguments.peers.split(",")
    unit = f"Figures: CPU time as a multiple of subprocess's, median of {arguments.rounds} rounds."
    lines = [f"{machine()}; {versions(peers)}. {unit}", ""]
    print(*lines, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        child = f"{folder}/child"
        subprocess.run(["cc", "-O2", "-o", child, str(HERE / "child.c")], check=True)
        tables = []
        if any(arguments.only in name for name in QUESTIONS):
            tables.append(answers(peers, arguments.only))
        if any(arguments.only in name for name in FIGURES):
            tables.append(
                figures(peers, child, arguments.lines, arguments.children, arguments.rounds, arguments.only)
            )
        for table in tables:
            for line in [*table, ""]:
                print(line, flush=True)
                lines.append(line)
    if arguments.readme:
        write(lines[:-1], "peers")


if __name__ == "__main__":
    main()
