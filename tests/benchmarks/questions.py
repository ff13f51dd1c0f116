"""One question or one figure about one peer, in a process of its own: prints the answer as JSON.

    python questions.py PEER QUESTION [ARGUMENT...]

A question is a function whose docstring is its row in the table. It is answered by what happens: true, false (a string
says why), or null where the peer has nothing that could be asked.
"""

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

sys.path.insert(0, os.path.dirname(__file__))
import wrappers
from wrappers import Cannot

QUESTIONS = {}
FIGURES = {}


def question(function):
    QUESTIONS[function.__name__] = function
    return function


def figure(function):
    FIGURES[function.__name__] = function
    return function


class Peer:
    """A peer under question."""

    def __init__(self, name):
        self.name = name
        self.distribution, self.run, self.run_async = wrappers.PEERS[name]
        self.run(["true"])  # what it imports and starts once is not asked about
        if self.run_async:
            asyncio.run(self.run_async(["true"]))

    def shell(self, script, **options):
        return self.run(["sh", "-c", script], **options)

    def live(self, script):
        """Run a script; return [(seconds since the start, line)], the result, and how long it took."""
        seen = []

        def on_line(line):  # returns nothing: for some peers, a true value ends the lines
            seen.append((time.monotonic() - start, text(line)))

        start = time.monotonic()
        got = self.shell(script, on_line=on_line)
        return seen, got, time.monotonic() - start

    def failure(self, script, *arguments, **options):
        """The exception of a call that fails; None where it raises none."""
        try:
            self.run(["sh", "-c", script, "sh", *arguments], **options)
        except Cannot:
            raise
        except Exception as error:
            return error


def text(line):
    return line.decode(errors="replace") if isinstance(line, bytes) else str(line)


def raw(output):
    """Captured output as bytes; characters that stand for stray bytes become these again."""
    return output.encode("utf-8", "surrogateescape") if isinstance(output, str) else output


def arrived(seen, word):
    return next((moment for moment, line in seen if word in line), None)


def soon(seen, word, limit):
    moment = arrived(seen, word)
    return (moment is not None and moment < limit) or ("after %.1f s" % moment if moment else "never")


# -- live ----------------------------------------------------------------------------------------------------------


@question
def live(peer):
    """each line of stderr goes to a function while the command runs"""
    seen, _, _ = peer.live("echo first >&2; sleep 1; echo second >&2")
    return soon(seen, "first", 0.8)


@question
def pair(peer):
    """so does the second of two lines that come at once, before a silence"""
    seen, _, _ = peer.live(r"sleep 0.2; printf 'first\nsecond\n' >&2; sleep 1; echo third >&2")
    return soon(seen, "second", 1.0)


@question
def redrawn(peer):
    """so does progress that ends in `\\r`"""
    seen, _, _ = peer.live(r"printf '10%%\r' >&2; sleep 1; printf '100%%\r' >&2; echo >&2")
    return soon(seen, "10%", 0.8)


@question
def both(peer):
    """and the result has all of stderr too"""
    _, got, _ = peer.live("echo first >&2; sleep 0.3; echo second >&2")
    return raw(got.stderr) == b"first\nsecond\n" or repr(got.stderr)[:60]


@question
def stray(peer):
    """bytes that are no UTF-8 do no harm"""
    seen, _, _ = peer.live(r"printf 'a\377b\nlast\n' >&2; sleep 0.3; exit 0")
    return arrived(seen, "last") is not None or "the line after them did not come"


@question
def long(peer):
    """nor does a line of 1 MB"""
    seen, _, _ = peer.live("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; sleep 0.2")
    return arrived(seen, "last") is not None or "the line after it did not come"


@question
def raises(peer):
    """nor does a function that raises: the command runs to its end, and its result comes"""

    def on_line(line):
        raise LookupError("a bug in the function")

    with tempfile.TemporaryDirectory() as folder:
        got = peer.shell(f"echo x >&2; sleep 0.3; echo y >&2; sleep 0.3; touch {folder}/end", on_line=on_line)
        time.sleep(0.5)
        return (os.path.exists(f"{folder}/end") and got.returncode in (0, None)) or "it ended early"


# -- result --------------------------------------------------------------------------------------------------------


@question
def exact(peer):
    """captured output has the bytes that were written"""
    every = bytes(range(256)) + b"\r\nend"
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(every)
        got = peer.shell(f"cat {file.name}; cat {file.name} >&2")
    return (raw(got.stdout), raw(got.stderr)) == (every, every) or "changed"


@question
def status(peer):
    """a signal is told from an exit status: `kill -9` from `exit 137`"""

    def outcome(script):
        try:
            got = peer.shell(script)
        except Exception as error:
            return type(error).__name__, str(error)
        return got.returncode

    killed, left = outcome("kill -9 $$"), outcome("exit 137")
    return killed != left or f"both are {killed!r}"


@question
def missing(peer):
    """a program that does not exist is a `FileNotFoundError`"""
    try:
        got = peer.run(["/nonexistent/program"])
    except FileNotFoundError:
        return True
    except Exception as error:
        return type(error).__name__
    return repr(got)[:60]


def ended(pid):
    for _ in range(20):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@question
