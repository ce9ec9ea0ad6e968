"""`DynamicSupervisor`: many children of one template, added at run time (OTP's `simple_one_for_one`).

1. No operation costs more with more children. A temporary child costs this supervisor nothing at all: the
   runtime's own table of children is the list.
2. A child is known by its ref; a restart is a new ref. `name_of` gives children names that outlive restarts.
3. With a slot binding, a start waits for its slot, first come, first served, and so does a restart, for the
   exit freed the slot.
4. At the end all children are told to stop at once and share one shutdown time; their order is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from pykka import ActorDeadError

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
from supervisors.errors import Overloaded
from supervisors.exits import ExitReason, is_abnormal
from supervisors.future import Future
from supervisors.instance import BringBack, Instance, Start, StopOverdue, TryAgain
from supervisors.notices import ChildExited, Down
from supervisors.plan import ChildStatus, Departure, wants_restart
from supervisors.reports import (
    ChildStarted,
    ChildTerminated,
    OddShutdown,
    ReportHook,
    StartFailure,
)
from supervisors.slot_line import SlotLine
from supervisors.slot_pool import SlotBinding, SlotGranted, SlotRefused, Ticket
from supervisors.spec import (
    BRUTAL_KILL,
    AutoShutdown,
    ChildKind,
    ChildSpec,
    Restart,
    SpecError,
    Strategy,
    SupervisorFlags,
    check_specs,
)
from supervisors.supervision import OddEnds, SupervisingActor
from supervisors.tree import TreeNode, walk_some

if TYPE_CHECKING:
    from supervisors.ref import Ref

__all__ = ["DynamicSupervisor"]


class DynamicSupervisor(SupervisingActor):
    """Supervises children that are started from one template.

    Args:
        template: The spec of every child; its `id` is a label only, and it has no name.
        flags: Intensity and auto-shutdown; the strategy is `ONE_FOR_ONE`.
        max_children: Most children at a time, with those that wait for a slot or a restart; None: no bound.
        name_of: Makes the name of a child from its own arguments, not those of the template; None: no name.
        slots: Where each child takes a slot before it starts.
        on_report: Called with each report of this supervisor, and of those below without a hook of their own.

    Raises:
        SpecError: The template or the flags break a rule.
    """

    def __init__(
        self,
        template: ChildSpec,
        *,
        flags: SupervisorFlags | None = None,
        max_children: int | None = None,
        name_of: Callable[..., Hashable] | None = None,
        slots: SlotBinding | None = None,
        on_report: ReportHook | None = None,
    ) -> None:
        super().__init__(flags or SupervisorFlags(), on_report)
        check_specs(self.flags, (template,))
        if self.flags.strategy is not Strategy.ONE_FOR_ONE:
            advice = "use Strategy.ONE_FOR_ONE, or a Supervisor"
            raise SpecError("strategy", "children of a dynamic supervisor have no order", advice)
        if template.name is not None:
            raise SpecError("name", "many children cannot have one name", "use name_of=")
        self.template = template
        self._max_children = max_children
        self._name_of = name_of
        self._slots: SlotLine[Start] | None = None if slots is None else SlotLine(self, slots)
        self._keeps = template.restart is not Restart.TEMPORARY
        # Counted by exit reports, so that none is overlooked: the runtime's table is ahead of them.
        self._n_live = 0
        self._instances: dict[Any, Instance] = {}
        self._restarting: dict[Any, Instance] = {}  # by the ref that ended
        self._stopping: dict[Any, list[Future[Any]]] = {}
        self._odd = OddEnds(template)

    def on_receive(self, message: Any) -> Any:
        """Handle exit reports, commands, questions, slots and own reminders."""
        match message:
            case ChildExited(ref=ref, reason=reason):
                return self._take_exit(ref, reason)
            case StartChild(args=args, kwargs=kwargs):
                return self._start_on_request(args, kwargs)
            case SlotGranted(key=key, holder=ticket):
                self._use_slot(key, ticket)
            case SlotRefused(holder=ticket) if self._slots is not None:
                start = self._slots.lose(ticket)
                if start is not None:
                    self._give_up(start, Overloaded("too many wait for a slot; try again later"))
            case Down(ref=pool) if self._slots is not None:
                for start in self._slots.lose_all(pool):
                    self._give_up(start, ActorDeadError(f"the slot pool {pool} ended"))
            case TerminateChild(child=ref):
                return self._terminate(ref)
            case TryAgain(instance=instance) if self._restarting.get(instance.ref) is instance:
                self._restart(instance, 0.0)
            case BringBack(instance=instance) if self._restarting.get(instance.ref) is instance:
                self._bring_back(instance)
            case TryAgain() | BringBack():
                pass  # terminated meanwhile
            case StopOverdue(ref=ref):
                self._kill_overdue(ref)
            case RestartChild() | DeleteChild():
                raise ChildError(Refusal.DYNAMIC)
            case _:
                return self._answer(message)
        return None

    # --- Starting ------------------------------------------------------------------------------------------

    def _start_on_request(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._refuse_while_leaving()
        if self._max_children is not None and self._n_children() >= self._max_children:
            raise ChildError(Refusal.MAX_CHILDREN)
        instance = Instance(args, kwargs)
        if self._slots is not None:
            promise = self._promise()
            self._keep_waiting(Start(instance, promise))
            return promise
        return self._start(instance)

    def _n_children(self) -> int:
        return self._n_live + len(self._restarting) + self._n_waiting()

    def _n_waiting(self) -> int:
        return 0 if self._slots is None else len(self._slots)

    def _start(self, instance: Instance) -> Ref[Any]:
        """Start a child.

        Raises:
            Exception: What its start raised; it has been reported.
        """
        template, args = self.template, instance.args
        name = None if self._name_of is None else self._name_of(*args, **instance.kwargs)
        launch = self._launch(template, (*template.args, *args), {**template.kwargs, **instance.kwargs}, name)
        if launch.ref is None:
            assert launch.error is not None
            self._report(StartFailure(self.actor_ref, template.actor_class.__name__, launch.error))
            raise launch.error
        ref = launch.ref
        self._n_live += 1
        instance.restarts += 1
        if instance.restarts:
            self._restarts += 1
        if self._keeps:
            instance.ref = ref
            instance.started_at = self.now()
            self._instances[ref] = instance
        self._report(ChildStarted(self.actor_ref, ref, ref, instance.restarts))
        return ref

    # --- Slots ---------------------------------------------------------------------------------------------

    def _keep_waiting(self, start: Start) -> None:
        assert self._slots is not None
        try:
            self._slots.request(start, start.instance.args, start.instance.kwargs)
        except Exception as error:  # no pool, or a key function that raises: the start fails as any other
            self._give_up(start, error)

    def _use_slot(self, key: Hashable, ticket: Ticket) -> None:
        line = self._slots
        assert line is not None
        waiting = line.take(key, ticket)
        if waiting is None:
            return
        try:
            ref = self._start(waiting.instance)
        except Exception as error:
            line.give_back(key, ticket)
            self._give_up(waiting, error)
            return
        line.hand_over(ticket, ref)
        if waiting.promise is not None:
            self._keep(waiting.promise, lambda: ref)

    def _give_up(self, start: Start, error: Exception) -> None:
        """A start came to nothing: tell who asked for it, or try the restart again."""
        if start.promise is None:
            self._fail_restart(start.instance)
        elif self._is_open(start.promise):
            start.promise.set_error(error)

    # --- Exits and restarts --------------------------------------------------------------------------------

    def _take_exit(self, ref: Any, reason: ExitReason) -> None:
        template = self.template
        self._n_live -= 1
        instance = self._instances.pop(ref, None)
        if self._leaving is not None:
            self._odd.note(reason)
            self._leave_if_alone()
            return
        asked = self._stopping.pop(ref, None)
        if asked is not None:
            self._report_stop(template, ref, ref, reason)
            for promise in asked:
                self._keep(promise, lambda: None)
            return
        is_restarted = wants_restart(template, reason)
        if template.restart is Restart.PERMANENT or is_abnormal(reason):
            self._report(ChildTerminated(self.actor_ref, ref, ref, reason, is_restarted))
        if is_restarted:
            assert instance is not None
            self._restart(instance, self.now() - instance.started_at)
        elif self._ends_me():
            self._depart(Departure.AUTO_SHUTDOWN, ref)

    def _ends_me(self) -> bool:
        if not self.template.significant:
            return False
        return self.flags.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or not self._n_children()

    def _restart(self, instance: Instance, lived: float) -> None:
        self._restarting.pop(instance.ref, None)
        if self._window.record(self.now()):
            self._depart(Departure.MAX_INTENSITY, instance.ref)
            return
        backoff, delay = self.template.backoff, 0.0
        if backoff is not None:
            instance.attempts = backoff.next_attempt(instance.attempts, lived)
            delay = backoff.delay(instance.attempts)
        self._restarting[instance.ref] = instance
        if delay > 0:
            self.send_after(delay, BringBack(instance))
        else:
            self._bring_back(instance)

    def _bring_back(self, instance: Instance) -> None:
        self._restarting.pop(instance.ref, None)
        if self._slots is not None:
            self._keep_waiting(Start(instance, None))
            return
        try:
            self._start(instance)
        except Exception:  # reported by _start
            self._fail_restart(instance)

    def _fail_restart(self, instance: Instance) -> None:
        self._restarting[instance.ref] = instance
        self._tell_myself(TryAgain(instance))

    # --- Stopping ------------------------------------------------------------------------------------------

    def _terminate(self, ref: Any) -> Future[Any] | None:
        if self._restarting.pop(ref, None) is not None or self._withdraw(ref):
            return None
        if ref not in (self._life.children or ()):
            raise ChildError(Refusal.NOT_FOUND, ref)
        promise = self._promise()
        asked = self._stopping.setdefault(ref, [])
        asked.append(promise)
        if len(asked) == 1:
            self._tell_to_stop(ref)
            if isinstance(self.template.shutdown, (int, float)):
                self.send_after(self.template.shutdown, StopOverdue(ref))
        return promise

    def _withdraw(self, ref: Any) -> bool:
        """Take the restart of an ended child out of the line for slots."""
        return (
            self._slots is not None
            and self._slots.withdraw(lambda start: start.instance.ref is ref) is not None
        )

    def _tell_to_stop(self, ref: Any) -> None:
        if self.template.shutdown is BRUTAL_KILL:
            ref.kill()
        else:
            ref.shutdown()

    def _kill_overdue(self, ref: Any) -> None:
        if ref is not None:
            ref.kill()
            return
        for child in tuple(self._life.children or ()):
            child.kill()

    def _begin_leaving(self, reason: ExitReason) -> None:
        self._leaving = reason
        self._restarting.clear()
        # Their slots need no release: this life's end voids its tickets.
        for start in self._slots.lose_all() if self._slots is not None else ():
            if start.promise is not None and self._is_open(start.promise):
                start.promise.set_error(ChildError(Refusal.STOPPING))
        for ref in reversed(tuple(self._life.children or ())):
            self._tell_to_stop(ref)
        if isinstance(self.template.shutdown, (int, float)):
            self.send_after(self.template.shutdown, StopOverdue(None))
        self._leave_if_alone()

    def _leave_if_alone(self) -> None:
        if self._n_live:
            return
        for reason, n_children in self._odd.drain():
            label = self.template.actor_class.__name__
            self._report(OddShutdown(self.actor_ref, label, reason, n_children))
        for promises in self._stopping.values():
            for promise in promises:
                self._keep(promise, lambda: None)
        assert self._leaving is not None
        self.exit(self._leaving)

    def _running_specs(self) -> list[tuple[Ref[Any], ChildSpec]]:
        return [(ref, self.template) for ref in self._life.children or ()]

    # --- Questions -----------------------------------------------------------------------------------------

    def which_children(self) -> tuple[ChildInfo, ...]:
        """List the children that run, in start order; they have no ids."""
        kind = self.template.kind
        nobody = Instance((), {})
        nobody.restarts = 0
        return tuple(
            ChildInfo(
                None,
                ref,
                ChildStatus.STOPPING if ref in self._stopping else ChildStatus.RUNNING,
                kind,
                self._instances.get(ref, nobody).restarts,
            )
            for ref in self._life.children or ()
        )

    def count_children(self) -> ChildCounts:
        """Count the children, those included that wait for a restart; they have one spec."""
        active = self._n_live
        total = active + len(self._restarting)
        is_supervisor = self.template.kind is ChildKind.SUPERVISOR
        return ChildCounts(1, active, total if is_supervisor else 0, 0 if is_supervisor else total)

    def _counts(self) -> tuple[int, int, int]:
        return self._n_live, len(self._restarting), self._n_waiting()

    def _describe_below(self, limit: int) -> tuple[str, tuple[TreeNode, ...], int]:
        numbers = self.statistics()
        about = f"dynamic {self.template.restart}, {numbers.active:,} children"
        if numbers.waiting:
            about += f", {numbers.waiting:,} waiting for a slot"
        if numbers.restarting:
            about += f", {numbers.restarting:,} restarting"
        about += f", {numbers.recent_restarts} of {numbers.intensity} restarts in {numbers.period:g} s"
        children, hidden = walk_some(self._life.children or {}, limit)
        return about, children, hidden
