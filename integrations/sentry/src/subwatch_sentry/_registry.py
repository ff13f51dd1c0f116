"""Which children an event is about, and what it gets from them: one event processor for the process.

Breadcrumbs of children are not put into scopes, where they would push out the application's own and where
tasks that share a scope would read each other's. They are added to an event when it is captured:

- to the event of a failed child, and to an exception that a child's failure raised, those of that child;
- to any other event, those of the children that were started in the same context (thread, task) under the
  same isolation scope; where there are none, of all children of that isolation scope.
"""

from __future__ import annotations

import os
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.scope import add_global_event_processor

from ._failure import by_the_caller, context, tags, title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from subwatch.records import Exit

    from ._stream import SentryStream

__all__ = ["HINT", "ended", "find", "remember"]

#: Key in the hint of an event that the sink itself captures; also for the user's ``before_send``.
HINT = "subwatch_exit"
# Of children that have ended so many are remembered: the last, for any event, and besides them failed ones,
# whose exceptions may be captured late.
_LAST, _FAILED = 128, 256

# By run id. Each access is one atomic operation, so there is no lock.
_children: dict[str, SentryStream] = {}
_ended: deque[SentryStream] = deque()
_failed: deque[SentryStream] = deque()
_here: ContextVar[tuple[str, ...]] = ContextVar("subwatch_sentry_runs", default=())


def remember(child: SentryStream) -> None:
    """Remember a child and that it was started in this context."""
    _here.set((*_here.get()[-31:], child.run.id))
    _children[child.run.id] = child


def ended(child: SentryStream) -> None:
    """Take note that a child has ended, and forget those that ended long before."""
    _ended.append(child)
    if len(_ended) <= _LAST:
        return
    older = _ended.popleft()
    older.isolation = None  # it holds all that a request or task has gathered
    if older.failed:
        _failed.append(older)
        if len(_failed) <= _FAILED:
            return
        older = _failed.popleft()
    _children.pop(older.run.id, None)


def find(run_id: str) -> SentryStream | None:
    """Return the child of a run, if it is remembered."""
    return _children.get(run_id)


def _forked() -> None:
    """In a forked child: what runs is the parent's; a lock before its last lines may never be released here."""
    for key, child in list(_children.items()):
        if child.running:
            del _children[key]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


def _nearby() -> list[SentryStream]:
    scope = sentry_sdk.get_isolation_scope()
    near = [child for child in list(_children.values()) if child.isolation is scope]
    here = _here.get()
    return [child for child in near if child.run.id in here] or near


@add_global_event_processor
def _process(event: Any, hint: Any) -> Any:
    if event.get("type") is not None:  # a transaction: it has no breadcrumbs
        return event
    own: Exit | None = hint.get(HINT)
    if own is not None:
        child = find(own.run.id)
        _add_crumbs(event, [] if child is None else [child])
        return event
    error = (hint.get("exc_info") or (None, None, None))[1]
    failures = list(_failures(error, set()))
    children = [child for _, record in failures if (child := find(record.run.id)) is not None]
    same = [find(record.run.id) for record in _same(error)]
    if same and all(child is not None and child.sent for child in same):
        return None  # captured already: by the sink, or by someone who handed the exception on
    _mask(event, failures, keep=any(child.sink.frame_details for child in children))
    if children:
        _enrich(event, hint, children[0], failures[0][1])
        if failures[0][0] is error and same and event.get("fingerprint") is None:  # not merely its cause
            event["fingerprint"] = children[0].fingerprint(failures[0][1])
        _add_crumbs(event, children)
        for child in filter(None, same):
            child.sent = True
    elif not failures:
        _add_crumbs(event, _nearby(), commands=True)
    return event


def _same(error: BaseException | None) -> list[Exit]:
    """The failures of children that an exception is: its own, or those of a group that has nothing else."""
    if isinstance(error, BaseExceptionGroup):
        members = [_same(member) for member in error.exceptions]
        return [record for records in members for record in records] if all(members) else []
    record = getattr(error, "subwatch_exit", None)
    return [record] if record is not None and record.failed and not by_the_caller(record) else []


def _failures(error: BaseException | None, seen: set[int]) -> Iterator[tuple[BaseException, Exit]]:
    """Exceptions raised because of a child, among this one, its causes and the members of its group."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    record = getattr(error, "subwatch_exit", None)
    if record is not None and record.failed:
        yield error, record
    for member in getattr(error, "exceptions", ()):
        yield from _failures(member, seen)
    yield from _failures(error.__cause__ or (None if error.__suppress_context__ else error.__context__), seen)


def _mask(event: Any, failures: list[tuple[BaseException, Exit]], *, keep: bool) -> None:
    """Say what happened instead of the command; drop what frames tell of commands and environments."""
    for value in (event.get("exception") or {}).get("values") or ():
        for error, record in failures:
            if by_the_caller(record):  # the exception says why, not the child
                continue
            if value.get("type") == type(error).__name__ and str(value.get("value")).startswith(str(error)):
                value["value"] = title(record)
        for frame in (value.get("stacktrace") or {}).get("frames") or ():
            ours = str(frame.get("module")).partition(".")[0] == "subwatch"
            if ours or (failures and not keep):
                for detail in ("vars", "pre_context", "context_line", "post_context"):
                    frame.pop(detail, None)


def _enrich(event: Any, hint: Any, child: SentryStream, exit: Exit) -> None:
    event["tags"] = {**tags(exit), **(event.get("tags") or {})}
    event.setdefault("contexts", {}).setdefault("subprocess", context(exit))
    hint["attachments"] = [*(hint.get("attachments") or ()), *child.attachments]


def _add_crumbs(event: Any, children: list[SentryStream], *, commands: bool = False) -> None:
    """Merge the children's breadcrumbs into the event's, which give way only as far as they must."""
    values = (event.get("breadcrumbs") or {}).get("values")
    if values is None or not children:
        return
    options = sentry_sdk.get_client().options
    limit = options.get("max_breadcrumbs", 100)
    room = max(limit - len(values), min(limit, max(child.sink.breadcrumbs for child in children)))
    crumbs: list[dict[str, Any]] = []
    for child in reversed(children):
        crumbs = [*child.crumbs(options, with_command=commands), *crumbs]
        if len(crumbs) >= room:
            break
    crumbs = crumbs[max(0, len(crumbs) - room) :]
    values[: max(0, len(values) + len(crumbs) - limit)] = []
    values += crumbs
    try:
        values.sort(key=lambda crumb: crumb["timestamp"])
    except (KeyError, TypeError):  # a timestamp of the application's that cannot be compared
        pass
