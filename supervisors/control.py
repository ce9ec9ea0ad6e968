"""What callers do with a supervisor: functions over its ref, and the values they get back.

Each function sends one message and returns a future: `get()` it from a thread, `await` it in an asyncio task.
None of them blocks the supervisor, which goes on restarting and stopping children meanwhile.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

from supervisors.errors import SupervisionError
from supervisors.future import Future
from supervisors.plan import ChildStatus
from supervisors.spec import ChildKind

if TYPE_CHECKING:
    from supervisors.ref import Ref
    from supervisors.tree import TreeNode

__all__ = [
    "ChildCounts",
    "ChildError",
    "ChildInfo",
    "CountChildren",
    "DeleteChild",
    "GetStatistics",
    "GetTree",
    "Refusal",
    "RestartChild",
    "StartChild",
    "SupervisorStatistics",
    "TerminateChild",
    "WhichChildren",
    "count_children",
    "delete_child",
    "restart_child",
    "start_child",
    "statistics",
    "terminate_child",
    "tree",
    "which_children",
]


class Refusal(StrEnum):
    """Why a supervisor refuses an operation on a child."""

    NOT_FOUND = "not_found"
    """It has no such child."""
    RUNNING = "running"
    """The child runs; terminate it first."""
    RESTARTING = "restarting"
    """The child is about to be restarted; terminate it to stop that."""
    ALREADY_STARTED = "already_started"
    """A child with this id runs."""
    ALREADY_PRESENT = "already_present"
    """A child with this id has ended and its spec is kept: restart or delete it."""
    MAX_CHILDREN = "max_children"
    """The supervisor has as many children as it may."""
    STOPPING = "stopping"
    """The supervisor is ending."""
    DYNAMIC = "dynamic"
    """A dynamic supervisor's children are known by their refs and have no specs of their own."""


class ChildError(SupervisionError):
    """A supervisor refused an operation and changed nothing.

    Attributes:
        refusal: Why.
        child_id: The child it was about.
        ref: The running child, if `refusal` is `ALREADY_STARTED`.
    """

    def __init__(self, refusal: Refusal, child_id: Any = None, ref: Ref[Any] | None = None) -> None:
        about = "" if child_id is None else f"child {child_id!r}: "
        super().__init__(f"{about}{refusal.value.replace('_', ' ')}")
        self.refusal = refusal
        self.child_id = child_id
        self.ref = ref


@frozen
class ChildInfo:
    """One child.

    Attributes:
        id: Its id; of a dynamic supervisor's child, None.
        ref: Its ref, or None if it does not run.
        status: Where it stands.
        kind: Worker or supervisor.
        restarts: How often it has been restarted.
    """

    id: Hashable
    ref: Any
    status: ChildStatus
    kind: ChildKind
    restarts: int


@frozen
class ChildCounts:
    """How many children a supervisor has.

    Attributes:
        specs: Child specs, dead or alive; 1 for a dynamic supervisor.
        active: Children that run.
        supervisors: Children that are supervisors, running or not.
        workers: All others, running or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@frozen
class SupervisorStatistics:
    """A supervisor at one moment.

    Attributes:
        active: Children that run or are stopping.
        restarting: Children that wait for their restart.
        waiting: Starts that wait: for a slot, or behind a group restart.
        started: Successful starts since the supervisor's own, restarts included.
        restarts: Successful restarts of them.
        failed_starts: Starts that raised.
        recent_restarts: Restarts counted in the window now.
        intensity: Restarts the window allows.
        period: Seconds the window spans.
    """

    active: int
    restarting: int
    waiting: int
    started: int
    restarts: int
    failed_starts: int
    recent_restarts: int
    intensity: int
    period: float


class StartChild(NamedTuple):
    """To a supervisor: start a child. Reply: its ref."""

    args: tuple[Any, ...]
    """A `ChildSpec`; for a dynamic supervisor the arguments that follow those of its template."""
    kwargs: Mapping[str, Any]
    """For a dynamic supervisor: keyword arguments on top of its template's."""


