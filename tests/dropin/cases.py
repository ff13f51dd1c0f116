"""Calls to make with the original and with ours: what they return, raise and write must be the same.

Every case gets the function to call (`run`, `Popen` or `create_subprocess_exec`) and works in an empty
directory of its own. Streams that lead to the same place are compared as sets of lines: their order among
each other is a difference that `run` documents.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

BOTH = "echo out; echo err >&2"
SH = ["sh", "-c", BOTH]


class PathLike:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path

    def __repr__(self):
        return f"PathLike({self.path!r})"


def script(name="program", text='#!/bin/sh\necho script "$@"; echo "script err" >&2\n', mode=0o755):
    Path(name).write_text(text)
    os.chmod(name, mode)
    return os.path.abspath(name)


def to_file(run, *args, mode="w+b", **kwargs):
    with open("file", mode) as file:
        file.write(b"before\n" if "b" in mode else "before\n")
        file.flush()
        done = run(*args, **{name: file if value is FILE else value for name, value in kwargs.items()})
    return done, Path("file").read_bytes()


FILE = object()


def to_tempfile(run, *args, **kwargs):
    with tempfile.TemporaryFile() as file:
        done = run(*args, stderr=file, **kwargs)
        file.seek(0)
        return done, file.read()


def to_fd(run, *args, **kwargs):
    read, write = os.pipe()
    try:
        done = run(*args, stderr=write, **kwargs)
        return done, os.read(read, 1000)
    finally:
        os.close(read)
        os.close(write)


def with_pass_fds(run, **kwargs):
    read, write = os.pipe()
    try:
        done = run(["bash", "-c", f"echo passed >/dev/fd/{write}; echo err >&2"], pass_fds=(write,), **kwargs)
        return done.returncode, os.read(read, 100)
    finally:
        os.close(read)
        os.close(write)


def only_these_fds(run, **kwargs):
    """What the child has open: nothing of ours."""
    return run(
        ["sh", "-c", "for f in /proc/self/fd/*; do echo ${f##*/}; done | sort -n | head -20"],
        stdout=PIPE,
        **kwargs,
    )


def inheritable(run, **kwargs):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        return run(["bash", "-c", f"echo x >/dev/fd/{write}"], stderr=DEVNULL, **kwargs).returncode != 0
    finally:
        os.close(read)
        os.close(write)


def in_a_removed_directory(run):
    os.mkdir("gone")
    home = os.getcwd()
    os.chdir("gone")
    os.rmdir("../gone")
    try:
        return run(["/bin/sh", "-c", "echo err >&2"])
    finally:
        os.chdir(home)


def to_our_own_stream(run, **kwargs):
    sys.stderr.write("ours first\n")
    sys.stderr.flush()
    done = run(SH, stderr=sys.stderr, **kwargs)
    sys.stderr.write("ours last\n")
    sys.stderr.flush()
    return done


def with_umask(run):
    done = run(["sh", "-c", "touch made"], umask=0o077)
    return done.returncode, oct(os.stat("made").st_mode & 0o777)


def session(run, **kwargs):
    """Which of pid, group and session of the child are ours."""
    done = run(["sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat"], stdout=PIPE, **kwargs)
    pid, group, leader = map(int, done.stdout.split())
    return done.returncode, group == pid, leader == pid, group == os.getpgrp(), leader == os.getsid(0)


def pipeline_of_files(run):
    """stdout of one into stdin of the other, by way of a file."""
    with open("between", "wb") as file:
        run(["sh", "-c", "echo line"], stdout=file)
    with open("between", "rb") as file:
        return run(["cat"], stdin=file, stdout=PIPE)


def much(run):
    done = run(
        ["sh", "-c", "head -c 700000 /dev/zero >&2 & head -c 900000 /dev/zero; wait"], capture_output=True
    )
    return len(done.stdout), len(done.stderr)


def to_closed_file(run):
    with open("closed", "w") as file:
        pass
    return run(SH, stderr=file)


def to_file_for_reading(run):
    with open("/dev/null") as file:
        return run(["sh", "-c", "echo x >&2"], stderr=file)


ROOT = os.geteuid() == 0

#: For `run`; each through `subwatch.aio.run` too.
RUN = {
    "list": lambda run: run(SH),
    "tuple": lambda run: run(tuple(SH)),
    "string": lambda run: run("true"),
    "bytes": lambda run: run(b"true"),
    "pathlike": lambda run: run(PathLike(script())),
    "path in list": lambda run: run([Path(script()), "a b"]),
    "pathlike in list": lambda run: run([PathLike(script()), b"bytes"]),
    "bytes in list": lambda run: run([b"sh", b"-c", BOTH.encode()]),
    "not UTF-8": lambda run: run(["sh", "-c", b"printf '\\377' >&2; printf '\\376'"], capture_output=True),
    "iterator": lambda run: run(["echo", *map(str, range(3))]),
    "empty list": lambda run: run([]),
    "empty string": lambda run: run(""),
    "empty program": lambda run: run(["", "x"]),
    "empty argument": lambda run: run(["sh", "-c", 'echo "$#" >&2', "sh", "", ""]),
    "NUL in argument": lambda run: run(["echo", "a\0b"]),
    "NUL in program": lambda run: run("a\0b"),
    "NUL in environment": lambda run: run(["true"], env={"A": "a\0b"}),
    "= in variable name": lambda run: run(["true"], env={"A=B": "a"}),
    "number as argument": lambda run: run(["echo", 1]),
    "None as argument": lambda run: run(["echo", None]),
    "None as command": lambda run: run(None),
    "number as command": lambda run: run(1),
    "no command": lambda run: run(),
    "surrogate": lambda run: run(["sh", "-c", 'printf %s "$1" >&2', "sh", "\udcff"]),
    "lone surrogate": lambda run: run(["echo", "\ud800"]),
    "shell": lambda run: run(BOTH, shell=True),
    "shell list": lambda run: run(["echo $0 >&2", "zero"], shell=True),
    "shell bytes": lambda run: run(BOTH.encode(), shell=True),
    "shell pathlike": lambda run: run(PathLike(script()), shell=True),
    "shell not found": lambda run: run("no-such-program-at-all", shell=True, stderr=DEVNULL),
    "shell syntax error": lambda run: run("if", shell=True, stderr=PIPE),
    "shell and executable": lambda run: run("echo $0 >&2", shell=True, executable="/bin/sh"),
    "not found": lambda run: run(["no-such-program-at-all", "x"]),
    "not found with path": lambda run: run(["/no/such/program"]),
    "not found bytes": lambda run: run([b"/no/such/program"]),
    "not found pathlike": lambda run: run([PathLike("/no/such/program")]),
    "not executable": lambda run: run([script(mode=0o644)]),
    "no interpreter": lambda run: run([script(text="#!/no/such/interpreter\n")]),
    "no format": lambda run: run([script(text="echo no hash bang >&2\n")]),
    "directory": lambda run: run(["/"]),
    "name too long": lambda run: run(["x" * 100_000]),
    "too many arguments": lambda run: run(["true", *["x" * 100_000] * 100]),
    "executable": lambda run: run(["zero", "-c", "echo $0 >&2"], executable="/bin/sh"),
    "executable bytes": lambda run: run(["zero", "-c", "echo $0 >&2"], executable=b"/bin/sh"),
    "executable not found": lambda run: run(["sh"], executable="/no/such"),
    "cwd": lambda run: run(["pwd"], cwd="/"),
    "cwd pathlike": lambda run: run(["sh", "-c", "pwd >&2"], cwd=Path("/usr")),
    "cwd bytes": lambda run: run(["sh", "-c", "pwd >&2"], cwd=b"/usr"),
    "cwd not found": lambda run: run(["true"], cwd="/no/such/directory"),
    "cwd is a file": lambda run: run(["true"], cwd=script()),
    "cwd of wrong type": lambda run: run(["true"], cwd=1.5),
    "cwd removed": in_a_removed_directory,
    "env": lambda run: run(["/bin/sh", "-c", 'echo "$A" >&2; env | grep -c . >&2'], env={"A": "value"}),
    "env bytes": lambda run: run(["/bin/sh", "-c", 'echo "$A" >&2'], env={b"A": b"\xff"}, stderr=PIPE),
    "env empty": lambda run: run(["/bin/sh", "-c", 'echo "$HOME" >&2'], env={}),
    "env of wrong type": lambda run: run(["true"], env=[("A", "b")]),
    "env number": lambda run: run(["true"], env={"A": 1}),
    "env not a mapping": lambda run: run(["true"], env=5),
    "input bytes": lambda run: run(["cat"], input=b"data", stdout=PIPE),
    "input to stderr": lambda run: run(["sh", "-c", "cat >&2"], input=b"data\n"),
    "input text": lambda run: run(["cat"], input="d\xe4ta\n", capture_output=True, encoding="latin-1"),
    "input empty": lambda run: run(["cat"], input=b"", capture_output=True),
    "input bytearray": lambda run: run(["cat"], input=bytearray(b"data"), capture_output=True),
    "input memoryview": lambda run: run(["cat"], input=memoryview(b"data"), capture_output=True),
    "input large": lambda run: run(["wc", "-c"], input=b"x" * 1_000_000, capture_output=True),
    "input large back": lambda run: len(run(["cat"], input=b"x" * 1_000_000, capture_output=True).stdout),
    "input not read": lambda run: run(["true"], input=b"x" * 1_000_000),
    "input not read captured": lambda run: run(["true"], input=b"x" * 1_000_000, capture_output=True),
    "input closed late": lambda run: run(
        ["sh", "-c", "exec <&-; sleep 0.1; echo err >&2"], input=b"x" * 300_000
    ),
    "input of wrong type": lambda run: run(["cat"], input="text", stdout=PIPE),
    "input bytes as text": lambda run: run(["cat"], input=b"bytes", stdout=PIPE, text=True),
    "input number": lambda run: run(["cat"], input=5, stdout=PIPE),
    "input and stdin": lambda run: run(["cat"], input=b"x", stdin=PIPE),
    "input and stdin None": lambda run: run(["cat"], input=b"x", stdin=None, stdout=PIPE),
    "input newlines": lambda run: run(["cat"], input="a\r\nb\rc\n", stdout=PIPE, text=True),
    "stdin null": lambda run: run(["cat"], stdin=DEVNULL, stdout=PIPE),
    "stdin pipe": lambda run: run(["cat"], stdin=PIPE, stdout=PIPE),
    "stdin file": pipeline_of_files,
    "stdin bad fd": lambda run: run(["cat"], stdin=9999),
    "stdin STDOUT": lambda run: run(["true"], stdin=STDOUT),
    "capture": lambda run: run(SH, capture_output=True),
    "capture text": lambda run: run(SH, capture_output=True, text=True),
    "capture universal newlines": lambda run: run(
        ["sh", "-c", "printf 'a\\r\\nb\\rc\\n'; printf 'd\\r\\ne\\rf' >&2"],
        capture_output=True,
        universal_newlines=True,
    ),
    "capture bytes newlines": lambda run: run(["sh", "-c", "printf 'd\\r\\ne\\rf' >&2"], capture_output=True),
    "capture encoding": lambda run: run(["printf", "\\344"], capture_output=True, encoding="latin-1"),
    "capture utf-16": lambda run: run(["printf", "a\\000b\\000"], capture_output=True, encoding="utf-16-le"),
    "capture errors": lambda run: run(
        ["sh", "-c", "printf '\\344' >&2"], capture_output=True, errors="replace"
    ),
    "capture errors both": lambda run: run(
        ["printf", "\\344"], capture_output=True, encoding="utf-8", errors="ignore"
    ),
    "capture not decodable": lambda run: run(
        ["sh", "-c", "printf '\\344' >&2"], capture_output=True, encoding="utf-8"
    ),
    "capture no such encoding": lambda run: run(SH, capture_output=True, encoding="no-such"),
    "capture text and not": lambda run: run(SH, capture_output=True, text=True, universal_newlines=False),
    "capture text False": lambda run: run(SH, capture_output=True, text=False),
    "capture and stdout": lambda run: run(SH, capture_output=True, stdout=PIPE),
    "capture and stderr": lambda run: run(SH, capture_output=True, stderr=STDOUT),
    "capture only stdout": lambda run: run(SH, stdout=PIPE),
    "capture only stderr": lambda run: run(SH, stderr=PIPE),
    "capture much": much,
    "merged into capture": lambda run: run(SH, stdout=PIPE, stderr=STDOUT),
    "merged into capture text": lambda run: run(SH, stdout=PIPE, stderr=STDOUT, text=True),
    "merged into ours": lambda run: run(SH, stderr=STDOUT),
    "merged into null": lambda run: run(SH, stdout=DEVNULL, stderr=STDOUT),
    "merged into file": lambda run: to_file(run, SH, stdout=FILE, stderr=STDOUT),
    "stderr to stdout only": lambda run: run(
        ["sh", "-c", "for i in 1 2 3; do echo o$i; echo e$i >&2; done"], stdout=PIPE, stderr=STDOUT
    ),
    "stdout STDOUT": lambda run: run(["true"], stdout=STDOUT),
    "stderr null": lambda run: run(SH, stderr=DEVNULL),
    "both null": lambda run: run(SH, stdout=DEVNULL, stderr=DEVNULL),
    "stderr file": lambda run: to_file(run, SH, stderr=FILE),
    "stderr text file": lambda run: to_file(run, SH, stderr=FILE, mode="w"),
    "stderr append": lambda run: to_file(run, SH, stderr=FILE, mode="ab"),
    "stderr and stdout in one file": lambda run: to_file(run, SH, stdout=FILE, stderr=FILE),
    "stderr tempfile": lambda run: to_tempfile(run, SH),
    "stderr fd": lambda run: to_fd(run, SH),
    "stderr 1": lambda run: run(SH, stderr=1),
    "stderr 2": lambda run: run(SH, stderr=2),
    "stderr sys.stderr": to_our_own_stream,
    "stderr sys.stdout": lambda run: run(SH, stderr=sys.stdout),
    "stderr bad fd": lambda run: run(SH, stderr=9999),
    "stderr negative": lambda run: run(SH, stderr=-7),
    "stderr closed file": to_closed_file,
    "stderr file for reading": to_file_for_reading,
    "stderr of wrong type": lambda run: run(SH, stderr="name"),
    "stderr without fileno": lambda run: run(SH, stderr=__import__("io").BytesIO()),
    "check ok": lambda run: run(["true"], check=True),
    "check failed": lambda run: run(["sh", "-c", "echo err >&2; exit 3"], check=True),
    "check failed captured": lambda run: run(
        ["sh", "-c", BOTH + "; exit 3"], check=True, capture_output=True
    ),
    "check failed text": lambda run: run(
        ["sh", "-c", BOTH + "; exit 3"], check=True, capture_output=True, text=True
    ),
    "check signal": lambda run: run(["sh", "-c", "kill -9 $$"], check=True),
    "check unknown signal": lambda run: run(["sh", "-c", "kill -40 $$"], check=True),
    "failed": lambda run: run(["false"]),
    "signal": lambda run: run(["sh", "-c", "kill -TERM $$"]),
    "exit 255": lambda run: run(["sh", "-c", "exit 255"]),
    "timeout not over": lambda run: run(SH, timeout=60),
    "timeout": lambda run: run(["sleep", "30"], timeout=0.2),
    "timeout zero": lambda run: run(["sleep", "30"], timeout=0),
    "timeout negative": lambda run: run(["sleep", "30"], timeout=-1),
    "timeout captured": lambda run: run(
        ["sh", "-c", BOTH + "; exec sleep 30"], timeout=1.5, capture_output=True
    ),
    "timeout captured text": lambda run: run(
        ["sh", "-c", BOTH + "; exec sleep 30"], timeout=1.5, capture_output=True, text=True
    ),
    "timeout of wrong type": lambda run: run(["sleep", "0.1"], timeout="1"),
    "timeout and input": lambda run: run(
        ["sleep", "30"], timeout=0.2, input=b"x" * 300_000, capture_output=True
    ),
    "pass_fds": with_pass_fds,
    "pass_fds captured": lambda run: with_pass_fds(run, stderr=PIPE),
    "no other descriptors": only_these_fds,
    "no other descriptors captured": lambda run: only_these_fds(run, stderr=PIPE),
    "no other descriptors null": lambda run: only_these_fds(run, stderr=DEVNULL),
    "close_fds": inheritable,
    "close_fds False": lambda run: inheritable(run, close_fds=False),
    "descriptors without close_fds": lambda run: only_these_fds(run, stderr=PIPE, close_fds=False),
    "start_new_session": lambda run: session(run, start_new_session=True),
    "process_group": lambda run: session(run, process_group=0),
    "own session by default": session,
    "preexec_fn": lambda run: run(["sh", "-c", "pwd >&2"], preexec_fn=lambda: os.chdir("/usr")),
    "preexec_fn fails": lambda run: run(["true"], preexec_fn=lambda: 1 / 0),
    "umask": with_umask,
    "user": lambda run: run(["sh", "-c", "id -u >&2"], user=65534 if ROOT else None),
    "no such user": lambda run: run(["true"], user="no-such-user"),
    "group": lambda run: run(["sh", "-c", "id -g >&2"], group=65534 if ROOT else None),
    "extra_groups": lambda run: run(["sh", "-c", "id -G >&2"], extra_groups=[65534] if ROOT else None),
    "restore_signals": lambda run: run(
        ["sh", "-c", "grep SigIgn /proc/$$/status >&2"], restore_signals=False
    ),
    "signals restored": lambda run: run(["sh", "-c", "grep SigIgn /proc/$$/status >&2"]),
    "bufsize": lambda run: run(SH, bufsize=0, capture_output=True),
    "bufsize of wrong type": lambda run: run(SH, bufsize="x"),
    "pipesize": lambda run: run(SH, pipesize=8192, capture_output=True),
    "positional": lambda run: run(SH, -1, None, None, PIPE, PIPE),
    "positional all": lambda run: run(
        ["sh", "-c", "pwd >&2"],
        -1,
        None,
        None,
        None,
        None,
        None,
        True,
        False,
        "/",
        None,
        None,
        None,
        0,
        True,
        False,
        (),
    ),
    "positional too many": lambda run: run(SH, *range(40)),
    "positional and keyword": lambda run: run(SH, -1, bufsize=-1),
    "args keyword": lambda run: run(args=SH),
    "args twice": lambda run: run(SH, args=SH),
    "wrong keyword": lambda run: run(SH, chekc=True),
    "startupinfo": lambda run: run(SH, startupinfo=object()),
    "creationflags": lambda run: run(SH, creationflags=1),
    "close_fds and pass_fds": lambda run: with_pass_fds(run, close_fds=False),
    "is a terminal": lambda run: run(["sh", "-c", "for f in 0 1 2; do test -t $f && echo $f yes; done; :"]),
    "is a terminal merged": lambda run: run(
        ["sh", "-c", "for f in 0 1 2; do test -t $f && echo $f yes; done; :"], stderr=STDOUT
    ),
    "window size": lambda run: run(["sh", "-c", "stty size <&2 || :"], stdout=PIPE, stderr=None).stdout,
    "binary": lambda run: run(["sh", "-c", "printf '\\033[31m\\377\\000\\r\\nx\\b\\t' >&2"]),
    "no newline": lambda run: run(["sh", "-c", "printf 'no end' >&2"]),
    "many lines": lambda run: run(
        ["sh", "-c", "i=0; while [ $i -lt 2000 ]; do echo line $i >&2; i=$((i+1)); done"]
    ),
    "one long line": lambda run: run(["sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x >&2"]),
}


# -- Popen --------------------------------------------------------------------------------------------------


def popen_twice_after_timeout(Popen, **kwargs):
    proc = Popen(
        ["sh", "-c", "echo o1; echo e1 >&2; sleep 1.5; echo o2; echo e2 >&2"],
        stdout=PIPE,
        stderr=PIPE,
        **kwargs,
    )
    try:
        proc.communicate(timeout=0.5)
    except subprocess.TimeoutExpired as error:
        first = error.timeout
    again = proc.communicate()
    return first, again, proc.communicate() == again, proc.returncode


def popen_input_twice(Popen):
    proc = Popen(["sh", "-c", "sleep 0.3; cat"], stdin=PIPE, stdout=PIPE)
    try:
        proc.communicate(b"data", timeout=0.05)
    except subprocess.TimeoutExpired:
        pass
    try:
        proc.communicate(b"more")
    except ValueError as error:
        said = str(error)
    return said, proc.communicate()


def popen_poll(Popen):
    proc = Popen(["sh", "-c", "cat; exit 5"], stdin=PIPE)
    seen = [proc.poll(), proc.returncode]
    proc.stdin.close()
    return [*seen, proc.wait(), proc.poll(), proc.returncode, proc.wait(timeout=0)]


def popen_wait_timeout(Popen):
    with Popen(["sleep", "30"]) as proc:
        try:
            proc.wait(timeout=0.1)
        except subprocess.TimeoutExpired as error:
            seen = error.cmd, error.timeout, str(error), error.output
        proc.kill()
    return seen, proc.returncode


def popen_lines(Popen, **kwargs):
    with Popen(["sh", "-c", "for i in 1 2 3; do echo line $i >&2; done"], stderr=PIPE, **kwargs) as proc:
        return list(proc.stderr), type(proc.stderr).__name__, proc.wait()


def popen_line_by_line(Popen):
    """A dialogue: each line is there when it was written, not later."""
    with Popen(
        ["sh", "-c", "while read x; do echo got $x >&2; done"], stdin=PIPE, stderr=PIPE, bufsize=0
    ) as proc:
        answers = []
        for word in (b"one\n", b"two\n"):
            proc.stdin.write(word)
            answers.append(proc.stderr.readline())
        proc.stdin.close()
        return answers, proc.stderr.read(), proc.wait()


def popen_selector(Popen):
    with Popen(["sh", "-c", "sleep 0.1; echo e >&2; echo o"], stdout=PIPE, stderr=PIPE) as proc:
        seen = {}
        with selectors.DefaultSelector() as selector:
            selector.register(proc.stdout, selectors.EVENT_READ, "stdout")
            selector.register(proc.stderr.fileno(), selectors.EVENT_READ, "stderr")
            while selector.get_map():
                for key, _ in selector.select():
                    data = os.read(key.fd, 1000)
                    seen[key.data] = seen.get(key.data, b"") + data
                    if not data:
                        selector.unregister(key.fileobj)
        return sorted(seen.items()), proc.wait()


def popen_pipeline(Popen, **kwargs):
    """stderr of one child as stdin of another; with the parent's copy closed, SIGPIPE reaches the first."""
    first = Popen(["sh", "-c", "echo one >&2; echo two >&2"], stderr=PIPE, **kwargs)
    second = Popen(["sort", "-r"], stdin=first.stderr, stdout=PIPE)
    first.stderr.close()
    out = second.communicate()[0]
    return out, first.wait(), second.returncode


