"""A failed child in Sentry's terms: title, fingerprint, tags, context, event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._limits import bounded, clean_tags, clip, when

if TYPE_CHECKING:
    from subwatch.records import Exit, Line, Run

__all__ = ["by_the_caller", "command", "context", "error_event", "fingerprint", "tags", "title"]

_CONTEXT_LINES = 10


def command(run: Run, size: int) -> str:
    """Return the redacted command as one string."""
    return clip(" ".join(run.argv), size)


def outcome(exit: Exit) -> str:
    """Return what happened as a short key, such as ``"exit:1"`` or ``"signal:SIGKILL"``."""
    if exit.reason == "spawn_failed":
        return f"spawn:{exit.error_type}"
    if exit.reason == "signaled":
        return f"signal:{exit.signal}"
    return f"exit:{exit.returncode}" if exit.reason == "exited" else exit.reason


def by_the_caller(exit: Exit) -> bool:
    """Whether the caller has interrupted or cancelled the child, and knows why it ended."""
    return exit.reason in ("interrupted", "cancelled")


def title(exit: Exit) -> str:
    """Return what happened and why, as far as the child's last line tells; never the command."""
    text = f"{exit.run.program} {exit.outcome}"
    why = exit.error or next(filter(None, map(_said, reversed(exit.tail))), None)
    return clip(f"{text}: {why}" if why else text, 500)


def _said(line: Line) -> str:
    fields = line.fields or {}
    return str(fields.get("message") or fields.get("msg") or line.text).strip()


def fingerprint(exit: Exit) -> list[str]:
    """Return what groups failures into one issue: the program and the way it ended."""
    return ["subwatch", clip(exit.run.program, 200), outcome(exit)]


def tags(exit: Exit) -> dict[str, str]:
    """Return what failures can be searched by."""
    return clean_tags(
        {
            **exit.run.tags,
            "subprocess.program": exit.run.program,
            "subprocess.reason": exit.reason,
            "subprocess.exit_code": exit.returncode,
            "subprocess.signal": exit.signal,
        }
    )


def context(exit: Exit) -> dict[str, Any]:
    """Return all about the run, in less than the 8 KiB that Relay leaves a context."""
    run = exit.run
    values: dict[str, Any] = {
        "program": clip(run.program, 200),
        "argv": bounded(run.argv, 500, 2500),
        "cwd": clip(run.cwd, 500),
        "host": run.host,
        "pid": exit.pid,
        "parent_pid": run.parent_pid,
        "run_id": run.id,
        "reason": exit.reason,
        "outcome": exit.outcome,
        "exit_code": exit.returncode,
        "signal": exit.signal,
        "error": exit.error and clip(exit.error, 500),
        "error_type": exit.error_type,
        "started": when(exit.start_ns).isoformat(),
        "duration": exit.duration,
        "lines": {stream: count for stream, count in exit.lines.items() if count},  # 0: nobody has counted
        "bytes": dict(exit.bytes),
        "dropped": dict(exit.dropped),
        "truncated": exit.truncated,
        "drained": exit.drained,
        "tail": [clip(line.text, 250) for line in exit.tail[-_CONTEXT_LINES:]],
    }
    if exit.usage is not None:
        values["usage"] = {
            "user": exit.usage.user,
            "system": exit.usage.system,
            "max_rss": exit.usage.max_rss,
        }
    if run.caller is not None:
        values["caller"] = f"{clip(run.caller.file, 300)}:{run.caller.line} in {run.caller.function}"
    return {key: value for key, value in values.items() if value is not None and value != {}}


def error_event(exit: Exit) -> dict[str, Any]:
    """Return the event of a failure that no exception tells of."""
    caller = exit.run.caller
    error: dict[str, Any] = {
        "type": "ProcessFailed",
        "value": title(exit),
        "mechanism": {"type": "subwatch", "handled": True},
    }
    if caller is not None:
        frame = {
            "abs_path": caller.file,
            "filename": caller.file.rpartition("/")[2],
            "function": caller.function,
        }
        error["stacktrace"] = {"frames": [{**frame, "lineno": caller.line, "in_app": True}]}
    return {
        "level": "error",
        "logger": "subwatch",
        "timestamp": when(exit.time_ns),
        "exception": {"values": [error]},
        "tags": tags(exit),
        "contexts": {"subprocess": context(exit)},
    }