def limit(peer):
    """after a time limit there is an exception, and the command has ended"""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        try:
            got = peer.shell(f"echo $$ > {folder}/pid; exec sleep 6", timeout=0.5)
        except Cannot:
            return False
        except Exception:
            pass
        else:
            return f"no exception: {got.returncode}"
        took = time.monotonic() - start
        gone = ended(Path(f"{folder}/pid").read_text().strip())
        return (took < 3 and gone) or ("after %.1f s" % took if gone else "it runs on")


@question
def partial(peer):
    """that exception has the output so far"""
    error = peer.failure("printf 'so %s\\n' far >&2; exec sleep 3", timeout=1)
    if error is None:
        return None
    output = [getattr(error, name, "") for name in ("stdout", "stderr", "output", "result")]
    return "so far" in shown(error) + repr(output) or type(error).__name__


@question
def held(peer):
    """a grandchild that keeps the pipes does not hold the caller, and lives on"""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        got = peer.shell(f"sleep 6 & echo $! > {folder}/pid; echo said; exit 0")
        took = time.monotonic() - start
        lives = not ended(Path(f"{folder}/pid").read_text().strip()) if took < 5 else True
        return (took < 4 and lives and raw(got.stdout) == b"said\n") or "%.1f s" % took


# -- errors --------------------------------------------------------------------------------------------------------


def shown(error):
    return "".join(traceback.format_exception(error))


@question
def why(peer):
    """a traceback of a failed command shows its last lines, without the thousand before them"""
    error = peer.failure("seq 1000 >&2; printf 'disk %s\\n' full >&2; exit 3", check=True)
    return (
        None
        if error is None
        else "disk full" in shown(error) and not re.search(r"(?<!\d)500(?!\d)", shown(error))
    )


@question
def secret(peer):
    """and no password of the command line"""
    error = peer.failure("exit 3", "--password=hunter2", check=True)
    return None if error is None else "hunter2" not in shown(error)


# -- use -----------------------------------------------------------------------------------------------------------


@question
def loop(peer):
    """there is a call for asyncio, which leaves the loop free"""
    if peer.run_async is None:
        return False

    async def main():
        task = asyncio.ensure_future(peer.run_async(["sleep", "0.5"]))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return (await task).returncode == 0 and ticks > 20

    return asyncio.run(main())


@question
def types(peer):
    """mypy --strict knows the type of its exit status"""
    imported, expression = wrappers.TYPES[peer.name]
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code.py")
        code.write_text(f"{imported}\n\n\nasync def main() -> None:\n    reveal_type({expression})\n")
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--cache-dir", f"{folder}/cache", code.name],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
    revealed = re.search(r'Revealed type is "(.*)"', done.stdout)
    return bool(revealed and "int" in revealed[1] and ": error: " not in done.stdout) or done.stdout[:80]


@question
def alone(peer):
    """it needs no other package"""
    needed = metadata.requires(peer.distribution) if peer.distribution else None
    return not [name for name in needed or [] if "extra ==" not in name] or f"{len(needed)} requirements"


# -- figures of the watching process --------------------------------------


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(function):
    before, start = cpu(), time.perf_counter()
    function()
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": cpu() - before, "wall": wall, "rss": peak}


@figure
def start(peer, child, times):
    """start and end of `true`, captured"""
    return timed(lambda: [peer.run(["true"]) for _ in range(int(times))])


@figure
def lines(peer, child, count):
    """lines of 100 bytes on stderr, each to a function"""
    run = wrappers.by_hand if peer.name == "subprocess" else peer.run
    seen = 0

    def on_line(line):
        nonlocal seen
        seen += 1

    figures = timed(lambda: run([child, "lines", count, "100"], on_line=on_line))
    assert seen == int(count), f"{seen} lines of {count} came"
    return figures


@figure
def capture(peer, child, count):
    """lines of 100 bytes on stderr, captured"""
    box = []
    figures = timed(lambda: box.append(peer.run([child, "lines", count, "100"])))
    assert (seen := box[0].stderr.count(b"\n" if isinstance(box[0].stderr, bytes) else "\n")) == int(count), (
        seen
    )
    return figures


@figure
def hundred(peer, child, count):
    """children at once, 20 lines each over one second, captured"""
    command, count = [child, "spread", "20", "1000"], int(count)
    box = []

    async def together():
        box.extend(await asyncio.gather(*(peer.run_async(command) for _ in range(count))))

    def threads():
        with ThreadPoolExecutor(count) as pool:
            box.extend(pool.map(peer.run, [command] * count))

    figures = timed(threads if peer.run_async is None else lambda: asyncio.run(together()))
    assert all(len(got.stderr.splitlines()) == 20 for got in box), "lines were lost"
    return figures


def answer(peer, name):
    try:
        return QUESTIONS[name](peer)
    except Cannot:
        return None if name in ("secret", "why", "partial") else False
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:80]


if __name__ == "__main__":
    name, what, *rest = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    found = answer(Peer(name), what) if what in QUESTIONS else FIGURES[what](Peer(name), *rest)
    print(json.dumps(found), flush=True)
    os._exit(0)  # threads of peers that wait for a pipe do not hold the answer
