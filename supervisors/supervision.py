"""What static and dynamic supervisors share: launching, promised replies, reports, ends of children."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from pykka import ActorDeadError

from supervisors.actor import Actor
from supervisors.control import (
    ChildCounts,
    ChildError,
    ChildInfo,
    CountChildren,
    GetStatistics,
    GetTree,
    Refusal,
    SupervisorStatistics,
    WhichChildren,
)
from supervisors.errors import StartFailed
from supervisors.exits import KILLED, SHUTDOWN, Abandoned, Crashed, ExitReason, Shutdown, error_text
from supervisors.future import Future
from supervisors.intensity import RestartWindow
from supervisors.life import DEAD, RUNNING
from supervisors.plan import Departure, is_clean_stop
from supervisors.reports import (
    AutoShutdownReached,
    ChildAbandoned,
    IntensityReached,
    OddShutdown,
    Report,
    ReportHook,
    UnexpectedMessage,
    emit,
)
from supervisors.spec import BRUTAL_KILL, ChildSpec, ShutdownTime, SupervisorFlags
from supervisors.tree import TreeNode, walk

if TYPE_CHECKING:
    from types import TracebackType

    from supervisors.ref import Ref

__all__ = ["Launch", "OddEnds", "SupervisingActor"]


class Launch(NamedTuple):
    """How the start of a child went."""

    ref: Ref[Any] | None
    """The new life, or None if there is none."""
    error: Exception | None
    """Why there is none."""
    residue: Ref[Any] | None
    """What the failed start left behind and is still ending, if anything."""


class SupervisingActor(Actor):
    """Base of supervisors. Not for direct use."""

    is_supervisor: ClassVar[bool] = True

    def __init__(self, flags: SupervisorFlags, on_report: ReportHook | None) -> None:
        super().__init__()
        self.flags = flags
        self._hook = on_report
        self._window = RestartWindow(flags.intensity, flags.period)
        self._leaving: ExitReason | None = None
        self._started = 0
        self._restarts = 0
        self._failed_starts = 0
        self._promises: dict[Future[Any], None] | None = None

    # --- Questions ----------------------------------------------------------------------------------------

    def which_children(self) -> tuple[ChildInfo, ...]:
        """List the children in start order."""
        raise NotImplementedError

    def count_children(self) -> ChildCounts:
        """Count the children."""
        raise NotImplementedError

    def statistics(self) -> SupervisorStatistics:
        """Give the supervisor's numbers."""
        active, restarting, waiting = self._counts()
        return SupervisorStatistics(
            active=active,
            restarting=restarting,
            waiting=waiting,
            started=self._started,
            restarts=self._restarts,
            failed_starts=self._failed_starts,
            recent_restarts=self._window.count(self.now()),
            intensity=self.flags.intensity,
            period=self.flags.period,
        )

    def _counts(self) -> tuple[int, int, int]:
        """Give the numbers of children that are active, restarting, and waiting to be started."""
        raise NotImplementedError

    def tree(self, limit: int = 20) -> TreeNode:
        """Describe everything below as a value that prints as a tree.

        Args:
            limit: Children to show of each actor that is no static supervisor; the rest are counted.
        """
        return walk(self.actor_ref, limit)

    def _answer(self, message: Any) -> Any:
        """Answer a question, or report the message as unexpected."""
        match message:
            case WhichChildren():
                return self.which_children()
            case CountChildren():
                return self.count_children()
            case GetStatistics():
                return self.statistics()
            case GetTree(limit=limit):
                return self.tree(limit)
        self._report(UnexpectedMessage(self.actor_ref, message))
        return None

    # --- Starting -----------------------------------------------------------------------------------------

    def _launch(self, spec: ChildSpec, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: Any) -> Launch:
        """Start a child that has its name before its first hook runs."""
        made: list[Ref[Any]] = []

        def make(*args: Any, **kwargs: Any) -> Any:
            child = spec.actor_class(*args, **kwargs)
            if name is not None:
                self.dispatcher.names.register(name, child.actor_ref)
            if isinstance(child, SupervisingActor) and child._hook is None:
                child._hook = self._hook
            made.append(child.actor_ref)
            return child

        make.__name__ = spec.actor_class.__name__
        try:
            ref = self.start_child(cast("Any", make), *args, **kwargs)
        except (Exception, SystemExit) as error:  # a child that fails in any way is the supervisor's to judge
            self._failed_starts += 1
            failed = (
                error
                if isinstance(error, Exception)
                else StartFailed(f"{make.__name__} raised {error_text(error)}")
            )
            residue = next((ref for ref in made if ref.life.phase != DEAD), None)
            return Launch(None, failed, residue)
        self._started += 1
        return Launch(ref, None, None)

    # --- Ending -------------------------------------------------------------------------------------------

    def _begin_leaving(self, reason: ExitReason) -> None:
        raise NotImplementedError

    def _depart(self, departure: Departure, child_id: Any) -> None:
        """End by own decision: stop the children, then leave with a `Shutdown` that names the cause."""
        if departure is Departure.MAX_INTENSITY:
            flags = self.flags
            self._report(IntensityReached(self.actor_ref, child_id, flags.intensity, flags.period))
        else:
            self._report(AutoShutdownReached(self.actor_ref, child_id))
        self._begin_leaving(Shutdown(departure.value))

    def on_exit_request(self, reason: ExitReason) -> bool:
        """Stop the children first, each within its shutdown time, then leave."""
        if self._leaving is None:
            self._begin_leaving(reason)
        return True

    def _running_specs(self) -> list[tuple[Ref[Any], ChildSpec]]:
        """Live children in start order, for an end that cannot be orderly."""
        raise NotImplementedError

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """See that no child outlives its shutdown time when a fault of the supervisor ends it."""
        del exception_type, exception_value, traceback
        for ref, spec in self._running_specs():
            self._kill_later(ref, spec.shutdown)

    def _kill_later(self, ref: Ref[Any], shutdown: ShutdownTime) -> None:
        # The dispatcher's timer, not the actor's: those end with the actor, and this one must outlive it.
        if shutdown is BRUTAL_KILL:
            ref.kill()
        elif shutdown is not None:
            self.dispatcher.call_later(shutdown, ref.kill)

    def _stop_inline(self, ref: Ref[Any], shutdown: ShutdownTime) -> None:
        """End a child now if it can end at once, as the failed start of a sibling demands."""
        life = ref.life
        if shutdown is BRUTAL_KILL:
            life._die_at_once(KILLED)
        elif life.phase == RUNNING and hasattr(life, "_request_exit"):
            life._request_exit(SHUTDOWN)
        else:
            ref.shutdown()
        if life.phase != DEAD:
            self._kill_later(ref, shutdown)

    def _report_stop(self, spec: ChildSpec, child_id: Any, ref: Ref[Any], reason: ExitReason) -> None:
        """Report the end of a child that was told to stop, if it was not the end it should have had."""
        if isinstance(reason, Abandoned):
            self._report(ChildAbandoned(self.actor_ref, child_id, ref))
        elif not _ended_as_told(spec, reason):
            self._report(OddShutdown(self.actor_ref, child_id, reason, 1))

    # --- Replies that are given later ---------------------------------------------------------------------

    def _promise(self) -> Future[Any]:
        """Make a reply that will be given later; the end of this life breaks it if nothing else does."""
        if self._promises is None:
            self._promises = {}
            guard: Future[None] = Future()
            guard.add_done_callback(self._break_promises)
            life = self._life
            # These are settled with the exit report, however the life ends; a kill runs no hook of ours.
            life.stop_waiters = [*(life.stop_waiters or ()), guard]
        promise: Future[Any] = Future()
        self._promises[promise] = None
        return promise

    def _keep(self, promise: Future[Any], run: Callable[[], Any]) -> None:
        """Give a promised reply: what `run` returns or raises, or later what the future it returns brings."""
        try:
            value = run()
        except Exception as error:
            if self._is_open(promise):
                promise.set_error(error)
            return
        if isinstance(value, Future):
            value.add_done_callback(lambda done: self._keep(promise, done.get))
        elif self._is_open(promise):
            promise.set(value)

    def _is_open(self, promise: Future[Any]) -> bool:
        if self._promises is not None:
            self._promises.pop(promise, None)
        return not promise.is_done

    def _break_promises(self, _guard: Future[None]) -> None:
        promises, self._promises = self._promises or {}, {}
        for promise in promises:
            if not promise.is_done:
                promise.set_error(ActorDeadError(f"{self.actor_ref} ended before it could answer"))

    # --- Small things -------------------------------------------------------------------------------------

    def _refuse_while_leaving(self) -> None:
        if self._leaving is not None:
            raise ChildError(Refusal.STOPPING)

    def _report(self, report: Report) -> None:
        emit(report, self._hook)

    def _tell_myself(self, message: Any) -> None:
        """Queue a message behind those that wait, so that other requests get in between."""
        self._life.put_notice(message)


class OddEnds:
    """Odd ends of children that are stopped together, by kind: thousands that are killed make one report."""

    __slots__ = ("_by_kind", "_spec")

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._by_kind: dict[Any, tuple[ExitReason, int]] = {}

    def note(self, reason: ExitReason) -> None:
        """Count an end, unless it is as it should be."""
        if not _ended_as_told(self._spec, reason):
            kind = type(reason.error) if isinstance(reason, Crashed) else reason
            first, n_children = self._by_kind.get(kind, (reason, 0))
            self._by_kind[kind] = (first, n_children + 1)

    def drain(self) -> list[tuple[ExitReason, int]]:
        """Give the first reason of each kind with the number of its kind, and start anew."""
        odd = list(self._by_kind.values())
        self._by_kind.clear()
        return odd


def _ended_as_told(spec: ChildSpec, reason: ExitReason) -> bool:
    return is_clean_stop(spec, reason, KILLED if spec.shutdown is BRUTAL_KILL else SHUTDOWN)
