"""What type checkers are told of the arguments of the fronts; nothing here is imported at run time.

Of a call's arguments four decide between text and bytes. There is a set of keywords for each of them being
given, one for none, and one for when that cannot be told; the overloads of the fronts choose among these.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from os import PathLike
from subprocess import CompletedProcess  # noqa: TC003 - nothing here is imported at run time
from typing import IO, Any, Literal, Protocol, Required, TypeAlias, TypedDict, Unpack, overload

from ._options import CallOptions, Options
from ._popen import Popen  # noqa: TC001 - likewise

Path: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
Command: TypeAlias = Path | Sequence[Path]
Target: TypeAlias = int | IO[Any] | None
Bytes: TypeAlias = bytes | bytearray | memoryview

# -- arguments of Popen ---------------------------------------------------------------------------------


class _Spawn(TypedDict, total=False):
    executable: Path | None
    preexec_fn: Callable[[], Any] | None
    close_fds: bool
    cwd: Path | None
    env: Mapping[str, Path] | Mapping[bytes, Path] | None
    startupinfo: Any
    creationflags: int
    restore_signals: bool
    start_new_session: bool
    pass_fds: Collection[int]
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int
    pipesize: int
    process_group: int | None


class _Streams(TypedDict, total=False):
    shell: bool
    stdin: Target
    stdout: Target
    stderr: Target


class _Run(_Spawn, _Streams, CallOptions, total=False):
    capture_output: bool
    check: bool
    timeout: float | None


class _Popen(_Spawn, _Streams, CallOptions, total=False):
    pass


# -- text or bytes --------------------------------------------------------------------------------------


class _ByText(TypedDict, total=False):
    text: Required[Literal[True]]
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None


class _ByEncoding(TypedDict, total=False):
    text: bool | None
    encoding: Required[str]
    errors: str | None
    universal_newlines: bool | None


class _ByErrors(TypedDict, total=False):
    text: bool | None
    encoding: str | None
    errors: Required[str]
    universal_newlines: bool | None


class _ByNewlines(TypedDict, total=False):
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: Required[Literal[True]]


class _ByNothing(TypedDict, total=False):
    text: Literal[False] | None
    encoding: None
    errors: None
    universal_newlines: Literal[False] | None


class _Unknown(TypedDict, total=False):
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None


class _TextInput(TypedDict, total=False):
    input: str | None


class _BytesInput(TypedDict, total=False):
    input: Bytes | None


class _AnyInput(TypedDict, total=False):
    input: str | Bytes | None


# -- the sets of keywords -------------------------------------------------------------------------------


class RunText(_Run, _ByText, _TextInput):
    """Of `run` with ``text=True``."""


class RunEncoding(_Run, _ByEncoding, _TextInput):
    """Of `run` with an encoding."""


class RunErrors(_Run, _ByErrors, _TextInput):
    """Of `run` with an error handler for decoding."""


class RunNewlines(_Run, _ByNewlines, _TextInput):
    """Of `run` with ``universal_newlines=True``."""


class RunBytes(_Run, _ByNothing, _BytesInput):
    """Of `run` without any of these."""


class RunAny(_Run, _Unknown, _AnyInput):
    """Of `run` where it cannot be told."""


class PopenText(_Popen, _ByText):
    """Of `Popen` with ``text=True``."""


class PopenEncoding(_Popen, _ByEncoding):
    """Of `Popen` with an encoding."""


class PopenErrors(_Popen, _ByErrors):
    """Of `Popen` with an error handler for decoding."""


class PopenNewlines(_Popen, _ByNewlines):
    """Of `Popen` with ``universal_newlines=True``."""


class PopenBytes(_Popen, _ByNothing):
    """Of `Popen` without any of these."""


class PopenAny(_Popen, _Unknown):
    """Of `Popen` where it cannot be told."""


class _Asyncio(_Spawn, Options, total=False):
    universal_newlines: Literal[False] | None
    bufsize: Literal[0]
    encoding: None
    errors: None
    text: Literal[False] | None


class ShellOptions(_Asyncio, total=False):
    """Of `aio.create_subprocess_shell`."""

    shell: Literal[True]


class ExecOptions(_Asyncio, total=False):
    """Of `aio.create_subprocess_exec`."""

    shell: Literal[False]


# -- functions that come twice: of the module, and of a watch -------------------------------------------


class RunFunction(Protocol):
    """`run` as a method of a watch."""

    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunText]
    ) -> CompletedProcess[str]: ...
    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunEncoding]
    ) -> CompletedProcess[str]: ...
    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunErrors]
    ) -> CompletedProcess[str]: ...
    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunNewlines]
    ) -> CompletedProcess[str]: ...
    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunBytes]
    ) -> CompletedProcess[bytes]: ...
    @overload
    def __call__(
        self, args: Command, bufsize: int = -1, **kwargs: Unpack[RunAny]
    ) -> CompletedProcess[Any]: ...


class PopenFunction(Protocol):
    """`Popen` as a method of a watch."""

    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenText]) -> Popen[str]: ...
    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenEncoding]) -> Popen[str]: ...
    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenErrors]) -> Popen[str]: ...
    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenNewlines]) -> Popen[str]: ...
    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenBytes]) -> Popen[bytes]: ...
    @overload
    def __call__(self, args: Command, bufsize: int = -1, **kwargs: Unpack[PopenAny]) -> Popen[Any]: ...