def popen_sigpipe(Popen):
    first = Popen(["sh", "-c", "while echo x >&2; do :; done"], stderr=PIPE)
    second = Popen(["head", "-n", "1"], stdin=first.stderr, stdout=PIPE)
    first.stderr.close()
    return second.communicate()[0], first.wait(timeout=20)


def popen_backpressure(Popen):
    """A caller who does not read slows the child down, as ever."""
    with Popen(["sh", "-c", "head -c 3000000 /dev/zero >&2; echo done"], stdout=PIPE, stderr=PIPE) as proc:
        time.sleep(0.3)
        early = proc.poll()
        size = len(proc.stderr.read())
        return early, size, proc.stdout.read(), proc.wait()


def popen_signal_after_exit(Popen):
    proc = Popen(["true"])
    proc.wait()
    return proc.send_signal(signal.SIGTERM), proc.terminate(), proc.kill(), proc.returncode


def popen_del(Popen):
    """A handle that is dropped: the same warning, and the child goes on."""
    read, write = os.pipe()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        proc = Popen(["sh", "-c", f"sleep 0.2; echo err >&2; echo alive >/dev/fd/{write}"], pass_fds=[write])
        pid = proc.pid
        del proc
        said = [(w.category.__name__, str(w.message).replace(str(pid), "PID")) for w in caught]
    os.close(write)
    alive = os.read(read, 100)
    os.close(read)
    subprocess._cleanup()
    return said, alive


