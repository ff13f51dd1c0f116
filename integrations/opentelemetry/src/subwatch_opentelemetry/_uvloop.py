"""Children that uvloop starts by itself, past `subprocess.Popen`.

``uvloop.Loop`` is an empty subclass of the compiled loop, so its two methods that start children can be put before
the compiled ones. The transport tells the exit code by the future that :mod:`asyncio.subprocess` waits for as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._observer import Observer


def instrument(loop_class: Any, observer: Observer) -> None:
    """Trace the children of a loop.

    Args:
        loop_class: ``uvloop.Loop``.
        observer: What traces them.
    """
    if _ours(loop_class, "subprocess_exec"):
        return  # the import of uvloop was awaited more than once
    exec_, shell = loop_class.subprocess_exec, loop_class.subprocess_shell

    async def subprocess_exec(loop: Any, factory: Any, program: Any, *args: Any, **options: Any) -> Any:
        return await _start(observer, exec_, (loop, factory, program, *args), [program, *args], options)

    async def subprocess_shell(loop: Any, factory: Any, cmd: Any, **options: Any) -> Any:
        return await _start(observer, shell, (loop, factory, cmd), cmd, {"shell": True} | options)

    loop_class.subprocess_exec, loop_class.subprocess_shell = subprocess_exec, subprocess_shell


def uninstrument(loop_class: Any) -> None:
    """Restore a loop."""
    for name in ("subprocess_exec", "subprocess_shell"):
        if _ours(loop_class, name):
            delattr(loop_class, name)


def _ours(loop_class: Any, name: str) -> bool:
    return getattr(vars(loop_class).get(name), "__module__", None) == __name__


async def _start(
    observer: Observer, start: Any, arguments: tuple[Any, ...], command: Any, options: dict[str, Any]
) -> Any:
    child = observer.child({"args": command, **options})
    if child is None:
        return await start(*arguments, **options)
    if child.env is not None:
        options["env"] = child.env
    try:
        transport, protocol = await start(*arguments, **options)
    except BaseException as error:
        child.spawn_failed(error)
        raise
    child.started(transport.get_pid())
    transport._wait().add_done_callback(
        lambda ended: child.ended(None if ended.cancelled() else ended.result())
    )
    return transport, protocol
