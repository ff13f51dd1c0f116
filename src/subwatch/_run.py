"""`run`, in the caller's thread."""

from __future__ import annotations

import subprocess
import time

from ._captured import Talk, feed_or_kill
from ._default import default_watch
from ._options import split
from ._outcome import outcome
from ._spawn import Child, by_name
from ._veil import forgets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import CompletedProcess
    from typing import Any, Unpack, overload

    from ._channel import Feed
    from ._ending import Ending
    from ._monitor import Monitor
    from ._typing import Command, RunAny, RunBytes, RunEncoding, RunErrors, RunNewlines, RunText
    from ._watch import Watch

__all__ = ["begin", "run"]


if TYPE_CHECKING:

    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunText]) -> CompletedProcess[str]: ...
    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunEncoding]) -> CompletedProcess[str]: ...
    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunErrors]) -> CompletedProcess[str]: ...
    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunNewlines]) -> CompletedProcess[str]: ...
    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunBytes]) -> CompletedProcess[bytes]: ...
    @overload
    def run(args: Command, bufsize: int = -1, **kwargs: Unpack[RunAny]) -> CompletedProcess[Any]: ...


@forgets
def run(
    *popenargs: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    watch: Watch | None = None,
    **kwargs: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a command as :func:`subprocess.run` does, and say live what it says.

    Every argument of :func:`subprocess.run` is accepted, positionally too. The lines of its stderr go to
    the sinks wherever stderr leads: to ours (None), to the result (PIPE, `capture_output`), to a file, to
    stdout (STDOUT: both are then watched as one stream) or nowhere (DEVNULL).

    Args:
        popenargs: The command, and positional arguments of :class:`subprocess.Popen`.
        input: Data for the child's stdin.
        capture_output: Return output and error output in the result.
        timeout: Seconds after which the child is ended.
        check: Raise CalledProcessError on a non-zero exit status.
        watch: Options to start from; by default those of `subwatch.configure`.
        kwargs: Arguments of :class:`subprocess.Popen`, and these:

    Keyword Args:
        sinks: Where the records go: names, `subwatch.sink`, sink objects, callables that take a record.
        tags: Labels that every record carries.
        redact: Further secrets to mask, or a function from text to text that masks them.
        watch_stdout: Watch the lines of stdout too.
        record_encoding: Encoding of the records' text; by default `encoding`, else UTF-8.
        grace: Seconds between SIGTERM and SIGKILL when the child is to be ended; 0 kills at once.
        tree: Start the child in a session of its own, and end all of its process group with it.
        idle_timeout: Seconds without any output after which the child is ended.
        stop_on: A regular expression, which gets the first 4,096 characters of a line, or a function of `Line`;
            where it matches, the child is ended.
        on_line: A function that is called with each `Line`.
        on_error: ``"report"`` says on the logger ``subwatch`` that `on_line` raised and goes on without
            it; ``"raise"`` ends the child and raises the error.
        drain: Seconds to wait for the end of captured streams that another process keeps open after the
            child's own end.
        pty: Give the child a pseudo-terminal as stderr; None does where it would have had a terminal.
        tail: Number of last lines in the exit record and in the note of an exception.
        levels: Level rules: a function from text to level or None, or a list of (pattern, level).
        default_level: Level of a line that says nothing about it.
        ceiling: Highest level of a line; whether something failed is for the exit status to say.
        recognizers: Progress recognisers, before the built-in ones.
        max_line: Size limit of a record in bytes; a longer line goes on in the next.
        partial_delay: Seconds after which an unfinished line, such as a prompt, is shown as it is.
        flush_timeout: Seconds that the sinks may take to deliver at the end.

    Returns:
        A `subprocess.CompletedProcess`, as the standard library makes it; its attribute ``subwatch_exit`` is the
        exit record, with duration and usage.

    Raises:
        subprocess.CalledProcessError: `check` is true and the exit status is not 0. The last lines of
            stderr are a note of the exception (PEP 678).
        subprocess.TimeoutExpired: `timeout` or `idle_timeout` is over and the child was ended.
        OSError: The child could not be started.
        subwatch.errors.SubwatchError: An option or a sink is wrong; nothing was started.

    Differences from :func:`subprocess.run`, all on purpose:

    - When another process keeps a captured pipe open after the child's end, this returns after `drain`
      seconds, and goes on reading in the background: what comes is marked ``late``.
    - A child whose time is over gets SIGTERM, and SIGKILL `grace` seconds later (``grace=0``: at once).
    - ``TimeoutExpired`` holds text where text was asked for (bpo-87597).
    - Exceptions carry a note, and secrets in the command are masked where an exception or the result
      shows it; ``.cmd`` and ``.args`` still equal the command.
    - stderr reaches its place by way of this process: two streams that go to the same place may be
      interleaved differently than without, by less than a millisecond; ``stderr=STDOUT`` keeps the order.
      When that place fails (a full disk), the logger ``subwatch`` is told, and not the child.
    - A child that outlives this process goes on writing to that place by way of a ``cat``, started at the
      interpreter's end. Where this process is killed (by SIGKILL, or a SIGTERM that it does not handle) or
      replaced (``os.exec``), there is none, and the child's next word to stderr fails with EPIPE.
    """
    begun = begin(popenargs, kwargs, input, capture_output, timeout, check, watch)
    child, monitor, ending, feed, wrong = begun
    talk = Talk(child, child.channels, monitor, ending, feed)
    try:
        try:
            talk.run()
        except BaseException:
            _interrupt(talk, ending)
            raise
        finally:
            _conclude(talk, monitor)
    except BaseException as error:
        talk.close()
        monitor.mark(error)
        raise
    return outcome(child, monitor, ending, talk, timeout=timeout, check=check, wrong=wrong)


def begin(
    popenargs: tuple[Any, ...],
    kwargs: dict[str, Any],
    input: Any,
    capture_output: bool,
    timeout: float | None,
    check: bool,
    watch: Watch | None,
) -> tuple[Child[Any], Monitor, Ending, Feed | None, Exception | None]:
    """Check the arguments of a `run` as :func:`subprocess.run` does, with its words, and start the child.

    Returns:
        The child, what watches it, when to end it, what to feed it with, and what is wrong with `input`, if
        something is: it was killed then.

    Raises:
        ValueError: The arguments contradict each other.
    """
    if input is not None:
        if kwargs.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        kwargs["stdin"] = subprocess.PIPE
    if capture_output:
        if kwargs.get("stdout") is not None or kwargs.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        kwargs["stdout"] = kwargs["stderr"] = subprocess.PIPE
    options = split(kwargs)
    keywords = by_name(popenargs, kwargs)
    deadline = None if timeout is None else time.monotonic() + timeout
    monitor, ending = (watch or default_watch())._prepare(options, keywords, raises=check)
    child: Child[Any] = Child(keywords, monitor, direct=True)
    ending.deadline = deadline
    return child, monitor, ending, *feed_or_kill(child, input)


def _interrupt(talk: Talk, ending: Ending) -> None:
    """End the child after a Ctrl-C; a second one makes short work of it."""
    ending.begin("interrupted", time.monotonic())
    while True:
        try:
            talk.drive.tick()
            talk.run()
            return
        except KeyboardInterrupt:
            ending.hurry(time.monotonic())


def _conclude(talk: Talk, monitor: Monitor) -> None:
    """Let the sinks deliver; a stream that goes on in the background closes them at its end."""
    try:
        if monitor.must_wait:
            monitor.flush()
    finally:
        if not talk.drive.open_channels:
            monitor.close()
