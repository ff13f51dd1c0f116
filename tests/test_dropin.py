"""The same calls with the original and with ours: same results, same exceptions, same bytes on the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import subwatch

HERE = Path(__file__).parent / "dropin"
MARK = b"=====case:"
PLACES = ("terminal", "pipes")


def names(table):
    """The names of a table's cases; read in a child, since importing them here would name two modules alike."""
    code = f"import json, cases; print(json.dumps(list(cases.{table})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


TABLES = {"RUN": names("RUN"), "POPEN": names("POPEN"), "ASYNC": names("ASYNC")}
TABLES["AIO"] = TABLES["RUN"]


def read_all(fd, chunks):
    try:
        while data := os.read(fd, 65536):
            chunks.append(data)
    except OSError:  # EIO: the terminal's other side is closed
        pass
    os.close(fd)


def call_all(table, who, place, home):
    """Run a table in a child interpreter on a terminal or on pipes; return outcomes and what arrived."""
    home.mkdir(parents=True)
    results = home.parent / f"{home.name}.json"
    env = {**os.environ, "PYTHONPATH": str(Path(subwatch.__file__).parents[1]), "LC_ALL": "C.UTF-8"}
    pairs = [pty.openpty()] if place == "terminal" else [os.pipe(), os.pipe()]
    if place == "terminal":
        termios.tcsetwinsize(pairs[0][1], (33, 111))
    arrived = [[] for _ in pairs]
    threads = [threading.Thread(target=read_all, args=(pair[0], into)) for pair, into in zip(pairs, arrived)]
    for thread in threads:
        thread.start()
    out, err = pairs[0][1], pairs[-1][1]
    command = [sys.executable, str(HERE / "caller.py"), table, who, str(results)]
    stdin = out if place == "terminal" else subprocess.DEVNULL
    try:
        code = subprocess.run(
            command, cwd=home, env=env, stdin=stdin, stdout=out, stderr=err, timeout=180, check=False
        ).returncode
    finally:
        for fd in {out, err}:
            os.close(fd)
    for thread in threads:
        thread.join(30)
    streams = [split(b"".join(chunks)) for chunks in arrived]
    assert code == 0, streams
    return json.loads(results.read_text()), streams


def split(data):
    """What arrived, by case."""
    parts = {}
    for part in data.replace(b"\r\n", b"\n").split(MARK)[1:]:
        name, _, rest = part.partition(b"=====\n")
        parts[name.decode()] = parts.get(name.decode(), b"") + rest
    return parts


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Theirs and ours by table and place; made when first asked for, side by side."""
    home, made = tmp_path_factory.mktemp("dropin"), {}
    with ThreadPoolExecutor(2) as pool:

        def make(table, who, place):
            key = (table, who, place)
            if key not in made:
                made[key] = pool.submit(call_all, *key, home / "-".join(key))
            return made[key]

        def get(table, place):
            theirs = make("RUN" if table == "AIO" else table, "original", place)
            ours = make(table, "ours", place)
            return theirs.result(), ours.result()

        yield get


@pytest.mark.shared_children
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table, names in TABLES.items() for name in names]
)
def test_same(outcomes, table, name, place):
    (theirs, their_streams), (ours, our_streams) = outcomes(table, place)
    assert ours[name]["seen"] == theirs[name]["seen"], ours[name]["trace"]
    assert ours[name]["left"] <= theirs[name]["left"], "descriptors left open"
    for mine, original in zip(our_streams, their_streams, strict=True):
        assert sorted(mine[name].splitlines(True)) == sorted(original[name].splitlines(True))