class TerminateChild(NamedTuple):
    """To a supervisor: stop a child and do not restart it. Reply, when it is gone: None."""

    child: Any
    """Its id; for a dynamic supervisor its ref."""


class RestartChild(NamedTuple):
    """To a supervisor: start a child that has ended. Reply: its new ref."""

    child_id: Hashable
    """Its id."""


class DeleteChild(NamedTuple):
    """To a supervisor: forget the spec of a child that has ended. Reply: None."""

    child_id: Hashable
    """Its id."""


class WhichChildren(NamedTuple):
    """To a supervisor. Reply: a tuple of `ChildInfo` in start order."""


class CountChildren(NamedTuple):
    """To a supervisor. Reply: `ChildCounts`."""


class GetStatistics(NamedTuple):
    """To a supervisor. Reply: `SupervisorStatistics`."""


class GetTree(NamedTuple):
    """To a supervisor. Reply: a `TreeNode`."""

    limit: int
    """Children to show of each actor; the rest are counted."""


def start_child(supervisor: Ref[Any], *args: Any, **kwargs: Any) -> Future[Ref[Any]]:
    """Start a child under a running supervisor.

    Args:
        supervisor: The supervisor's ref.
        args: A `ChildSpec`; for a `DynamicSupervisor` arguments added to those of its template.
        kwargs: For a `DynamicSupervisor`: keyword arguments added to those of its template.

    Returns:
        Future of the child's ref. It fails with `StartFailed`, `ChildError`, `SpecError`, or `Overloaded` if
        a slot is needed and too many wait for one.
    """
    return _call(supervisor, StartChild(args, kwargs))


def terminate_child(supervisor: Ref[Any], child: Any) -> Future[None]:
    """Stop a child; it is not restarted. Its spec is kept unless the child is temporary.

    Args:
        supervisor: The supervisor's ref.
        child: The child's id; for a `DynamicSupervisor` its ref.

    Returns:
        Future that is done when the child's life is over; it fails with `ChildError` if there is none.
    """
    return _call(supervisor, TerminateChild(child))


def restart_child(supervisor: Ref[Any], child_id: Hashable) -> Future[Ref[Any]]:
    """Start a child that has ended and whose spec is kept.

    Args:
        supervisor: The supervisor's ref.
        child_id: The child's id.

    Returns:
        Future of the new ref. It fails with `ChildError` or `StartFailed`.
    """
    return _call(supervisor, RestartChild(child_id))


def delete_child(supervisor: Ref[Any], child_id: Hashable) -> Future[None]:
    """Forget the spec of a child that has ended.

    Args:
        supervisor: The supervisor's ref.
        child_id: The child's id.

    Returns:
        Future of None. It fails with `ChildError`.
    """
    return _call(supervisor, DeleteChild(child_id))


def which_children(supervisor: Ref[Any]) -> Future[tuple[ChildInfo, ...]]:
    """List the children in start order."""
    return _call(supervisor, WhichChildren())


def count_children(supervisor: Ref[Any]) -> Future[ChildCounts]:
    """Count the children."""
    return _call(supervisor, CountChildren())


def statistics(supervisor: Ref[Any]) -> Future[SupervisorStatistics]:
    """Give the supervisor's numbers."""
    return _call(supervisor, GetStatistics())


def tree(supervisor: Ref[Any], limit: int = 20) -> Future[TreeNode]:
    """Give everything below a supervisor as a value that prints as a tree.

    Args:
        supervisor: The supervisor's ref.
        limit: Children to show of each actor; the rest are counted.
    """
    return _call(supervisor, GetTree(limit))


def _call(ref: Ref[Any], message: Any) -> Future[Any]:
    """Ask, and follow an answer that is itself a future: that is how a supervisor answers later."""
    asked: Future[Any] = ref.ask(message, block=False)
    result: Future[Any] = Future()
    result._driver = asked._driver

    def follow(done: Future[Any]) -> None:
        try:
            value = done.get()
        except BaseException:  # whatever the supervisor raised belongs to the asker
            result.set_exception()
            return
        if isinstance(value, Future):
            value.add_done_callback(follow)
        else:
            result.set(value)

    asked.add_done_callback(follow)
    return result
