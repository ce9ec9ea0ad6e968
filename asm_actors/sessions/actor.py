"""The shell of a session: feeds `sessions.core` and performs its effects. The only writer of its session.

1. A new session starts empty and is told `CreateSession` or `RunOnce`. Any other life reads its records first and puts
   what comes meanwhile aside, in order.
2. What is read from the journal is read behind everything that was told to it: a life never overlooks what the one
   before it wrote, nor what itself wrote a moment ago.
3. Every asker gets an answer. What this life took on and cannot answer ends as `interrupted`, or as what ended it.
   What it did not take on finds the next life (`sessions.delivery`).
4. It leaves when the session's end is durable and nobody waits for a read; or for a while, when nothing was asked of it
   for long and all that it knows is in the journal (`sessions.lives`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.journal.messages import WriteFailed
from asm_actors.runs.actor import RunActor
from asm_actors.services import SESSION_SLOTS, Services
from asm_actors.sessions import core, door
from asm_actors.sessions.birth import Birth
from asm_actors.sessions.delivery import Delivery
from asm_actors.sessions.loading import LoadingActor, refuse
from asm_actors.sessions.messages import SlotGranted, SlotRefused
from asm_actors.sessions.open_runs import Ended, RunCrashed
from asm_actors.sessions.recovery import interruptions
from asm_actors.sessions.resting import Rest, Rested, may_rest
from supervisors import ChildExited, Shutdown, Timer
from supervisors.exits import Crashed, ExitReason, describe, error_text
from supervisors.slot_pool import Acquire, Release
from supervisors.slots import PoolStatistics

__all__ = ["RESTED", "SessionActor"]

logger = logging.getLogger("asm_actors.sessions")
RESTED = Shutdown("nothing was asked of it for a while")
"""Why a session's actor leaves that goes on when it is needed."""
# Kinds of refused writes that are nobody's defect: the disk does not take them, or a caller chose what is taken.
_NO_DEFECT = frozenset(
    {ErrorCategory.STORAGE, ErrorCategory.RESOURCE, ErrorCategory.STATE, ErrorCategory.VALIDATION}
)


