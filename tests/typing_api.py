"""What type checkers see of the fronts; mypy and pyright check it (`tox run -e types`), nobody runs it.

Each ``type: ignore`` is a call that has to be refused: where it is not, the unused comment is the error.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any, assert_type

import subwatch
from subwatch import aio
from subwatch.records import Exit, Line, Start
from subwatch.sinks import Background, Sink


def results(decide: bool) -> None:
    cmd = ["pg_basebackup", "-v"]
    assert_type(subwatch.run(cmd), CompletedProcess[bytes])
    assert_type(subwatch.run(cmd, text=True), CompletedProcess[str])
    assert_type(subwatch.run(cmd, universal_newlines=True), CompletedProcess[str])
    assert_type(subwatch.run(cmd, encoding="utf-8"), CompletedProcess[str])
    assert_type(subwatch.run(cmd, errors="replace"), CompletedProcess[str])
    assert_type(subwatch.run(cmd, text=False, encoding=None), CompletedProcess[bytes])
    assert_type(subwatch.run(cmd, text=decide), CompletedProcess[Any])
    assert_type(subwatch.run(cmd, text=True, input="x", capture_output=True), CompletedProcess[str])
    assert_type(subwatch.run(cmd, input=b"x", check=True, timeout=3), CompletedProcess[bytes])
    assert_type(subwatch.run("ls | wc", 0, shell=True, stdin=None), CompletedProcess[bytes])
    assert_type(subwatch.run(Path("script")), CompletedProcess[bytes])
    assert_type(subwatch.run((b"cp", Path("a"), "b")), CompletedProcess[bytes])


def arguments() -> None:
    subwatch.run(
        ["true"],
        cwd=Path(),
        env={"A": "b"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(3,),
        start_new_session=True,
        process_group=0,
        umask=0o77,
        user="nobody",
        preexec_fn=print,
    )
    subwatch.run(
        ["true"],
        watch=subwatch.Watch(),
        sinks=["logging", subwatch.sink("loki", url="http://127.0.0.1:3100"), print],
        tags={"cluster": "main"},
        redact=["hunter2"],
        stop_on=lambda line: "ready" in line.text,
        on_line=lambda line: print(line.number),
        on_error="raise",
        grace=1,
        tree=True,
        idle_timeout=None,
        tail=3,
        levels=[("^oops", 30)],
        pty=False,
    )


def mistakes() -> None:
    subwatch.run(["true"], idle_timout=3)  # type: ignore[call-overload]
    subwatch.run(["true"], on_error="ignore")  # type: ignore[call-overload]
    subwatch.run()  # type: ignore[call-overload]
    subwatch.Popen(["true"], grce=3)  # type: ignore[call-overload]
    subwatch.Popen(["true"], check=True)  # type: ignore[call-overload]
    subwatch.Watch(tgas={})  # type: ignore[call-arg]
    subwatch.Watch().run(["true"], chek=True)  # type: ignore[call-overload]
    subwatch.configure(sink=[])  # type: ignore[call-arg]


def children(decide: bool) -> None:
    with subwatch.Popen(["postgres"], text=True, stdout=subprocess.PIPE) as server:
        assert_type(server, subwatch.Popen[str])
        assert_type(server.stdin, IO[str] | None)
        assert_type(server.stdout, IO[str] | None)
        assert_type(server.stderr, IO[str] | None)
        for record in server.records():
            assert_type(record, Start | Line | Exit)
    assert_type(subwatch.Popen(["true"], 0), subwatch.Popen[bytes])
    assert_type(subwatch.Popen(["true"], encoding="utf-8", tags={}), subwatch.Popen[str])
    assert_type(subwatch.Popen(["true"], errors="ignore"), subwatch.Popen[str])
    assert_type(subwatch.Popen(["true"], universal_newlines=True), subwatch.Popen[str])
    assert_type(subwatch.Popen(["true"], text=decide), subwatch.Popen[Any])
    stands_in: subprocess.Popen[bytes] = subwatch.Popen(["true"])
    assert_type(stands_in.wait(), int)


def watches(watch: subwatch.Watch) -> None:
    assert_type(watch.run(["true"]), CompletedProcess[bytes])
    assert_type(watch.run(["true"], text=True, tags={}), CompletedProcess[str])
    assert_type(watch.Popen(["true"]), subwatch.Popen[bytes])
    assert_type(watch.Popen(["true"], encoding="utf-8"), subwatch.Popen[str])
    assert_type(watch.replace(grace=3), subwatch.Watch)


async def on_a_loop(decide: bool) -> None:
    assert_type(await aio.run(["true"]), CompletedProcess[bytes])
    assert_type(await aio.run(["true"], text=True, timeout=3), CompletedProcess[str])
    assert_type(await aio.run(["true"], text=decide), CompletedProcess[Any])
    await aio.run(["true"], idle_timout=3)  # type: ignore[call-overload]
    server = await aio.create_subprocess_exec("sh", "-c", "true", stdout=subprocess.PIPE, tags={}, cwd="/")
    assert_type(server, aio.Process)
    stands_in: asyncio.subprocess.Process = server
    assert_type(await stands_in.wait(), int)
    async for record in server.records():
        assert_type(record, Start | Line | Exit)
    assert_type(await aio.create_subprocess_shell("true", tree=True, watch=subwatch.Watch()), aio.Process)
    await aio.create_subprocess_exec("true", text=True)  # type: ignore[arg-type]
    await aio.create_subprocess_exec("true", tre=True)  # type: ignore[call-arg]
    await aio.create_subprocess_shell("true", shell=False)  # type: ignore[arg-type]
    assert_type(await aio.run(["true"], encoding="utf-8"), CompletedProcess[str])
    assert_type(await aio.run(["true"], errors="replace"), CompletedProcess[str])
    assert_type(await aio.run(["true"], universal_newlines=True), CompletedProcess[str])


def mixed_up() -> None:
    subwatch.run(["true"], input=3)  # type: ignore[call-overload]
    subwatch.Popen(["true"], text=True, input="x")  # type: ignore[call-overload]
    subwatch.Watch(watch=subwatch.Watch())  # type: ignore[call-arg]


def records(line: Line, exit: Exit, lines: subwatch.Lines) -> None:
    assert_type(line.text, str)
    assert_type(line.level, int)
    assert_type(line.progress, subwatch.Progress | None)
    assert_type(line.fields, Mapping[str, Any] | None)
    assert_type([each for each in lines], list[Line])
    assert_type(lines.texts, list[str])
    assert_type(lines.flags, list[int])
    assert_type(exit.returncode, int | None)
    assert_type(exit.usage, subwatch.Usage | None)
    assert_type(exit.tail, Sequence[Line])
    assert_type(exit.run.tail(), Sequence[Line])
    assert_type(exit.run.tail(3), Sequence[Line])


class OwnStream:
    def emit(self, records: Start | subwatch.Lines | Exit, /) -> None: ...
    def close(self) -> None: ...


class OwnSink:
    """The least that a sink is."""

    def open(self, run: subwatch.Run, /) -> OwnStream:
        return OwnStream()

    def close(self, timeout: float, /) -> int | None:
        return None


def own_sinks() -> None:
    sink: Sink = OwnSink()
    wrapped: Sink = Background(OwnSink(), capacity=1000, policy="block", patience=1.0)
    subwatch.run(["true"], sinks=[sink, wrapped, OwnSink(), print])
    subwatch.add_sink(OwnSink())
    subwatch.add_sink("logging")  # type: ignore[arg-type]
    Background(OwnSink(), policy="spill")  # type: ignore[arg-type]


def observed(watch: subwatch.Watch) -> None:
    seen = watch.observe(["true"], streams=["stderr"], env={"A": "b"}, tags={"c": "d"})
    assert_type(seen, subwatch.Observation)
    assert_type(seen.env, Mapping[str, str] | None)
    seen.started(1)
    seen.data("stderr", b"hello\n")
    seen.exited(0)


def mapped(watch: subwatch.Watch, executor: Executor) -> None:
    for result in watch.map(
        [["true"], {"args": "exit 3", "shell": True}], executor=executor, records="caller"
    ):
        assert_type(result, subwatch.MapResult)
    watch.map([["true"]], records="nobody")  # type: ignore[arg-type]
