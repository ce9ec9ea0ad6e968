"""`Supervisor`: starts children in order, restarts by strategy, stops in reverse, as OTP defines it.

1. What to do is decided in `plan.py`; this file does it, a step per message. Nothing here waits: a stop goes
   on when the exit report comes, a failed start is tried again by a message, a back-off is a timer.
2. A group restart is the only operation that excludes others. Exits of bystanders and commands that come
   meanwhile are taken in order when it is done; an exit request never waits.
3. Each start happens inline, so its failure is known at once.
4. When the intensity is exceeded, or a significant child ended, the supervisor stops its children and leaves
   with `Shutdown`: its own supervisor restarts it if it is permanent, not if it is transient, as in OTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from supervisors.child import BringBack, Child, Job, StopOverdue, TryAgain, count
from supervisors.control import (
    ChildCounts,
    ChildError,
    ChildInfo,
    DeleteChild,
    Refusal,
    RestartChild,
    StartChild,
    TerminateChild,
)
from supervisors.exits import ExitReason, is_abnormal
from supervisors.future import Future
from supervisors.notices import ChildExited, Down
from supervisors.plan import (
    ChildStatus,
    Plan,
    after_exit,
    bring_back,
    restart,
    stop_order,
    wants_restart,
)
from supervisors.reports import (
    ChildStarted,
    ChildTerminated,
    ReportHook,
    StartFailure,
)
from supervisors.spec import (
    BRUTAL_KILL,
    ChildSpec,
    Restart,
    SpecError,
    SupervisorFlags,
    check_specs,
)
from supervisors.supervision import SupervisingActor
from supervisors.tree import TreeNode

if TYPE_CHECKING:
    from supervisors.ref import Ref

__all__ = ["Supervisor"]

RUNNING, RESTARTING, STOPPING, STOPPED = (
    ChildStatus.RUNNING,
    ChildStatus.RESTARTING,
    ChildStatus.STOPPING,
    ChildStatus.STOPPED,
)


class Supervisor(SupervisingActor):
    """Supervises children that are given by specs.

    Args:
        children: Specs in start order; later ones may rely on earlier ones.
        flags: Strategy, intensity and auto-shutdown; OTP's defaults if left out.
        on_report: Called with each report of this supervisor, and of those below without a hook of their own.

    Raises:
        SpecError: The specs or flags break a rule.
        StartFailed: A child could not be started; those started before have been stopped in reverse order.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec] = (),
        *,
        flags: SupervisorFlags | None = None,
        on_report: ReportHook | None = None,
    ) -> None:
        super().__init__(flags or SupervisorFlags(), on_report)
        self._children = {spec.id: Child(spec) for spec in check_specs(self.flags, children)}
        self._by_ref: dict[Any, Child] = {}
        self._job: Job | None = None
        self._deferred: deque[Callable[[], object]] = deque()
        self._is_draining = False
        self._residues: dict[Any, tuple[Child, int]] = {}

    def on_start(self) -> None:
        """Start the children in order."""
        for child in tuple(self._children.values()):
            error = self._start(child)
            if error is not None:
                for ref, spec in reversed(self._running_specs()):
                    self._stop_inline(ref, spec.shutdown)
                raise error

    def on_receive(self, message: Any) -> Any:
        """Handle exit reports, commands, questions and own reminders."""
        match message:
            case ChildExited(ref=ref, reason=reason):
                return self._take_exit(ref, reason)
            case StartChild(args=args, kwargs=kwargs):
                return self._when_free(partial(self._add, *args, **kwargs))
            case TerminateChild(child=child_id):
                return self._when_free(partial(self._terminate, child_id))
            case RestartChild(child_id=child_id):
                return self._when_free(partial(self._restart_ended, child_id))
            case DeleteChild(child_id=child_id):
                return self._when_free(partial(self._delete, child_id))
            case StopOverdue(child=child, token=token):
                if child.token == token and child.ref is not None:
                    child.ref.kill()
            case TryAgain(child=child, token=token):
                self._in_turn(partial(self._try_again, child, token))
            case BringBack(child=child, token=token):
                self._in_turn(partial(self._bring_back, child, token))
            case Down(monitor=monitor):
                if monitor in self._residues:
                    self._tell_myself(TryAgain(*self._residues.pop(monitor)))
            case _:
                return self._answer(message)
        return None

    # --- Exits and restarts -------------------------------------------------------------------------------

    def _take_exit(self, ref: Any, reason: ExitReason) -> None:
        child = self._by_ref.pop(ref, None)
        if child is None:
            return
        child.last_exit = reason
        if child.status is STOPPING:
            self._note_stop(child, reason)
            if self._job is not None:
                self._advance(self._job)
        elif self._job is None:
            self._handle_end(child, ref, reason)
        else:
            # Either it was about to be stopped, and is spared that; or it is judged when the job is done.
            child.ended = reason
            self._deferred.append(partial(self._handle_end, child, ref, reason))

    def _handle_end(self, child: Child, ref: Any, reason: ExitReason) -> None:
        if child.ref is not ref or self._leaving is not None:
            return  # a group restart replaced it meanwhile, or it is stopped with all others
        spec, now = child.spec, self.now()
        is_restarted = wants_restart(spec, reason)
        if spec.restart is Restart.PERMANENT or is_abnormal(reason):
            self._report(ChildTerminated(self.actor_ref, spec.id, ref, reason, is_restarted))
        child.ref = child.ended = None
        child.move(RESTARTING if is_restarted else STOPPED)
        plan = after_exit(self._children, spec.id, reason, self.flags, window=self._window, now=now)
        self._carry_out(plan, child, self._pause(child, now - child.started_at) if is_restarted else 0.0)

    def _try_again(self, child: Child, token: int) -> None:
        if child.token == token and self._leaving is None:
            plan = restart(self._children, child.spec.id, self.flags, window=self._window, now=self.now())
            self._carry_out(plan, child, self._pause(child, 0.0))

    def _bring_back(self, child: Child, token: int) -> None:
        if child.token == token and self._leaving is None:
            self._carry_out(bring_back(self._children, child.spec.id, self.flags.strategy), child, 0.0)

    def _pause(self, child: Child, lived: float) -> float:
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0
        child.attempts = backoff.next_attempt(child.attempts, lived)
        return backoff.delay(child.attempts)

    def _carry_out(self, plan: Plan, child: Child, delay: float) -> None:
        if plan.leave is not None:
            self._forget(plan.forget)
            self._depart(plan.leave, child.spec.id)
            return
        self._job = Job(plan, child, delay)
        self._advance(self._job)

    def _advance(self, job: Job) -> None:
        """Do the next steps of a job, up to where an exit must be awaited."""
        while job.stop:
            child = self._children.get(job.stop[0])
            if child is not None and child.status is RUNNING and child.ended is not None:
                self._note_stop(child, child.ended)
            elif child is not None and child.status is RUNNING:
                self._tell_to_stop(child)
            if child is not None and child.status is STOPPING:
                return
            job.stop.popleft()
        if self._leaving is not None:
            self.exit(self._leaving)
            return
        self._forget(job.forget)
        cause = job.cause
        if cause is not None and job.delay > 0:
            cause.timer = self.send_after(job.delay, BringBack(cause, cause.token))
        else:
            self._start_all(job.start)
        self._job = None
        self._run_deferred()

    def _start_all(self, ids: Iterable[Hashable]) -> None:
        for child_id in ids:
            child = self._children[child_id]
            if self._start(child, is_restart=True) is not None:
                return

    def _start(self, child: Child, *, is_restart: bool = False) -> Exception | None:
        """Start a child; a failure leaves it waiting for the next try."""
        spec = child.spec
        launch = self._launch(spec, spec.args, spec.kwargs, spec.name)
        if launch.ref is None:
            assert launch.error is not None
            child.move(RESTARTING)
            self._report(StartFailure(self.actor_ref, spec.id, launch.error))
            if launch.residue is None:
                self._tell_myself(TryAgain(child, child.token))
            else:
                # Two lives of one child never overlap: the next try waits until the failed one is gone.
                self._residues[self.monitor(launch.residue)] = (child, child.token)
            return launch.error
        child.move(RUNNING)
        if is_restart:
            child.restarts += 1
            self._restarts += 1
        child.ref, child.ended, child.started_at = launch.ref, None, self.now()
        self._by_ref[launch.ref] = child
        self._report(ChildStarted(self.actor_ref, spec.id, launch.ref, child.restarts))
        return None

    def _forget(self, ids: Iterable[Hashable]) -> None:
        for child_id in ids:
            self._children.pop(child_id, None)

    # --- Stopping -----------------------------------------------------------------------------------------

    def _tell_to_stop(self, child: Child) -> None:
        assert child.ref is not None
        child.move(STOPPING)
        if child.spec.shutdown is BRUTAL_KILL:
            child.ref.kill()
            return
        child.ref.shutdown()
        if child.spec.shutdown is not None:
            child.timer = self.send_after(child.spec.shutdown, StopOverdue(child, child.token))

    def _note_stop(self, child: Child, reason: ExitReason) -> None:
        assert child.ref is not None
        self._report_stop(child.spec, child.spec.id, child.ref, reason)
        child.ref = child.ended = None
        child.move(STOPPED)
        if child.spec.restart is Restart.TEMPORARY:
            self._forget((child.spec.id,))
        waiters, child.waiters = child.waiters, []
        for waiter in waiters:
            if self._leaving is None:
                self._in_turn(waiter)
            else:
                waiter()

    def _begin_leaving(self, reason: ExitReason) -> None:
        self._leaving = reason
        deferred, self._deferred = self._deferred, deque()
        for run in deferred:
            run()  # commands are refused from now on, the rest does nothing
        self._job = Job(Plan(stop=stop_order(self._children)), None, 0.0)
        self._advance(self._job)

    def _running_specs(self) -> list[tuple[Ref[Any], ChildSpec]]:
        return [(child.ref, child.spec) for child in self._children.values() if child.ref is not None]

    # --- Commands -----------------------------------------------------------------------------------------

    def _when_free(self, run: Callable[[], Any]) -> Any:
        """Run a command now, or promise its reply if a group restart is under way."""
        self._refuse_while_leaving()
        if self._job is None:
            return run()
        promise = self._promise()

        def run_unless_leaving() -> Any:
            self._refuse_while_leaving()
            return run()

        self._deferred.append(partial(self._keep, promise, run_unless_leaving))
        return promise

    def _in_turn(self, run: Callable[[], object]) -> None:
        """Run now, or when the group restart that is under way is done; never once leaving."""
        if self._leaving is None:
            self._deferred.append(run)
            self._run_deferred()

    def _run_deferred(self) -> None:
        if self._is_draining:
            return  # called from one of those that run below
        self._is_draining = True
        try:
            while self._deferred and self._job is None and self._leaving is None:
                self._deferred.popleft()()
        finally:
            self._is_draining = False

    def _find(self, child_id: Hashable) -> Child:
        child = self._children.get(child_id)
        if child is None:
            raise ChildError(Refusal.NOT_FOUND, child_id)
        return child

    def _after_stop(self, child: Child, run: Callable[[], Any]) -> Future[Any]:
        promise = self._promise()
        child.waiters.append(partial(self._keep, promise, run))
        return promise

    def _add(self, spec: ChildSpec, *surplus: Any, **options: Any) -> Any:
        if surplus or options:
            raise SpecError("children", "a supervisor takes one spec", "put the arguments into the ChildSpec")
        self._refuse_while_leaving()
        check_specs(self.flags, (spec,))
        present = self._children.get(spec.id)
        if present is not None:
            if present.status is STOPPING:
                return self._after_stop(present, partial(self._add, spec))
            refusal = Refusal.ALREADY_STARTED if present.status is RUNNING else Refusal.ALREADY_PRESENT
            raise ChildError(refusal, spec.id, present.ref)
        return self._start_on_request(Child(spec))

    def _start_on_request(self, child: Child) -> Ref[Any]:
        error = self._start(child)
        if error is not None:
            child.move(STOPPED)  # voids the next try: who asked decides
            raise error
        assert child.ref is not None
        self._children[child.spec.id] = child
        return child.ref

    def _terminate(self, child_id: Hashable) -> Future[None] | None:
        child = self._find(child_id)
        if child.status is RUNNING:
            self._tell_to_stop(child)
        if child.status is STOPPING:
            return self._after_stop(child, lambda: None)
        child.move(STOPPED)
        return None

    def _restart_ended(self, child_id: Hashable) -> Any:
        self._refuse_while_leaving()
        child = self._find(child_id)
        if child.status is STOPPING:
            return self._after_stop(child, partial(self._restart_ended, child_id))
        self._demand_stopped(child)
        return self._start_on_request(child)

    def _delete(self, child_id: Hashable) -> Any:
        child = self._find(child_id)
        if child.status is STOPPING:
            return self._after_stop(child, partial(self._delete, child_id))
        self._demand_stopped(child)
        self._forget((child_id,))
        return None

    def _demand_stopped(self, child: Child) -> None:
        if child.status is RUNNING:
            raise ChildError(Refusal.RUNNING, child.spec.id, child.ref)
        if child.status is RESTARTING:
            raise ChildError(Refusal.RESTARTING, child.spec.id)

    # --- Questions ----------------------------------------------------------------------------------------

    def which_children(self) -> tuple[ChildInfo, ...]:
        """List the children in start order."""
        return tuple(child.info() for child in self._children.values())

    def count_children(self) -> ChildCounts:
        """Count the children."""
        return count(self._children.values())

    def _counts(self) -> tuple[int, int, int]:
        children = self._children.values()
        active = sum(child.ref is not None for child in children)
        return active, sum(child.status is RESTARTING for child in children), len(self._deferred)

    def _describe_below(self, limit: int) -> tuple[str, tuple[TreeNode, ...], int]:
        recent, flags = self._window.count(self.now()), self.flags
        about = f"{flags.strategy}, {recent} of {flags.intensity} restarts in {flags.period:g} s"
        return about, tuple(child.node(limit) for child in self._children.values()), 0
