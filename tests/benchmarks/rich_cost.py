"""What the rich display costs: CPU of the watching process while children tell their progress.

    python tests/benchmarks/rich_cost.py [--rounds N] [--seconds S]

Every contender runs in a fresh process on a pseudo-terminal that is read all the time. ``by hand`` is what one
writes without us: `rich.progress`, and a thread per child that reads its stderr with a regular expression.
A share is CPU time by wall time; a ratio pairs two that ran one right after the other.
"""

import argparse
import json
import os
import pty
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PACED = """
import sys, time
count, begin = int(sys.argv[1]), time.monotonic()
for n in range(count + 1):
    update = f"{n * 4000}/{count * 4000} kB ({n * 100 // count}%), 0/1 tablespace"
    print(update, end=chr(13), file=sys.stderr, flush=True)
    time.sleep(max(0, begin + (n + 1) / 100 - time.monotonic()))
"""
FLOOD = r"import sys; [sys.stderr.write(f'INFO: copying file number {n} elsewhere\n') for n in range(20000)]"
SHARE_LIMIT = 0.05


def by_hand(argv: list[str], count: int) -> None:
    """One progress bar per child, each read by a thread."""
    from rich.progress import Progress

    def read(process, task):
        for line in process.stderr:
            if found := re.match(r"(\d+)/(\d+) kB", line):
                progress.update(task, completed=int(found[1]), total=int(found[2]), description=line[:40])
            else:
                progress.console.print(line, end="")

    with Progress() as progress:
        processes = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(count)]
        tasks = [progress.add_task("child") for _ in processes]
        threads = [threading.Thread(target=read, args=pair) for pair in zip(processes, tasks, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for process in processes:
            process.wait()


def watched(sinks: list[str], argv: list[str], count: int) -> None:
    """Children in threads of their own, to the sinks."""
    import subwatch

    watch = subwatch.Watch(sinks=sinks)
    silent = {"stderr": subprocess.DEVNULL}
    threads = [threading.Thread(target=watch.run, args=(argv,), kwargs=silent) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    watch.close()


def measure(contender: str, argv: list[str], count: int) -> dict[str, float]:
    """Run a contender twice, the first time to warm up; return its figures."""
    run = (
        by_hand
        if contender == "by hand"
        else lambda *job: watched([contender] if contender != "no sink" else [], *job)
    )
    run([sys.executable, "-c", PACED, "20"], 1)
    wall, cpu = time.monotonic(), time.process_time()
    run(argv, count)
    return {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}


def on_terminal(*arguments: str) -> dict[str, float]:
    """Run this script on a pseudo-terminal; return what it measured."""
    with tempfile.NamedTemporaryFile("r") as result:
        pid, fd = pty.fork()
        if pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS="100", LINES="30")
            os.execv(sys.executable, [sys.executable, __file__, "--measure", result.name, *arguments])
        written = 0
        while True:
            try:
                written += len(chunk := os.read(fd, 65536))
            except OSError:  # EIO: it has ended
                break
            if not chunk:
                break
        os.close(fd)
        if os.waitpid(pid, 0)[1]:
            raise SystemExit(f"{arguments} failed")
        return json.load(result) | {"written": written}


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--measure", nargs=4, metavar=("FILE", "CONTENDER", "CHILD", "COUNT"))
    arguments = parser.parse_args()
    if arguments.measure:
        file, contender, child, count = arguments.measure
        argv = [sys.executable, "-c", *json.loads(child)]
        with open(file, "w") as result:
            json.dump(measure(contender, argv, int(count)), result)
        return
    updates = json.dumps([PACED, str(arguments.seconds * 100)])
    print(f"median of {arguments.rounds}; beside it the smallest and the largest\n")
    for what, child, count in (
        ("1 child, 100 updates a second", updates, 1),
        ("4 children, 100 updates a second each", updates, 4),
        ("20,000 lines at once", json.dumps([FLOOD]), 1),
    ):
        rounds = [
            {name: on_terminal(name, child, str(count)) for name in ("no sink", "rich", "by hand")}
            for _ in range(arguments.rounds)
        ]
        print(what)
        for name in rounds[0]:
            cpu = [each[name]["cpu"] for each in rounds]
            share = [each[name]["cpu"] / each[name]["wall"] for each in rounds]
            ratio = statistics.median(each[name]["cpu"] / each["by hand"]["cpu"] for each in rounds)
            print(
                f"  {name:8} CPU {statistics.median(cpu):.3f} s, share {statistics.median(share):.1%}"
                f" ({min(share):.1%} to {max(share):.1%}), {ratio:.2f} x by hand,"
                f" {rounds[0][name]['written'] / 1000:,.0f} kB written"
            )
        shares = [each["rich"]["cpu"] / each["rich"]["wall"] for each in rounds]
        if child == updates:
            print(f"  below {SHARE_LIMIT:.0%}: {'yes' if statistics.median(shares) < SHARE_LIMIT else 'NO'}")


if __name__ == "__main__":
    main()
