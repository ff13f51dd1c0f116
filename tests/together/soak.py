"""Random children for minutes, while everything around them breaks; then the accounts are compared.

    python tests/together/soak.py [--seconds 300] [--seed N]

Processes of `soak_worker.py` watch children of all kinds: slow, chatty, binary, forking, dying, deaf to signals. One
of them works all the time, and has to stay as small as it was; others are killed, leave in the middle of
everything, fork, have a full disk, a stepping clock, a spool that is too small. The Loki server meanwhile goes down
and up, answers 429 and 500, hangs, or breaks off. Every line bears a number. At the end each has been delivered
once, or was counted as dropped; exit status 1 if that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from soak_accounts import Accounts

HERE = Path(__file__).parent
EPISODES = ("kill", "exit", "fork", "full", "clock", "small")


def load_server():
    path = HERE.parents[1] / "integrations/loki/tests/lokiserver.py"
    spec = importlib.util.spec_from_file_location("soak_lokiserver", path)
    module = sys.modules["soak_lokiserver"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Weather(threading.Thread):
    """The Loki server, which is well half of the time."""

    def __init__(self, rng):
        super().__init__(daemon=True)
        self._random = rng
        self._module = load_server()
        self._server = self._module.LokiServer(max_query_entries=10**9)
        self.store, self.url = self._server.store, self._server.url
        self._over = threading.Event()
        self.seen = Counter()

    def run(self):
        fault = self._module.Fault
        faults = {
            "500": fault(500, "ingester is away"),
            "429": fault(429, "rate limit", {"Retry-After": "1"}),
            "stores and breaks off": fault(store=True, reset="middle"),
            "hangs": fault(hang="before", status=503),
        }
        while not self._over.wait(self._random.uniform(0.5, 2.0)):
            what = self._random.choice(["down", *faults])
            self.seen[what] += 1
            if what == "down":
                self._server.stop()
            else:
                self._server.always = faults[what]
            self._over.wait(self._random.uniform(0.5, 3.0))
            self.recover(what)

    def recover(self, what):
        server = self._server
        if what == "hangs":  # those that wait for an answer are let go
            server.stop()
        if what in ("down", "hangs"):
            self._server = self._module.LokiServer(store=self.store, port=server.port)
        server.always = None
        server.requests.clear()

    def end(self):
        self._over.set()
        self.join()

    def stop(self):
        self._server.stop()


class Soak:
    def __init__(self, seconds, seed, folder, kinds=EPISODES):
        self.seconds = seconds
        self.kinds = kinds
        self.random = random.Random(seed)
        self.folder = folder
        self.weather = Weather(random.Random(seed + 1))
        self.killed = {}  # worker's name to when
        self.wrong = []
        self.episodes = Counter()

    def worker(self, name, mode, seconds, **more):
        settings = {
            "name": name,
            "mode": mode,
            "seconds": seconds,
            "seed": self.random.getrandbits(32),
            "folder": str(self.folder),
            "url": self.weather.url,
            "spool": str(self.folder / "spool"),
            "batch_seconds": 0.5,
            "threads": 2,
            "tasks": 2,
            "pause_every": max(1.5, self.seconds / 20),
            "kinds": None,
            "loki": {},
            **more,
        }
        output = (self.folder / f"{name}.out").open("wb")
        with output:
            return subprocess.Popen(
                [sys.executable, str(HERE / "soak_worker.py"), json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def run(self):
        self.weather.start()
        began = time.monotonic()
        steady = self.worker("steady", "steady", self.seconds)
        length = min(10.0, max(2.0, self.seconds / 30))
        number = 0
        while number < len(self.kinds) or time.monotonic() - began + length < self.seconds:
            self.episode(self.kinds[number % len(self.kinds)], number, length)
            number += 1
        self.wait(steady, "steady", self.seconds)
        self.weather.end()
        self.drain()

    def episode(self, what, number, seconds):
        self.episodes[what] += 1
        name = f"{what}{number}"
        more = {}
        if what == "small":
            more = {"spool": str(self.folder / f"spool-{name}"), "loki": {"spool_bytes": 20_000}}
        elif what == "full":
            more = {"spool": str(self.folder / f"spool-{name}"), "loki": {"capacity": 200_000}}
        worker = self.worker(name, what, seconds, **more)
        if what == "kill":
            time.sleep(seconds + self.random.uniform(0.5, 1.0))
            worker.send_signal(signal.SIGKILL)
            self.killed[name] = time.time_ns()
        self.wait(worker, name, seconds)

    def wait(self, worker, name, seconds):
        try:
            code = worker.wait(seconds + 60)
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGUSR1)  # says where it is
            time.sleep(1.0)
            os.killpg(worker.pid, signal.SIGKILL)
            code = f"{worker.wait()} after being stuck"
        if code != (-9 if name in self.killed else 0):
            output = (self.folder / f"{name}.out").read_text(errors="replace")
            self.wrong.append(f"{name} ended with {code}: {output[-6000:]}")

    def drain(self):
        """Deliver what is on disk, as a person would."""
        for path in sorted(self.folder.glob("spool*")):
            if path.name.endswith(("-wal", "-shm", ".turn")):
                continue
            command = [sys.executable, "-m", "subwatch_loki", "spool", "drain", "--spool", str(path)]
            done = subprocess.run(
                [*command, "--url", self.weather.url], capture_output=True, text=True, timeout=120
            )
            if done.returncode:
                self.wrong.append(f"{path.name} is not drained: {done.stdout}{done.stderr}")
            with contextlib.closing(sqlite3.connect(path)) as db:
                if (verdict := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                    self.wrong.append(f"{path.name} is damaged: {verdict}")


def report(soak, accounts, seed, seconds):
    kinds = Counter(run.kind for run in accounts.runs.values() if run.kind)
    rows = [
        ("seed", seed),
        ("seconds", f"{seconds:.0f}"),
        ("episodes", ", ".join(f"{count} {name}" for name, count in soak.episodes.items())),
        ("server", ", ".join(f"{count} {name}" for name, count in soak.weather.seen.items())),
        ("children", accounts.sums.pop("children")),
        ("", ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())),
        *accounts.sums.items(),
        *(
            (f"memory of the steady process, {name}", trend(accounts.samples, name))
            for name in ("rss", "objects", "fds", "threads")
        ),
        ("violations", len(accounts.wrong)),
    ]
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    for text, count in accounts.said.most_common(12):
        print(f"said {count} times by {text}")
    for text in accounts.wrong[:40]:
        print("VIOLATION:", text)


def trend(samples, name):
    scale = 2**20 if name == "rss" else 1
    return " ".join(str(round(sample[name] / scale)) for sample in samples[:: max(1, len(samples) // 10)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="how long (default: 300)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="repeat the choices of a run"
    )
    parser.add_argument("--episodes", nargs="+", choices=EPISODES, default=EPISODES, help="only these")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    options = parser.parse_args()
    print(f"soak: seed {options.seed}, {options.seconds:.0f} s", flush=True)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="subwatch-soak-")
        if not options.keep:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        soak = Soak(options.seconds, options.seed, Path(folder), options.episodes)
        stack.callback(soak.weather.stop)
        soak.run()
        accounts = Accounts(soak)
        accounts.check()
    report(soak, accounts, options.seed, time.monotonic() - began)
    return bool(accounts.wrong)


if __name__ == "__main__":
    sys.exit(main())
