"""Each peer, called as its own documentation says, behind one function per package.

A function here takes a command and what is asked for, and returns what the peer gives: nothing is added that the
peer does not do itself, and its options are set so that they serve the question best. ``None`` in a result means that the
peer does not tell. What a peer cannot be asked for raises ``Cannot``. Each is imported when it is called for, since only one
runs in a process.
"""

import asyncio
import logging
import shlex
import subprocess
from dataclasses import dataclass


class Cannot(Exception):
    """The peer has no way to ask for this."""


@dataclass
class Got:
    returncode: object = None
    stdout: object = None
    stderr: object = None


class Lines:
    """A text file of which every whole line goes to a function."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, on_line):
        self.on_line, self.rest = on_line, ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.on_line(line)
        return len(text)

    def flush(self):
        pass


class ToFunction(logging.Handler):
    """A log handler that calls a function with the last argument of each record: the line."""

    def __init__(self, on_line):
        super().__init__()
        self.on_line = on_line

    def emit(self, record):
        if record.args and record.msg == "%s: %s":
            self.on_line(record.args[-1])


def use_subprocess(cmd, on_line=None, timeout=None, check=False):
    if on_line:
        raise Cannot("it shows the output when the command has ended")
    done = subprocess.run(cmd, capture_output=True, timeout=timeout, check=check)
    return Got(done.returncode, done.stdout, done.stderr)


def by_hand(cmd, on_line, timeout=None, check=False):
    """What one writes with subprocess alone: one stream, a loop."""
    with subprocess.Popen(cmd, stderr=subprocess.PIPE, text=True, errors="replace") as proc:
        for line in proc.stderr:
            on_line(line)
    return Got(proc.returncode)


async def use_subprocess_async(cmd):
    proc = await asyncio.create_subprocess_exec(*cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await proc.communicate()
    return Got(proc.returncode, out, err)


def use_subwatch(cmd, on_line=None, timeout=None, check=False):
    import subwatch

    watched = {"on_line": lambda line: on_line(line.text)} if on_line else {}
    done = subwatch.run(cmd, capture_output=True, timeout=timeout, check=check, **watched)
    return Got(done.returncode, done.stdout, done.stderr)


async def use_subwatch_async(cmd):
    from subwatch import aio

    done = await aio.run(cmd, capture_output=True)
    return Got(done.returncode, done.stdout, done.stderr)


def use_sh(cmd, on_line=None, timeout=None, check=False):
    import sh

    options = {"_tty_out": False, "_return_cmd": True, "_timeout": timeout}
    if on_line:
        options |= {"_err": on_line, "_tee": "err", "_decode_errors": "replace"}
    sh.ErrorReturnCode.truncate_cap = 1_000_000
    if not check:
        options["_ok_code"] = range(256)
    done = sh.Command(cmd[0])(*cmd[1:], **options)
    return Got(done.exit_code, done.stdout, done.stderr)


async def use_sh_async(cmd):
    import sh

    done = sh.Command(cmd[0])(*cmd[1:], _tty_out=False, _return_cmd=True, _async=True)
    await done
    return Got(done.exit_code, done.stdout, done.stderr)


def use_plumbum(cmd, on_line=None, timeout=None, check=False):
    from plumbum import local

    command = local[cmd[0]][cmd[1:]]
    expected = 0 if check else None
    if not on_line:
        return Got(*command.run(retcode=expected, timeout=timeout))
    proc = command.popen()
    for _, err in proc.iter_lines(retcode=expected, timeout=timeout):
        if err is not None:
            on_line(err)
    return Got(proc.returncode)


def use_invoke(cmd, on_line=None, timeout=None, check=False):
    import invoke

    options = {"in_stream": False, "warn": not check, "timeout": timeout}
    if on_line:
        options |= {"err_stream": Lines(on_line), "hide": "out"}
    else:
        options["hide"] = True
    done = invoke.Context().run(shlex.join(cmd), **options)
    return Got(done.exited, done.stdout, done.stderr)


async def use_shellous_async(cmd, on_line=None, timeout=None, check=False):
    from shellous import sh

    command = sh(*cmd).set(timeout=timeout, error_limit=None)
    if on_line:
        async for line in command.stdout(sh.DEVNULL).stderr(sh.STDOUT):
            on_line(line)
        return Got()
    if check:
        return Got(0, await command)
    done = await command.result
    return Got(done.exit_code, done.output_bytes, done.error_bytes)


def use_shellous(cmd, on_line=None, timeout=None, check=False):
    async def main():  # what asyncio.run returns it also formats, which takes seconds for 80 MB
        box.append(await use_shellous_async(cmd, on_line, timeout, check))

    box = []
    asyncio.run(main())
    return box[0]


def use_subprocess_tee(cmd, on_line=None, timeout=None, check=False):
    import subprocess_tee

    if timeout:
        raise Cannot("it takes no time limit")  # the keyword is accepted and ignored
    options = {"stderr": Lines(on_line), "stdout": subprocess.DEVNULL} if on_line else {"quiet": True}
    done = subprocess_tee.run(cmd, check=check, **options)
    return Got(done.returncode, done.stdout, done.stderr)


def use_sarge(cmd, on_line=None, timeout=None, check=False):
    import sarge

    if check:
        raise Cannot("it has no check")
    out, err = sarge.Capture(), sarge.Capture()
    done = sarge.run(cmd, stdout=out, stderr=err, async_=bool(on_line or timeout))
    if on_line:
        done.wait_events()
        while (line := err.readline(timeout=0.1)) or err.streams_open():
            if line:
                on_line(line)
        for line in err.readlines():
            on_line(line)
    done.wait(timeout)
    return Got(done.returncode, out.bytes, err.bytes)


def use_command_runner(cmd, on_line=None, timeout=None, check=False):
    from command_runner import command_runner

    if check:
        raise Cannot("it has no check")
    options = {"stderr": on_line, "method": "poller"} if on_line else {}
    code, out, err = command_runner(cmd, split_streams=True, timeout=timeout, **options)
    return Got(code, out, err)


async def use_pglift_async(cmd, on_line=None, timeout=None, check=False):
    from pglift.system import cmd as pglift

    pglift.logger.handlers[:] = [ToFunction(on_line)] if on_line else []
    pglift.logger.setLevel(logging.DEBUG if on_line else logging.WARNING)
    pglift.logger.propagate = False
    done = await pglift.run(cmd, timeout=timeout, check=check)
    return Got(done.returncode, done.stdout, done.stderr)


def use_pglift(cmd, on_line=None, timeout=None, check=False):
    async def main():
        box.append(await use_pglift_async(cmd, on_line, timeout, check))

    box = []
    asyncio.run(main())
    return box[0]


# name in the table: distribution on PyPI, call, call on a loop
PEERS = {
    "subwatch": ("subwatch", use_subwatch, use_subwatch_async),
    "subprocess": (None, use_subprocess, use_subprocess_async),
    "sh": ("sh", use_sh, use_sh_async),
    "plumbum": ("plumbum", use_plumbum, None),
    "invoke": ("invoke", use_invoke, None),
    "shellous": ("shellous", use_shellous, use_shellous_async),
    "subprocess-tee": ("subprocess-tee", use_subprocess_tee, None),
    "sarge": ("sarge", use_sarge, None),
    "command_runner": ("command-runner", use_command_runner, None),
    "pglift": ("pglift", use_pglift, use_pglift_async),
}

# what a type checker is asked about: an expression that is an int
TYPES = {
    "subwatch": ("import subwatch", "subwatch.run(['true']).returncode"),
    "subprocess": ("import subprocess", "subprocess.run(['true']).returncode"),
    "sh": ("import sh", "sh.Command('true')(_return_cmd=True).exit_code"),
    "plumbum": ("from plumbum import local", "local['true'].run()[0]"),
    "invoke": ("import invoke", "invoke.Context().run('true').exited"),
    "shellous": ("from shellous import sh", "(await sh('true').result).exit_code"),
    "subprocess-tee": ("import subprocess_tee", "subprocess_tee.run(['true']).returncode"),
    "sarge": ("import sarge", "sarge.run('true').returncode"),
    "command_runner": ("from command_runner import command_runner", "command_runner('true')[0]"),
    "pglift": ("from pglift.system import cmd", "(await cmd.run(['true'])).returncode"),
}
