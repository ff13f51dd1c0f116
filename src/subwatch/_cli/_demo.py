"""``subwatch demo``: real programs of Python's standard library, several at once, one of which fails."""

from __future__ import annotations

import os
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory
from typing import Any

from .. import _plugins
from .._popen import Popen
from .._watch import Watch
from ..errors import SubwatchError
from ..records import Exit, Line, Start
from ..sinks import plain as harmless
from ._say import say

__all__ = ["demo"]

# Hashes the standard library, and says how far it is in the way of pg_basebackup.
_CHECKSUM = """
import hashlib, os, sys, time
from pathlib import Path
files = sorted(Path(os.__file__).parent.glob("*.py"))
total, done = sum(f.stat().st_size for f in files), 0
digest = hashlib.sha256()
print(f"hashing {len(files)} modules of the standard library", file=sys.stderr)
for file in files:
    digest.update(file.read_bytes())
    done += file.stat().st_size
    progress = f"{done // 1024}/{total // 1024} kB ({100 * done // total}%)"
    print(progress, end="\\r", file=sys.stderr, flush=True)
    time.sleep(4 / len(files))
print(f"\\nsha256 {digest.hexdigest()[:16]}", file=sys.stderr)
"""

_CLIENT = """
import sys, time, urllib.error, urllib.request
url = sys.argv[1]
for name in ("", "notes.txt", "", "nowhere.txt", "notes.txt", "bye"):
    for attempt in range(50):
        try:
            size = len(urllib.request.urlopen(f"{url}/{name}").read())
            print(f"got {size} bytes of /{name}", file=sys.stderr)
        except urllib.error.HTTPError as error:
            print("warning:", error, "for", f"/{name}", file=sys.stderr)
        except OSError:  # the server is not up yet, or gone
            time.sleep(0.1)
            if name != "bye":
                continue
        break
    time.sleep(0.5)
"""

_TESTS = """
import time, unittest
class Arithmetic(unittest.TestCase):
    def setUp(self): time.sleep(0.7)
    def test_addition(self): self.assertEqual(1 + 1, 2)
    def test_division(self): self.assertEqual(7 // 2, 3)
    def test_floats(self): self.assertEqual(0.1 + 0.2, 0.3)
    def test_powers(self): self.assertEqual(2 ** 10, 1024)
"""


def demo(*, plain: bool) -> int:
    """Run the show; return the exit status: 0, whatever the children do."""
    sink, how = _choose(plain)
    ended: list[Exit] = []
    with TemporaryDirectory(prefix="subwatch-demo-") as folder:
        commands = _commands(Path(folder))
        print(f"{len(commands)} programs of the standard library, watched at once by {how}:\n", flush=True)
        keep = lambda record: ended.append(record) if isinstance(record, Exit) else None  # noqa: E731
        watch = Watch(sinks=[sink, keep], tree=True)  # a Ctrl-C is for us
        silent: dict[str, Any] = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": DEVNULL, "cwd": folder}
        # one waits for each: who waits gets the CPU time and memory for the record
        with ThreadPoolExecutor(len(commands)) as pool:
            running = [watch.Popen(argv, **silent, **options) for argv, options in commands]
            try:
                list(pool.map(Popen.wait, running))
            finally:
                for process in running:
                    process.terminate()
        watch.close()
    _sum_up(ended, with_tail=isinstance(sink, _Plain))  # another sink has shown them
    return 0


def _choose(plain: bool) -> tuple[Any, str]:
    if not plain and sys.stdout.isatty():
        try:
            return _plugins.build("rich")[0], "the sink 'rich'"
        except SubwatchError as error:
            say(str(error).partition(";")[0])
    return _Plain(), "a function of one record"


class _Plain:
    """Prints records, one a line; of progress updates one a second."""

    __name__ = "plain"

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._shown: dict[str, float] = {}
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def __call__(self, record: Start | Line | Exit) -> None:
        now = time.monotonic() - self._begin
        name = record.run.program
        if isinstance(record, Line):
            if record.ending == "\r":
                if now - self._shown.get(name, 0) < 1:
                    return
                self._shown[name] = now
            text = harmless(record.text)
        elif isinstance(record, Exit):
            text = f"{record.outcome} after {record.duration:.3g} s"
        else:
            text = f"started with pid {record.pid}"
        shown = f"{name:8}"
        if self._coloured:
            colour = 31 if isinstance(record, Exit) and record.failed else 32 + sum(name.encode()) % 5
            shown = f"\x1b[{colour}m{shown}\x1b[0m"
        print(f"{now:5.2f} s  {shown}  {text}", flush=True)


def _commands(folder: Path) -> list[tuple[list[str], dict[str, Any]]]:
    """The programs: this Python under a name that tells what it does."""
    names = "checksum", "server", "client", "tests"
    for name in names:
        (folder / name).symlink_to(sys.executable)
    checksum, server, client, tests = (str(folder / name) for name in names)
    (folder / "notes.txt").write_text("subwatch was here\n")
    (folder / "test_arithmetic.py").write_text(_TESTS)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    return [
        ([checksum, "-I", "-c", _CHECKSUM], {}),
        ([server, "-u", "-m", "http.server", "--bind", "127.0.0.1", port], {"stop_on": "GET /bye"}),
        ([client, "-I", "-c", _CLIENT, f"http://127.0.0.1:{port}"], {}),
        ([tests, "-B", "-m", "unittest", "-v", "test_arithmetic"], {}),
    ]


def _sum_up(ended: list[Exit], *, with_tail: bool) -> None:
    print("\nWhat the exit records hold:")
    for end in ended:
        mark = "FAILED" if end.failed else "ok"
        memory = f", {end.usage.max_rss / 2**20:.0f} MiB" if end.usage else ""
        how = f"{end.outcome.partition(' and ')[0]} after {end.duration:.3g} s"
        print(f"  {mark:6}  {end.run.program} {how}, {sum(end.lines.values())} lines{memory}")
    for end in ended:
        if end.failed and with_tail:
            print(f"\nand its last lines tell why {end.run.program} failed:")
            for line in end.tail[-8:]:
                print(f"  | {harmless(line.text)}")
    print(_OUTRO, end="")


_OUTRO = """
The same for your own commands, with records where you look:

  subwatch run --json run.jsonl -- COMMAND       as JSON lines
  subwatch run --log run.log -- COMMAND          in a log with times and levels
  subwatch run --sink loki:url=... -- COMMAND    in Grafana Loki
  subwatch sinks                                 what else there is

and in Python, in place of subprocess.run:

  import subwatch
  subwatch.run(["pg_basebackup", "-D", "backup"], check=True, sinks=["logging"])
"""
