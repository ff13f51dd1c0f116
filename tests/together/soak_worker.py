"""A process that watches random children and keeps accounts: soak_worker.py SETTINGS (JSON)."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import soak_plan
from soak_book import BOOK, CLOCK, ENDING, FULL, MARK, PAGES, SETTINGS, Counting, Ledger, Moody, followed
from soak_sdks import Sdks

import subwatch
from subwatch import aio
from subwatch.sinks import Background, JsonLinesSink
from subwatch_loki import LokiSink


class Worker:
    def __init__(self):
        self.random = random.Random(SETTINGS["seed"])
        self.loki = followed(LokiSink)(
            SETTINGS["url"],
            labels={"test": "soak"},
            spool=SETTINGS["spool"],
            batch_seconds=SETTINGS["batch_seconds"],
            retry_max=1.0,
            progress=True,
            **SETTINGS["loki"],
        )
        self.moody = followed(Background)(
            Moody(), capacity=256 * 1024, policy=self.random.choice(["drop_oldest", "drop_newest"])
        )
        logger = logging.getLogger("subwatch")
        logger.addHandler(Counting())
        logger.setLevel(logging.INFO)
        logger.propagate = False
        log = subwatch.sink("logging", progress=True)
        subwatch.sinks.JsonLinesSink = followed(JsonLinesSink)  # the watch makes it, and closes it
        file = subwatch.sink("jsonlines", path=f"{SETTINGS['folder']}/{SETTINGS['name']}.records")
        self.sdks = Sdks()
        sinks = [Ledger(), *self.sdks.sinks, self.loki, log, file, self.moody]  # see Page.on_its_way
        self.watch = subwatch.Watch(sinks=sinks, flush_timeout=0.5)
        self.started = 0
        self.busy = 0
        self.lock = threading.Lock()
        self.may_go = threading.Event()
        self.may_go.set()
        self.over = False

    # -- one run --------------------------------------------------------------------------------------------

    def plan(self):
        """A random child: its command and options."""
        with self.lock:
            self.started += 1
            self.busy += 1
            return soak_plan.plan(self.random, f"{SETTINGS['name']}p{os.getpid()}n{self.started}")

    def note(self, options, result=None, error=None):
        """Write down how a call ended, and what was captured."""
        key = options["tags"]["key"]
        entry = {"kind": options["tags"]["kind"], "error": type(error).__name__ if error else None}
        if options.get("capture_output") and result is not None:
            text = (result.stdout + result.stderr).decode(errors="replace")
            entry["captured"] = [f"{writer}{number}{last}" for _, writer, number, last in MARK.findall(text)]
        for page in list(PAGES.values()):
            if page.run.tags["key"] == key:
                BOOK.write(run=page.run.id, **entry)
                page.returned.set()
        with self.lock:
            self.busy -= 1

    EXPECTED = (subprocess.TimeoutExpired, OSError, asyncio.TimeoutError)

    def call(self):
        command, options = self.plan()
        try:
            if self.random.random() < 0.3 and not {"input", "timeout", "capture_output"} & set(options):
                with self.watch.Popen(command, **options) as popen:
                    popen.wait()
                self.note(options)
            else:
                self.note(options, self.watch.run(command, **options))
        except self.EXPECTED as error:
            self.note(options, error=error)

    async def acall(self):
        command, options = self.plan()
        limit = 0.3 if self.random.random() < 0.1 else None
        try:
            self.note(options, await asyncio.wait_for(aio.run(command, watch=self.watch, **options), limit))
        except self.EXPECTED as error:
            self.note(options, error=error)

    # -- many -----------------------------------------------------------------------------------------------

    def thread(self):
        while not self.over:
            self.may_go.wait()
            self.call()

    async def tasks(self):
        async def one():
            while not self.over:
                if self.may_go.is_set():
                    await self.acall()
                else:
                    await asyncio.sleep(0.05)

        await asyncio.gather(*(one() for _ in range(SETTINGS["tasks"])))

    def begin(self, daemon):
        works = [self.thread] * SETTINGS["threads"] + [lambda: asyncio.run(self.tasks())]
        threads = [threading.Thread(target=work, daemon=daemon) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def pause(self, seconds=15.0):
        """Let all children end; then everything that is not kept on purpose is gone."""
        self.may_go.clear()
        deadline = time.monotonic() + seconds
        while PAGES and time.monotonic() < deadline:
            if not self.busy:
                for page in list(PAGES.values()):
                    page.settle()
            time.sleep(0.02)
        self.sdks.flush()

    def rest(self, seconds=15.0):
        """Let all children end, and what they have left behind."""
        deadline = time.monotonic() + seconds
        while not all(page.closed for page in list(PAGES.values())) and time.monotonic() < deadline:
            time.sleep(0.02)

    def sample(self):
        gc.collect()
        pages = resource.getpagesize()
        BOOK.write(
            sample=CLOCK.real(),
            rss=int(Path("/proc/self/statm").read_text().split()[1]) * pages,
            objects=len(gc.get_objects()),
            fds=len(os.listdir("/proc/self/fd")),
            # but for those of asyncio's executor, which come one by one up to its size
            threads=sum(not thread.name.startswith("asyncio_") for thread in threading.enumerate()),
            unsettled=len(PAGES),
        )

    # -- endings --------------------------------------------------------------------------------------------

    def steady(self, end):
        threads = self.begin(daemon=False)
        samples = 0
        while time.monotonic() < end or samples < 6:  # three thirds, also on a slow machine
            time.sleep(min(SETTINGS["pause_every"], max(0.5, end - time.monotonic())))
            self.pause()
            self.sample()
            samples += 1
            self.may_go.set()
        self.finish(threads)

    def finish(self, threads):
        self.over = True
        self.may_go.set()
        for thread in threads:
            thread.join()
        self.rest()
        self.close()
        self.settle_all()

    def close(self):
        for each in (self.watch, self.moody, self.loki):
            each.close(5.0)
        self.sdks.close()

    def settle_all(self):
        for page in list(PAGES.values()):
            page.settle(final=True)
        BOOK.write(finished=os.getpid())
        PAGES.clear()

    def small(self, end):
        """The spool is too small: its oldest batches give way."""
        threads = self.begin(daemon=False)
        time.sleep(max(0.0, end - time.monotonic()))
        self.finish(threads)

    def exit(self, end):
        """Leave while all are at work: daemon threads, running children, an event loop."""
        ENDING.append(self.leave)
        self.begin(daemon=True)
        time.sleep(max(0.0, end - time.monotonic()))
        BOOK.write(leaving=time.time_ns())

    def leave(self):
        """All has been closed; what comes now is lost, and counted."""
        self.over = True
        self.may_go.clear()
        deadline = time.monotonic() + 3.0
        while any(page.on_its_way for page in list(PAGES.values())) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.settle_all()

    def kill(self, end):
        """Work until somebody kills us."""
        self.begin(daemon=True)
        time.sleep(60)

    def fork(self, end):
        """Fork in the middle, again and again; each process watches children of its own, with the same sinks."""
        self.call()
        self.sdks.warm_up()
        threads = self.begin(daemon=False)
        codes = []
        while time.monotonic() < end:
            time.sleep(0.2)
            pid = os.fork()
            if not pid:
                self.forked()
            codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        self.finish(threads)
        sys.exit(f"forked processes ended with {codes}" if any(codes) else 0)

    def forked(self):
        faulthandler.dump_traceback_later(20, exit=True)
        PAGES.clear()
        self.lock = threading.Lock()
        self.busy = 0
        self.sdks.init_sentry()
        self.call()
        self.call()
        self.rest()
        self.close()
        self.settle_all()
        os._exit(0)

    def full(self, end):
        """No file may grow for a while, the spool included."""
        threads = self.begin(daemon=False)
        third = max(0.0, end - time.monotonic()) / 3
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for limit in (hard, FULL, hard):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            time.sleep(third)
        self.finish(threads)

    def clock(self, end):
        """The clock is set forward and back."""
        threads = self.begin(daemon=False)
        CLOCK.install()
        while time.monotonic() < end:
            CLOCK.step = self.random.choice([-300, -2, 0, 2, 300]) * 10**9
            time.sleep(0.3)
        CLOCK.step = 0
        self.finish(threads)


def main():
    faulthandler.register(signal.SIGUSR1)
    end = time.monotonic() + SETTINGS["seconds"]
    getattr(Worker(), SETTINGS["mode"])(end)


main()
