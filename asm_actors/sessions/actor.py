"""The shell of a session: feeds `sessions.core` and performs its effects. The only writer of its session.

1. A new session starts empty and is told `CreateSession` or `RunOnce`. Any other life reads its records first and puts
   what comes meanwhile aside, in order.
2. What is read from the journal is read behind everything that was told to it: a life never overlooks what the one
   before it wrote, nor what itself wrote a moment ago.
3. Every asker gets an answer. What this life took on and cannot answer ends as `interrupted`, or as what ended it.
   What it did not take on finds the next life (`sessions.delivery`).
4. It leaves when the session's end is durable and nobody waits for a read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.journal.append import Append, Draft, Packed
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.messages import Commit, Flush, WriteFailed
from asm_actors.runs.actor import RunActor
from asm_actors.runs.run import Run
from asm_actors.services import JOURNAL, SESSION_SLOTS, SESSIONS, Services
from asm_actors.sessions import core, door
from asm_actors.sessions.birth import Birth
from asm_actors.sessions.delivery import Delivery
from asm_actors.sessions.mending import mended_answers, mended_drafts, mended_runs
from asm_actors.sessions.messages import Recover, RunLoaded, SessionLoaded, SlotGranted, SlotRefused
from asm_actors.sessions.open_runs import Ended, RunCrashed
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState
from supervisors import Actor, ActorDeadError, ChildExited, Shutdown, Timer
from supervisors.exits import Crashed, ExitReason, describe
from supervisors.slot_pool import Acquire, Release

__all__ = ["SessionActor"]

logger = logging.getLogger("asm_actors.sessions")
_UNBORN = Session(id="", agent_id="")
# Kinds of refused writes that are nobody's defect: the disk does not take them, or a caller chose what is taken.
_NO_DEFECT = frozenset(
    {ErrorCategory.STORAGE, ErrorCategory.RESOURCE, ErrorCategory.STATE, ErrorCategory.VALIDATION}
)


class SessionActor(Actor):
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
        super().__init__()
        self._services = services
        self._id = session_id
        limits = services.limits
        self.state = SessionState(_UNBORN, limits.max_concurrent_runs, RunQueue(limits.max_queued_runs))
        # A restart of the journal restarts the sessions too, so its ref is good for this actor's life. Without one that
        # restart is about to come, and a session that began now could write nothing.
        self._journal = services.whereis(JOURNAL)
        if self._journal is None:
            raise AsmError(ErrorCode.INTERRUPTED, "the journal is being restarted; try again")
        self._birth = birth
        self._n_reading = 0
        self._is_over = False
        self._aside: list[tuple[Any, Any]] | None = []
        if birth.take():
            self._aside = None
            birth.open = self.state.open
        self._runs: dict[str, Any] | None = None
        self._run_ids: dict[Any, str] | None = None
        self._timers: dict[str, Timer] | None = None
        # Why something had to be mended, once it had: from then on records are mended too.
        self._mended: AsmError | None = None

    # --- Start -------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        if self._aside is not None:
            self.spawn(self._load(), name=f"load-{self._id}")

    async def _load(self) -> None:
        store, session_id, cause = self._services.store, self._id, self._birth.cause

        def read() -> SessionLoaded:
            runs = [run for run in store.runs(session_id) if not run.is_terminal]
            return SessionLoaded(store.session(session_id), tuple(runs), cause)

        try:
            await self._flushed()
            loaded = await self.blocking(read)
        except AsmError as error:
            self._not_loaded(error)
        else:
            self._loaded(loaded)

    async def _flushed(self) -> None:
        """Wait until everything that was told to the journal is durable."""
        try:
            await self._journal.ask(Flush(), block=False)
        except ActorDeadError as error:
            raise AsmError.wrap(ErrorCode.INTERRUPTED, error, "the journal is being restarted") from error

    def _not_loaded(self, error: AsmError) -> None:
        aside, self._aside = self._aside or [], None
        told = [message for message, reply in aside if reply is None]
        if told or error.code is not ErrorCode.SESSION_NOT_FOUND:
            logger.error("%s cannot be read, and was told %d messages: %s", self._id, len(told), error)
        for _, reply in aside:
            _refuse(reply, error)
        self._strike_off(self._birth.open)
        if error.retryable or error.code is ErrorCode.STORAGE_WRITE_FAILED:
            # It may have runs to go on with, and nobody else would think of them.
            self._recover_later(error)
        self.exit()

    def _loaded(self, loaded: SessionLoaded) -> None:
        aside, self._aside = self._aside or [], None
        runs = self._services.directory.runs
        self._strike_off(self._birth.open)
        self._birth.open, self._birth.cause = self.state.open, None
        for run in loaded.runs:
            runs[run.id] = self._id
        self._step(loaded)
        for message, reply in aside:
            self._step(message, reply)
        if self.state.session.is_terminal and not self.state.open:
            # Somebody asked about a session that is over; it leaves when its own writes are durable, if it made any.
            self._is_over = loaded.session.is_terminal
            self._leave_if_over()

    def _strike_off(self, runs: Iterable[str]) -> None:
        for run_id in runs:
            self._services.directory.runs.pop(run_id, None)

    @property
    def is_loading(self) -> bool:
        """Whether it has not read its records yet."""
        return self._aside is not None

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
            return super().on_receive(message)
        else:
            reply = self.reply_later()
            if isinstance(reply, Delivery):
                reply.taken()
            if self._aside is None:
                self._step(message, reply)
            else:
                self._aside.append((message, reply))
        return None

    def _step(self, message: Any, reply: Any = None) -> None:
        try:
            if type(message) in door.GUARDED:
                message = door.admit(self._services, self.state, message)
            effects = core.step(self.state, message, self._services.now_us(), reply)
        except AsmError as error:
            if reply is not None:
                _refuse(reply, error)
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

    def _recover_later(self, cause: AsmError) -> None:
        sessions = self._services.whereis(SESSIONS)
        if sessions is not None:
            sessions.post(Recover((self._id,), cause))

    # --- Effects -----------------------------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _write(self, effect: fx.Write) -> None:
        drafts, session, runs = effect.drafts, effect.session, effect.runs
        base_id = self._services.ids.block()
        try:
            packed = pack_drafts(base_id, drafts) if drafts else ()
        except AsmError as error:
            packed = self._mend(base_id, drafts, error)
        then = effect.then
        if self._mended is not None and runs:
            runs = mended_runs(runs)
            then = mended_answers(then, runs)
        state = self.state
        append = Append(self._id, packed, base_id, session, runs, state.head)
        state.head += len(drafts)
        if then:
            then = [self._with_sequence(one) for one in then]
        for run in effect.runs:
            if run.id not in state.open:
                self._services.directory.runs.pop(run.id, None)
            else:
                self._services.directory.runs[run.id] = self._id
        if not self._journal.post(Commit(self._actor_ref, append, then)):
            # The tree is about to take the sessions down, and to start them again with the journal.
            self.exit(Shutdown("the journal is gone"))

    def _mend(self, base_id: int, drafts: Sequence[Draft], error: AsmError) -> Packed:
        """Keep what cannot be stored as it is; see `sessions.mending`."""
        if self._mended is None:
            self._mended = error
            logger.warning(
                "session %s: a provider said what cannot be stored, it is kept mended: %s", self._id, error
            )
        return pack_drafts(base_id, mended_drafts(drafts))

    def _with_sequence(self, one: fx.Then) -> fx.Then:
        if type(one) is fx.Reply and type(one.value) is Session:
            return fx.Reply(one.to, one.value.replace(last_sequence=self.state.head))
        return one

    def _reply(self, effect: fx.Reply) -> None:
        if effect.to is not None and not effect.to.is_done:
            effect.to.set(effect.value)

    def _refuse(self, effect: fx.Refuse) -> None:
        _refuse(effect.to, effect.error)

    def _start_run(self, effect: fx.StartRun) -> None:
        run = effect.run
        ref = self.start_child(RunActor, self._services, self.actor_ref, self.state.session, run)
        if self._runs is None or self._run_ids is None:
            self._runs, self._run_ids = {}, {}
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
        assert self._runs is not None
        del self._runs[run_id]
        if not self._runs:
            self._runs = self._run_ids = None
        if run_id in self.state.open:
            cause = reason.error if isinstance(reason, Crashed) else None
            error = AsmError(ErrorCode.INTERNAL_ERROR, f"the actor of run {run_id} ended: {describe(reason)}")
            error.__cause__ = cause
            self._step(RunCrashed(run_id, error))

    def _load_run(self, effect: fx.LoadRun) -> None:
        self._n_reading += 1
        self.spawn(self._read_run(effect), name=f"load-{effect.run_id}")

    async def _read_run(self, effect: fx.LoadRun) -> None:
        run: Run | None = None
        try:
            await self._flushed()
            run = await self.blocking(self._services.store.run, effect.run_id)
        except AsmError as error:
            if error.code is ErrorCode.RUN_NOT_FOUND:
                self._step(RunLoaded(None, effect.message, effect.reply))
            else:
                _refuse(effect.reply, error)
        else:
            self._step(RunLoaded(run, effect.message, effect.reply))
        self._n_reading -= 1
        self._leave_if_over()

    def _acquire(self, effect: fx.AcquireSlot) -> None:
        limit = self._services.limits.max_parallel_sessions or 0
        wish = Acquire(
            effect.pool,
            self.actor_ref,
            granted=SlotGranted(effect.pool),
            refused=SlotRefused(effect.pool, limit),
            wait=effect.wait,
        )
        self._to_slots(wish)

    def _release(self, effect: fx.ReleaseSlot) -> None:
        self._to_slots(Release(effect.pool, self.actor_ref))

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

    def _leave_if_over(self) -> None:
        if not self._is_over or self._n_reading:
            return
        if self._life.promised:
            # Their answers hang on writes that are on their way: leave behind these.
            self._write(fx.Write((), then=(fx.Note(Ended()),)))
        else:
            self.exit()

    def on_stop(self) -> None:
        self._give_up(self._interrupted("was stopped"))
        self._strike_off(self.state.open)

    def on_failure(self, *exc_info: Any) -> None:
        error = exc_info[1]
        if not isinstance(error, AsmError):
            error = self._interrupted(f"crashed: {error!r}")
        self._birth.cause = error
        self._give_up(error)

    def _interrupted(self, how: str) -> AsmError:
        text = f"the actor of session {self._id} {how}"
        return AsmError(ErrorCode.INTERRUPTED, text, context={"session_id": self._id})

    def _give_up(self, error: AsmError) -> None:
        """Tell those who wait. The journal tells the next life how things stand."""
        for asker in tuple(self._life.promised or ()):
            _refuse(asker, error)
        # Its open runs stay in the directory: a drain that begins now must wait for the next life, which finds them.


def _refuse(asker: Any, error: AsmError) -> None:
    # Whoever has an answer already got it from the end of somebody else on the way.
    if asker is not None and not asker.is_done:
        asker.set_error(error)


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
