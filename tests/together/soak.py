"""Random children for minutes, while everything around them breaks; then the accounts are compared.

    python tests/together/soak.py [--seconds 300] [--seed N]

Processes of `soak_worker.py` watch children of all kinds: slow, chatty, binary, forking, dying, deaf to signals. One
of them works all the time, and has to stay as small as it was; others are killed, leave in the middle of
everything, fork, have a full disk, a stepping clock, a spool that is too small. The servers of Loki, Sentry and
OpenTelemetry meanwhile have bad weather (`soak_weather.py`). Every line bears a number. At the end each line, error
and span has been delivered once, or is in a spool, or was counted as lost; all sinks name the same trace; and exit
status 1 says that it is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from soak_accounts import Accounts
from soak_report import report
from soak_weather import Loki, OpenTelemetry, Sentry

HERE = Path(__file__).parent
EPISODES = {
    "kill": "a process at work is killed",
    "exit": "a process leaves while all are at work",
    "fork": "a process forks in the middle, again and again",
    "full": "the disk is full for a while",
    "clock": "the clock is set forward and back",
    "small": "a spool is too small",
}


class Soak:
    def __init__(self, seconds, seed, folder, kinds=tuple(EPISODES)):
        self.seconds = seconds
        self.kinds = kinds
        self.random = random.Random(seed)
        self.folder = folder
        self.servers = {
            server.__name__: server(random.Random(f"{seed} {server.__name__}"))
            for server in (Loki, Sentry, OpenTelemetry)
        }
        self.loki, self.sentry, self.collector = self.servers.values()
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
            "url": self.loki.url,
            "dsn": self.sentry.url,
            "otlp": self.collector.url,
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
        for server in self.servers.values():
            server.weather.start()
        self.began = began = time.monotonic()
        steady = self.worker("steady", "steady", self.seconds)
        length = min(10.0, max(2.0, self.seconds / 30))
        number = 0
        while number < len(self.kinds) or time.monotonic() - began + length < self.seconds:
            self.episode(self.kinds[number % len(self.kinds)], number, length)
            number += 1
        self.say("waiting for the process that worked all the time")
        self.wait(steady, "steady", self.seconds)
        for server in self.servers.values():
            server.weather.end()
        self.say("fair weather: delivering what is in spools, and comparing the accounts")
        self.drain()
        self.took = time.monotonic() - began

    def say(self, what):
        weather = ", ".join(f"{name} {server.weather.now or 'well'}" for name, server in self.servers.items())
        print(f"{time.monotonic() - self.began:4.0f} s  {what}  ({weather})", flush=True)

    def episode(self, what, number, seconds):
        self.episodes[what] += 1
        name = f"{what}{number}"
        self.say(f"{name}: {EPISODES[what]}")
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
        output = (self.folder / f"{name}.out").read_text(errors="replace")
        if code != (-9 if name in self.killed else 0):
            self.wrong.append(f"{name} ended with {code}: {output[-6000:]}")
        elif "Traceback" in output:
            self.wrong.append(f"{name} has said: {output[output.index('Traceback') :][:6000]}")

    def drain(self):
        """Deliver what is on disk, as a person would."""
        for path in sorted(self.folder.glob("spool*")):
            if path.name.endswith(("-wal", "-shm", ".turn")):
                continue
            command = [sys.executable, "-m", "subwatch_loki", "spool", "drain", "--spool", str(path)]
            done = subprocess.run(
                [*command, "--url", self.loki.url], capture_output=True, text=True, timeout=120
            )
            if done.returncode:
                self.wrong.append(f"{path.name} is not drained: {done.stdout}{done.stderr}")
            with contextlib.closing(sqlite3.connect(path)) as db:
                if (verdict := db.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                    self.wrong.append(f"{path.name} is damaged: {verdict}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300, help="how long (default: 300)")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="repeat the choices of a run"
    )
    parser.add_argument("--episodes", nargs="+", choices=EPISODES, default=tuple(EPISODES), help="only these")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    options = parser.parse_args()
    print(f"soak: {options.seconds:.0f} s, seed {options.seed}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="subwatch-soak-")
        soak = Soak(options.seconds, options.seed, Path(folder), options.episodes)
        for server in soak.servers.values():
            stack.callback(server.stop)
        soak.run()
        accounts = Accounts(soak)
        accounts.check()
        report(soak, accounts)
    if options.keep or accounts.wrong:
        print(f"\nThe accounts of the workers are in {folder}/*.jsonl, what they have printed in *.out.")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    if accounts.wrong:
        again = ["--seconds", f"{options.seconds:g}", "--seed", options.seed, "--episodes", *options.episodes]
        print("The same choices again: tox run -e soak --", *again)
    return bool(accounts.wrong)


if __name__ == "__main__":
    sys.exit(main())
