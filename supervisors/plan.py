"""What a supervisor does about one ended child, decided without doing anything.

1. Children are given in start order, as a mapping; a plan stops in reverse and starts forward.
2. A temporary child never comes back: once ended or stopped, its spec is gone.
3. A restart is counted before it is tried, and each failed try counts as one more.

The shell asks `after_exit` when a child ended of its own accord and `restart` when a failed start is tried
again. It then performs the `Plan`: stop, forget, start, or leave.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import StrEnum
from typing import Protocol, TypeAlias

from attrs import frozen

from supervisors.exits import ExitReason, is_abnormal
from supervisors.intensity import RestartWindow
from supervisors.spec import AutoShutdown, ChildSpec, Restart, Strategy, SupervisorFlags

__all__ = [
    "ChildStatus",
    "ChildView",
    "Children",
    "Departure",
    "Plan",
    "after_exit",
    "bring_back",
    "is_clean_stop",
    "restart",
    "stop_order",
    "wants_restart",
]


class ChildStatus(StrEnum):
    """Where a child stands with its supervisor."""

    RUNNING = "running"
    RESTARTING = "restarting"
    """Its start failed or waits out a back-off; it will be tried again."""
    STOPPING = "stopping"
    """Told to stop; its exit is awaited."""
    STOPPED = "stopped"
    """Ended for good, or not started yet; the spec is kept."""


class ChildView(Protocol):
    """What a plan reads of a child."""

    @property
    def spec(self) -> ChildSpec:
        """Its spec."""

    @property
    def status(self) -> ChildStatus:
        """Its status now."""


Children: TypeAlias = Mapping[Hashable, ChildView]
"""The children of one supervisor by id, in start order."""


class Departure(StrEnum):
    """Why a supervisor ends by its own decision."""

    MAX_INTENSITY = "reached_max_restart_intensity"
    AUTO_SHUTDOWN = "auto_shutdown"


@frozen
class Plan:
    """What to do about one exit.

    Attributes:
        stop: Running children to stop, one after the other, in this order.
        forget: Children whose specs are gone once they have stopped.
        start: Children to start then, in this order; the first that fails ends the list and is tried again.
        leave: Set when the supervisor itself must go; the rest is empty then but for `forget`.
    """

    stop: tuple[Hashable, ...] = ()
    forget: tuple[Hashable, ...] = ()
    start: tuple[Hashable, ...] = ()
    leave: Departure | None = None


def wants_restart(spec: ChildSpec, reason: ExitReason) -> bool:
    """Tell whether a child with this spec comes back after this end.

    Args:
        spec: The child's spec.
        reason: How it ended.
    """
    match spec.restart:
        case Restart.PERMANENT:
            return True
        case Restart.TRANSIENT:
            return is_abnormal(reason)
        case Restart.TEMPORARY:
            return False


def after_exit(
    children: Children,
    child_id: Hashable,
    reason: ExitReason,
    flags: SupervisorFlags,
    *,
    window: RestartWindow,
    now: float,
) -> Plan:
    """Decide about a child that ended without having been told to by its supervisor.

    Args:
        children: All children, the ended one included with the status it had.
        child_id: The ended one.
        reason: How it ended.
        flags: The supervisor's flags.
        window: Its restart window; a restart is recorded in it.
        now: Monotonic seconds.
    """
    spec = children[child_id].spec
    if wants_restart(spec, reason):
        return restart(children, child_id, flags, window=window, now=now)
    forget = (child_id,) if spec.restart is Restart.TEMPORARY else ()
    leave = Departure.AUTO_SHUTDOWN if _ends_the_supervisor(children, child_id, flags) else None
    return Plan(forget=forget, leave=leave)


def restart(
    children: Children,
    child_id: Hashable,
    flags: SupervisorFlags,
    *,
    window: RestartWindow,
    now: float,
) -> Plan:
    """Decide how to bring a child back: at once after its end, or again after a start that failed.

    Args:
        children: All children.
        child_id: The one to bring back; neither it nor a stopped sibling is stopped again.
        flags: The supervisor's flags.
        window: Its restart window; this try is recorded in it.
        now: Monotonic seconds.
    """
    if window.record(now):
        return Plan(leave=Departure.MAX_INTENSITY)
    return bring_back(children, child_id, flags.strategy)


def bring_back(children: Children, child_id: Hashable, strategy: Strategy) -> Plan:
    """Give the stops and starts of a restart that has been counted already, as after a back-off.

    Args:
        children: All children.
        child_id: The one to bring back; neither it nor a stopped sibling is stopped again.
        strategy: Whom it takes along.
    """
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return Plan(start=(child_id,))
        case Strategy.ONE_FOR_ALL:
            return _restart_group(children, tuple(children), child_id)
        case Strategy.REST_FOR_ONE:
            ids = tuple(children)
            return _restart_group(children, ids[ids.index(child_id) :], child_id)


def stop_order(children: Children) -> tuple[Hashable, ...]:
    """Give the ids to stop when the supervisor itself ends: what runs, last started first.

    Args:
        children: All children, in start order.
    """
    return tuple(child_id for child_id in reversed(tuple(children)) if _is_live(children[child_id]))


def is_clean_stop(spec: ChildSpec, reason: ExitReason, wanted: ExitReason) -> bool:
    """Tell whether a child that was told to stop ended as it should; other ends are reported.

    Args:
        spec: The child's spec.
        reason: How it ended.
        wanted: How it was told to end: `Shutdown`, or `Killed` for a brutal kill.

    Returns:
        True for the wanted end, and for any normal or ordered end of a child that is not permanent.
    """
    if reason == wanted:
        return True
    return spec.restart is not Restart.PERMANENT and not is_abnormal(reason)


def _restart_group(children: Children, group: tuple[Hashable, ...], child_id: Hashable) -> Plan:
    """Stop the live part of the group, then start all of it that is not temporary.

    Members that had ended for good start again too: the group is brought back as it was specified.
    """
    stop = tuple(member for member in reversed(group) if member != child_id and _is_live(children[member]))
    temporary = tuple(member for member in group if children[member].spec.restart is Restart.TEMPORARY)
    gone = frozenset(temporary)
    return Plan(stop=stop, forget=temporary, start=tuple(member for member in group if member not in gone))


def _is_live(child: ChildView) -> bool:
    return child.status in (ChildStatus.RUNNING, ChildStatus.STOPPING)


def _ends_the_supervisor(children: Children, child_id: Hashable, flags: SupervisorFlags) -> bool:
    if not children[child_id].spec.significant:
        return False
    match flags.auto_shutdown:
        case AutoShutdown.NEVER:
            return False
        case AutoShutdown.ANY_SIGNIFICANT:
            return True
        case AutoShutdown.ALL_SIGNIFICANT:
            # One that waits for its restart still counts: it is coming back.
            return not any(
                child.spec.significant and child.status is not ChildStatus.STOPPED
                for other, child in children.items()
                if other != child_id
            )