class SessionActor(LoadingActor):
    """See the module.

    Args:
        services: The system's.
        session_id: Which session.
        birth: Whether it is new.
    """

    # Its own runs, the journal and the pools must always reach it, and each has a bound of its own; callers are refused
    # at the door (`sessions.delivery`).
    mailbox_capacity = None

    def __init__(self, services: Services, session_id: str, birth: Birth) -> None:
        super().__init__(services, session_id, birth)
        self._runs: dict[str, Any] | None = None
        self._run_ids: dict[Any, str] | None = None
        self._timers: dict[str, Timer] | None = None

    def run_ref(self, run_id: str) -> Any:
        """Ref of the actor of a run that is under way, or None."""
        return (self._runs or {}).get(run_id)

    # --- Messages ----------------------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        if type(message) is ChildExited:
            self._run_exited(message.ref, message.reason)
        elif type(message) is WriteFailed:
            self._write_failed(message.error)
        elif not core.knows(message):
            if type(message) is not Rest and type(message) is not Rested:
                return super().on_receive(message)
            self._rest(message)
        else:
            reply = self.reply_later()
            if isinstance(reply, Delivery):
                reply.taken()
            if self._aside is None:
                try:
                    self._step(message, reply)
                except Exception as error:
                    # An asker must not take a crash away from the tree: what is known here and what is written may
                    # differ now.
                    refuse(reply, self._interrupted(f"crashed: {error_text(error)}"))
                    raise
            else:
                self._aside.append((message, reply))
        return None

    def _step(self, message: Any, reply: Any = None) -> None:
        self.is_used = True
        try:
            if type(message) in door.GUARDED:
                message = door.admit(self._services, self.state, message)
            effects = core.step(self.state, message, self._services.now_us(), reply)
        except AsmError as error:
            if reply is not None:
                refuse(reply, error)
            else:
                logger.warning("%s was told to %s: %s", self._id, type(message).__name__, error)
            return
        self._perform(effects)

    def _write_failed(self, error: AsmError) -> None:
        """What the state says and what the journal holds differ now: start again from the journal."""
        if error.category not in _NO_DEFECT:
            raise error
        # The disk's fault, and then that of all sessions at once, or a caller's: it does not count as a crash. The next
        # life finds out whether the disk works again, and ends with this error what was under way.
        self._recover_later(error)
        self._give_up(error)
        self.exit(Shutdown("its writes failed"))

    # --- Effects -----------------------------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _reply(self, effect: fx.Reply) -> None:
        if effect.to is not None and not effect.to.is_done:
            effect.to.set(effect.value)

    def _refuse(self, effect: fx.Refuse) -> None:
        refuse(effect.to, effect.error)

    def _start_run(self, effect: fx.StartRun) -> None:
        run = effect.run
        # The head as it is now: the core told its own before what it wrote in the same step was counted.
        ref = self.start_child(
            RunActor,
            self._services,
            self.actor_ref,
            self.state.session,
            run,
            effect.progress,
            self.state.head,
        )
        if self._runs is None or self._run_ids is None:
            self._runs, self._run_ids = {}, {}
        if self._services.directory.run_line is not None:
            self._services.directory.run_line.began(ref, self.state.session, run)
        self._runs[run.id] = ref
        self._run_ids[ref] = run.id

    def _to_run(self, effect: fx.ToRun) -> None:
        ref = (self._runs or {}).get(effect.run_id)
        if ref is not None:
            ref.post(effect.message)

    def _run_exited(self, ref: Any, reason: ExitReason) -> None:
        run_id = (self._run_ids or {}).pop(ref, None)
        if run_id is None:
            return
        if self._runs is None or self._runs.get(run_id) is not ref:
            return  # it was held, and has another actor by now
        del self._runs[run_id]
        if not self._runs:
            self._runs = self._run_ids = None
        if run_id in self.state.open:
            cause = reason.error if isinstance(reason, Crashed) else None
            error = AsmError(ErrorCode.INTERNAL_ERROR, f"the actor of run {run_id} ended: {describe(reason)}")
            error.__cause__ = cause
            self._step(RunCrashed(run_id, error))

    def _acquire(self, effect: fx.AcquireSlot) -> None:
        session = self.state.session
        priority = session.options.get("priority", 0) if effect.wait else 0
        wish = Acquire(
            self._services.slot_keys.of_session(session),
            self.actor_ref,
            granted=SlotGranted(effect.pool),
            refused=partial(_slot_refused, effect.pool),
            wait=effect.wait,
            priority=priority,
        )
        self._to_slots(wish)

    def _release(self, effect: fx.ReleaseSlot) -> None:
        self._to_slots(Release(self._services.slot_keys.of_session(self.state.session), self.actor_ref))

    def _to_slots(self, message: Any) -> None:
        slots = self._services.whereis(SESSION_SLOTS)
        if slots is not None:
            slots.post(message)
        # Without its slots the tree is about to take the sessions down, and to start both again.

    def _set_timer(self, effect: fx.SetTimer) -> None:
        if self._timers is None:
            self._timers = {}
        self._cancel_timer(fx.CancelTimer(effect.key))
        self._timers[effect.key] = self.send_after(effect.delay_s, effect.message)

    def _cancel_timer(self, effect: fx.CancelTimer) -> None:
        timer = (self._timers or {}).pop(effect.key, None)
        if timer is not None:
            timer.cancel()

    def _note(self, effect: fx.Note) -> None:
        self.actor_ref.post(effect.message)

    def _leave(self, effect: fx.Leave) -> None:
        self._is_over = True
        self._leave_if_over()

    # --- The end -----------------------------------------------------------------------------------------------

    @property
    def may_rest(self) -> bool:
        """Whether it may leave and come back when it is needed: nothing is under way, and nobody waits."""
        return (
            self._aside is None
            and not self._is_over
            and not self._n_reading
            and not self._runs
            and not self._life.promised
            and may_rest(self.state)
        )

    def _rest(self, message: Rest | Rested) -> None:
        # What is told comes from the supervisor, hence on this thread: none of it can slip in between this look
        # at the mailbox and the end. What is asked and slips in finds the next life (`sessions.delivery`).
        is_first = type(message) is Rest
        if is_first and message.at_once:  # type: ignore[union-attr]
            self.is_used = False
        if self.is_used or len(self._life.queue) or not self.may_rest:
            return
        if is_first:
            # The next life reads the journal: what this one wrote must be in it first.
            self._write(fx.Write((), then=(fx.Note(Rested()),)))
        else:
            self.exit(RESTED)

    def _leave_if_over(self) -> None:
        if not self._is_over or self._n_reading:
            return
        if self._life.promised:
            # Their answers hang on writes that are on their way: leave behind these.
            self._write(fx.Write((), then=(fx.Note(Ended()),)))
        else:
            self.exit()

    def on_stop(self) -> None:
        if self._services.directory.is_stopping:
            self._perform(interruptions(self.state, self._services.now_us()))
        self._give_up(self._interrupted("was stopped"))
        self._strike_off(self.state.open)

    def on_failure(self, *exc_info: Any) -> None:
        error = exc_info[1]
        if not isinstance(error, AsmError):
            error = self._interrupted(f"crashed: {error_text(error)}")
        self._birth.cause = error
        self._give_up(error)

    def _interrupted(self, how: str) -> AsmError:
        text = f"the actor of session {self._id} {how}"
        return AsmError(ErrorCode.INTERRUPTED, text, context={"session_id": self._id})

    def _give_up(self, error: AsmError) -> None:
        """Tell those who wait. The journal tells the next life how things stand."""
        for asker in tuple(self._life.promised or ()):
            refuse(asker, error)
        # Its open runs stay in the directory: a drain that begins now must wait for the next life, which finds them.


def _slot_refused(pool: str, full: Hashable, counts: PoolStatistics) -> SlotRefused:
    return SlotRefused(pool, counts.in_use, counts.limit, full)


_PERFORM: dict[type, Callable[[SessionActor, Any], None]] = {
    fx.Write: SessionActor._write,
    fx.Reply: SessionActor._reply,
    fx.Refuse: SessionActor._refuse,
    fx.StartRun: SessionActor._start_run,
    fx.ToRun: SessionActor._to_run,
    fx.LoadRun: SessionActor._load_run,
    fx.AcquireSlot: SessionActor._acquire,
    fx.ReleaseSlot: SessionActor._release,
    fx.SetTimer: SessionActor._set_timer,
    fx.CancelTimer: SessionActor._cancel_timer,
    fx.Note: SessionActor._note,
    fx.Leave: SessionActor._leave,
}
