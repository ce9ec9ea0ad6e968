"""What a supervisor keeps about one child over all its lives, and about a group restart under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisors.control import ChildCounts, ChildInfo
from supervisors.exits import ExitReason
from supervisors.plan import ChildStatus, Plan
from supervisors.spec import ChildKind, ChildSpec
from supervisors.timers import Timer
from supervisors.tree import TreeNode, walk

if TYPE_CHECKING:
    from supervisors.ref import Ref

__all__ = ["BringBack", "Child", "Job", "StopOverdue", "TryAgain", "count"]


class Child:
    """One child over all its lives."""

    __slots__ = (
        "attempts",
        "ended",
        "last_exit",
        "ref",
        "restarts",
        "spec",
        "started_at",
        "status",
        "timer",
        "token",
        "waiters",
    )

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.status = ChildStatus.STOPPED
        self.ref: Ref[Any] | None = None
        self.restarts = 0
        self.attempts = 0  # restarts in a row, for the back-off
        self.started_at = 0.0
        self.last_exit: ExitReason | None = None
        # Set while a group restart makes the news of this child's end wait.
        self.ended: ExitReason | None = None
        self.timer: Timer | None = None  # back-off while restarting, shutdown time while stopping
        self.token = (
            0  # tells a message about an earlier state of this child from one about its present state
        )
        self.waiters: list[Callable[[], object]] = []

    def move(self, status: ChildStatus) -> None:
        """Change the status; what was on its way for the old one is void."""
        self.status = status
        self.token += 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def info(self) -> ChildInfo:
        """Describe the child to a caller."""
        return ChildInfo(self.spec.id, self.ref, self.status, self.spec.kind, self.restarts)

    def node(self, limit: int) -> TreeNode:
        """Describe the child and all below it."""
        label, known = str(self.spec.id), {"status": self.status, "restarts": self.restarts}
        if self.ref is None:
            actor = self.spec.actor_class.__name__
            return TreeNode(label, actor, self.status, self.restarts, None, self.last_exit)
        return walk(self.ref, limit, label, last_exit=self.last_exit, **known)


class Job:
    """A group restart, or the final stop of all: what is left to do of it."""

    __slots__ = ("cause", "delay", "forget", "start", "stop")

    def __init__(self, plan: Plan, cause: Child | None, delay: float) -> None:
        self.stop = deque(plan.stop)
        self.forget = plan.forget
        self.start = plan.start
        self.cause = cause
        self.delay = delay


class StopOverdue(NamedTuple):
    """From a supervisor to itself: the shutdown time of a child is over."""

    child: Child
    token: int


class TryAgain(NamedTuple):
    """From a supervisor to itself: try a start again that failed."""

    child: Child
    token: int


class BringBack(NamedTuple):
    """From a supervisor to itself: the back-off of a child is over."""

    child: Child
    token: int


def count(children: Collection[Child]) -> ChildCounts:
    """Count children as OTP does: all specs by kind, and of these the ones that live."""
    supervisors = sum(child.spec.kind is ChildKind.SUPERVISOR for child in children)
    active = sum(child.ref is not None and child.ref.is_alive() for child in children)
    return ChildCounts(len(children), active, supervisors, len(children) - supervisors)