def popen_attributes(Popen):
    with Popen(["sh", "-c", "cat >&2"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as proc:
        return (
            proc.args, proc.returncode, type(proc.stdin).__name__, type(proc.stdout).__name__, type(proc.stderr).__name__,
            repr(proc), isinstance(proc, subprocess.Popen), proc.universal_newlines, proc.text_mode, proc.encoding,
            proc.pid > 0, proc.stderr.mode, proc.stderr.name == proc.stderr.fileno(),
        )  # fmt: skip


def popen_exit_context(Popen):
    """An exception in the block: the child is waited for and the pipes are closed."""
    try:
        with Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as proc:
            raise LookupError
    except LookupError:
        return proc.returncode, proc.stdin.closed, proc.stdout.closed, proc.stderr.closed


def popen_close_then_exit(Popen):
    """The caller closes the pipe it does not want: the child sees that when it writes."""
    proc = Popen(["sh", "-c", "sleep 0.2; while echo x >&2; do :; done"], stderr=PIPE)
    proc.stderr.close()
    return proc.wait(timeout=20)


def popen_read_then_communicate(Popen, **kwargs):
    proc = Popen(["sh", "-c", "for i in 1 2 3; do echo $i >&2; done"], stderr=PIPE, **kwargs)
    return proc.stderr.readline(), proc.communicate(), proc.returncode


def popen_kill_and_read(Popen):
    proc = Popen(["sh", "-c", "echo e >&2; exec sleep 30"], stderr=PIPE)
    try:
        proc.communicate(timeout=0.5)
    except subprocess.TimeoutExpired as error:
        seen = error.stderr
    proc.kill()
    return seen, proc.communicate(), proc.returncode


def popen_read_after_timeout(Popen):
    """The caller's pipe is as it was after a communicate() that was not finished."""
    proc = Popen(["sh", "-c", "echo e >&2; sleep 1; echo f >&2"], stderr=PIPE)
    try:
        proc.communicate(timeout=0.4)
    except subprocess.TimeoutExpired:
        pass
    left = proc.stderr.read()
    proc.wait()
    proc.stderr.close()
    return left, proc.returncode


def popen_status_taken(Popen):
    proc = Popen(["sh", "-c", "exit 3"])
    os.waitpid(proc.pid, 0)
    return proc.wait(), proc.returncode, proc.poll()


def popen_stopped(Popen):
    proc = Popen(["sh", "-c", "kill -STOP $$; exit 4"])
    os.waitid(os.P_PID, proc.pid, os.WSTOPPED)
    seen = proc.poll()
    proc.send_signal(signal.SIGCONT)
    return seen, proc.wait()


def popen_nobody_waits(Popen):
    """What it wrote arrives even when only poll() is called."""
    proc = Popen(["sh", "-c", "echo err >&2"])
    while proc.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    return proc.returncode


def popen_nonblocking(Popen):
    proc = Popen(["sh", "-c", "sleep 0.3; echo e >&2"], stderr=PIPE, bufsize=0)
    os.set_blocking(proc.stderr.fileno(), False)
    first = proc.stderr.read()
    proc.wait()
    second = proc.stderr.read()
    proc.stderr.close()
    return first, second


def popen_stdin_only(Popen):
    proc = Popen(["sh", "-c", "cat >&2"], stdin=PIPE)
    return proc.communicate(b"said\n"), proc.returncode


def popen_stdin_closed(Popen, input=None, **kwargs):
    proc = Popen(["cat"], stdin=PIPE, stdout=PIPE, **kwargs)
    proc.stdin.close()
    try:
        return proc.communicate(input)
    finally:
        proc.stdout.close()
        proc.wait()


def popen_wrong_input(Popen):
    with Popen(["cat"], stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as proc:
        try:
            proc.communicate("text")
        except TypeError as error:
            return str(error)
        finally:
            proc.kill()


POPEN = {
    "plain": lambda Popen: Popen(SH).wait(),
    "shell": lambda Popen: Popen(BOTH, shell=True).wait(),
    "positional": lambda Popen: Popen(SH, -1, None, None, PIPE, PIPE).communicate(),
    "positional too many": lambda Popen: Popen(SH, *range(40)),
    "positional and keyword": lambda Popen: Popen(SH, -1, bufsize=-1),
    "no command": lambda Popen: Popen(),
    "wrong keyword": lambda Popen: Popen(SH, chekc=True),
    "run's keyword": lambda Popen: Popen(SH, check=True),
    "not found": lambda Popen: Popen(["no-such-program-at-all"], stderr=PIPE, stdin=PIPE),
    "cwd not found": lambda Popen: Popen(["true"], cwd="/no/such"),
    "bad bufsize": lambda Popen: Popen(SH, bufsize=1.5),
    "line buffered": lambda Popen: popen_lines(Popen, bufsize=1),
    "attributes": popen_attributes,
    "poll": popen_poll,
    "wait timeout": popen_wait_timeout,
    "communicate": lambda Popen: Popen(SH, stdout=PIPE, stderr=PIPE).communicate(),
    "communicate text": lambda Popen: Popen(SH, stdout=PIPE, stderr=PIPE, text=True).communicate(),
    "communicate merged": lambda Popen: Popen(SH, stdout=PIPE, stderr=STDOUT).communicate(),
    "communicate nothing": lambda Popen: Popen(SH).communicate(),
    "communicate input": lambda Popen: Popen(["cat"], stdin=PIPE, stdout=PIPE).communicate(b"data"),
    "communicate large": lambda Popen: len(
        Popen(["cat"], stdin=PIPE, stdout=PIPE).communicate(b"x" * 1_000_000)[0]
    ),
    "communicate stdin only": popen_stdin_only,
    "communicate stdin closed": popen_stdin_closed,
    "communicate stdin closed with input": lambda Popen: popen_stdin_closed(Popen, b"data"),
    "communicate stdin closed with text": lambda Popen: popen_stdin_closed(Popen, "data", text=True),
    "communicate wrong input": popen_wrong_input,
    "communicate after timeout": popen_twice_after_timeout,
    "communicate text after timeout": lambda Popen: popen_twice_after_timeout(Popen, text=True),
    "communicate input twice": popen_input_twice,
    "communicate after readline": popen_read_then_communicate,
    "communicate after readline text": lambda Popen: popen_read_then_communicate(Popen, text=True),
    "read after timeout": popen_read_after_timeout,
    "kill and read": popen_kill_and_read,
    "lines": popen_lines,
    "lines text": lambda Popen: popen_lines(Popen, text=True),
    "lines universal": lambda Popen: popen_lines(Popen, universal_newlines=True),
    "lines encoding": lambda Popen: popen_lines(Popen, encoding="latin-1"),
    "lines unbuffered": lambda Popen: popen_lines(Popen, bufsize=0),
    "dialogue": popen_line_by_line,
    "selector": popen_selector,
    "pipeline": popen_pipeline,
    "pipeline merged": lambda Popen: Popen(["cat"], stdin=DEVNULL).wait(),
    "sigpipe through pipeline": popen_sigpipe,
    "backpressure": popen_backpressure,
    "signal after exit": popen_signal_after_exit,
    "del": popen_del,
    "context": popen_exit_context,
    "pipe closed by the caller": popen_close_then_exit,
    "status taken": popen_status_taken,
    "stopped": popen_stopped,
    "nobody waits": popen_nobody_waits,
    "non-blocking pipe": popen_nonblocking,
    "descriptors": lambda Popen: only_these_fds(lambda *a, **k: Popen(*a, **k).communicate(), stderr=PIPE),
    "stderr file": lambda Popen: to_file(lambda *a, **k: Popen(*a, **k).wait(), SH, stderr=FILE),
    "stderr tempfile": lambda Popen: to_tempfile(lambda *a, **k: Popen(*a, **k).wait(), SH),
    "stderr fd": lambda Popen: to_fd(lambda *a, **k: Popen(*a, **k).wait(), SH),
}


# -- asyncio --------------------------------------------------------------------------------------------------


async def aio_communicate(create, *args, data=None, **kwargs):
    proc = await create(*args, **kwargs)
    result = await proc.communicate(data)
    return result, proc.returncode, await proc.wait()


async def aio_streams(create):
    proc = await create(
        "sh", "-c", "while read x; do echo got $x >&2; done; exit 3", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    answers = []
    for word in (b"one\n", b"two\n"):
        proc.stdin.write(word)
        await proc.stdin.drain()
        answers.append(await proc.stderr.readline())
    proc.stdin.close()
    await proc.stdin.wait_closed()
    rest = await proc.stderr.read(), await proc.stdout.read()
    return answers, rest, await proc.wait(), proc.returncode


async def aio_iterate(create, **kwargs):
    proc = await create("sh", "-c", "for i in 1 2 3; do echo line $i >&2; done", stderr=PIPE, **kwargs)
    return [line async for line in proc.stderr], await proc.wait()


async def aio_signals(create):
    proc = await create("sleep", "30")
    running = proc.returncode
    proc.send_signal(signal.SIGTERM)
    code = await proc.wait()
    errors = []
    for call in (proc.terminate, proc.kill, lambda: proc.send_signal(signal.SIGTERM)):
        try:
            call()
        except ProcessLookupError as error:
            errors.append(repr(error))
    return running, code, errors


async def aio_wait_timeout(create):
    proc = await create("sleep", "30")
    try:
        await asyncio.wait_for(proc.wait(), 0.1)
    except asyncio.TimeoutError:
        seen = proc.returncode
    proc.kill()
    return seen, await proc.wait()


async def aio_big(create):
    proc = await create("sh", "-c", "head -c 3000000 /dev/zero >&2", stderr=PIPE, limit=1024)
    await asyncio.sleep(0.3)
    early = proc.returncode
    size = 0
    while data := await proc.stderr.read(100_000):
        size += len(data)
    return early, size, await proc.wait()


async def aio_overrun(create):
    proc = await create("sh", "-c", "head -c 300000 /dev/zero >&2", stderr=PIPE, limit=1024)
    try:
        await proc.stderr.readline()
    except ValueError as error:
        said = type(error).__name__, str(error)
    await proc.communicate()
    return said, proc.returncode


async def aio_attributes(create):
    proc = await create("cat", stdin=PIPE, stdout=PIPE)
    seen = (
        proc.pid > 0, proc.returncode, proc.stderr, type(proc.stdin).__name__, type(proc.stdout).__name__,
        isinstance(proc, asyncio.subprocess.Process), proc._transport.get_pid() == proc.pid,
        proc.stdin.get_extra_info("pipe") is not None, proc.stdout._transport is not None,
    )  # fmt: skip
    await proc.communicate(b"x")
    return seen, repr(proc).replace(str(proc.pid), "PID")


async def aio_broken_pipe(create):
    proc = await create("true", stdin=PIPE)
    await proc.wait()
    await asyncio.sleep(0.1)
    try:
        proc.stdin.write(b"x" * 1_000_000)
        await proc.stdin.drain()
    except (BrokenPipeError, ConnectionResetError) as error:
        return type(error).__name__ in ("BrokenPipeError", "ConnectionResetError"), await proc.communicate()
    return "no error"


async def aio_to_fd(create):
    read, write = os.pipe()
    proc = await create(*SH, stdout=PIPE, stderr=write)
    os.close(write)
    out, _ = await proc.communicate()
    data = os.read(read, 100)
    os.close(read)
    return out, data, proc.returncode


async def aio_wait_with_full_pipe(create):
    """wait() without reading: more than a pipe and the reader's buffer hold blocks the child, as ever."""
    proc = await create("sh", "-c", "head -c 50000 /dev/zero", stdout=PIPE)
    code = await proc.wait()
    return code, len(await proc.stdout.read())


ASYNC = {
    "plain": lambda create: aio_communicate(create, *SH),
    "capture": lambda create: aio_communicate(create, *SH, stdout=PIPE, stderr=PIPE),
    "merged": lambda create: aio_communicate(create, *SH, stdout=PIPE, stderr=STDOUT),
    "null": lambda create: aio_communicate(create, *SH, stdout=PIPE, stderr=DEVNULL),
    "input": lambda create: aio_communicate(create, "cat", stdin=PIPE, stdout=PIPE, data=b"data"),
    "input large": lambda create: aio_communicate(
        create, "wc", "-c", stdin=PIPE, stdout=PIPE, data=b"x" * 1_000_000
    ),
    "input not read": lambda create: aio_communicate(create, "true", stdin=PIPE, data=b"x" * 1_000_000),
    "streams": aio_streams,
    "iterate": aio_iterate,
    "iterate small limit": lambda create: aio_iterate(create, limit=64),
    "signals": aio_signals,
    "wait timeout": aio_wait_timeout,
    "backpressure": aio_big,
    "overrun": aio_overrun,
    "attributes": aio_attributes,
    "broken pipe": aio_broken_pipe,
    "stderr fd": aio_to_fd,
    "wait and then read": aio_wait_with_full_pipe,
    "cwd": lambda create: aio_communicate(create, "sh", "-c", "pwd >&2", cwd="/usr"),
    "env": lambda create: aio_communicate(create, "/bin/sh", "-c", "echo $A >&2", env={"A": "value"}),
    "start_new_session": lambda create: aio_communicate(create, *SH, start_new_session=True),
    "pathlike": lambda create: aio_communicate(create, Path(script()), "x"),
    "bytes": lambda create: aio_communicate(create, b"sh", b"-c", BOTH.encode()),
    "not found": lambda create: create("no-such-program-at-all"),
    "not found with pipes": lambda create: create(
        "no-such-program-at-all", stdin=PIPE, stdout=PIPE, stderr=PIPE
    ),
    "cwd not found": lambda create: create("true", cwd="/no/such"),
    "wrong keyword": lambda create: create("true", chekc=True),
    "shell True": lambda create: create("true", shell=True),
    "text": lambda create: create("true", text=True),
    "universal_newlines": lambda create: create("true", universal_newlines=True),
    "encoding": lambda create: create("true", encoding="utf-8"),
    "errors": lambda create: create("true", errors="strict"),
    "bufsize": lambda create: create("true", bufsize=1),
    "no program": lambda create: create(),
    "number": lambda create: create(1),
    "NUL": lambda create: create("echo", "a\0b"),
}
