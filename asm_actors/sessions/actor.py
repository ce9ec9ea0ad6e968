"""The shell of a session: feeds `sessions.core` and performs its effects. The only writer of its session.

A new session starts empty and is told `CreateSession` or `RunOnce`. Any other life reads its records first and puts
what comes meanwhile aside, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.messages import Commit, WriteFailed
from asm_actors.runs.actor import RunActor
from asm_actors.runs.run import Run
from asm_actors.services import JOURNAL, SESSION_SLOTS, Services
from asm_actors.sessions import core
from asm_actors.sessions.messages import RunLoaded, SessionLoaded, SlotGranted, SlotRefused
from asm_actors.sessions.open_runs import RunCrashed
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.recovery import restore
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState, abandon
from supervisors import Actor, ChildExited, Timer
from supervisors.exits import Crashed, ExitReason, describe
from supervisors.slot_pool import Acquire, Release

__all__ = ["Birth", "SessionActor"]

logger = logging.getLogger("asm_actors.sessions")
_UNBORN = Session(id="", agent_id="")


class Birth:
    """Whether an actor's life is its session's first: true once, so a restarted actor reads the journal."""

    __slots__ = ("_is_first",)

    def __init__(self, *, is_first: bool) -> None:
        self._is_first = is_first

    def take(self) -> bool:
        """Return whether it is the first, and never again."""
        first, self._is_first = self._is_first, False
        return first


class SessionActor(Actor):
    """See the module.

    Args:
        services: The system's.
        session_id: Which session.
        birth: Whether it is new.
    """

    mailbox_capacity = 100_000

    def __init__(self, services: Services, session_id: str, birth: Birth) -> None:
        super().__init__()
        self._services = services
        self._id = session_id
        limits = services.limits
        self.state = SessionState(_UNBORN, limits.max_concurrent_runs, RunQueue(limits.max_queued_runs))
        # A restart of the journal restarts the sessions too, so its ref is good for this actor's life.
        self._journal = services.whereis(JOURNAL)
        self._head = 0
        self._aside: list[tuple[Any, Any]] | None = None if birth.take() else []
        self._runs: dict[str, Any] | None = None
        self._run_ids: dict[Any, str] | None = None
        self._timers: dict[str, Timer] | None = None

    # --- Start -------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        if self._aside is not None:
            self.spawn(self._load(), name=f"load-{self._id}")

    async def _load(self) -> None:
        store, session_id = self._services.store, self._id

        def read() -> SessionLoaded:
            runs = [run for run in store.runs(session_id) if not run.is_terminal]
            return SessionLoaded(store.session(session_id), tuple(runs))

        try:
            loaded: Any = await self.blocking(read)
        except AsmError as error:
            loaded = error
        self._loaded(loaded)

    def _loaded(self, loaded: SessionLoaded | AsmError) -> None:
        aside, self._aside = self._aside or [], None
        if isinstance(loaded, AsmError):
            for _, reply in aside:
                if reply is not None:
                    reply.set_error(loaded)
            self.exit()
            return
        self._head = loaded.session.last_sequence
        for run in loaded.runs:
            self._services.directory.runs[run.id] = self._id
        self._perform(restore(self.state, loaded, self._services.now_us()))
        for message, reply in aside:
            self._step(message, reply)

    def run_ref(self, run_id: str) -> Any:
        """Ref of the actor of a run that is under way, or None."""
        return (self._runs or {}).get(run_id)

    # --- Messages ----------------------------------------------------------------------------------------------

    def on_receive(self, message: Any) -> Any:
        if type(message) is ChildExited:
            self._run_exited(message.ref, message.reason)
        elif type(message) is WriteFailed:
            # What the state says and what the journal holds differ now: start again from the journal.
            raise message.error
        elif not core.knows(message):
            return super().on_receive(message)
        elif self._aside is not None:
            self._aside.append((message, self.reply_later()))
        else:
            self._step(message, self.reply_later())
        return None

    def _step(self, message: Any, reply: Any = None) -> None:
        try:
            effects = core.step(self.state, message, self._services.now_us(), reply)
        except AsmError as error:
            if reply is not None:
                reply.set_error(error)
            else:
                logger.warning("%s was told to %s: %s", self._id, type(message).__name__, error)
            return
        except Exception:
            if reply is not None:
                reply.set_exception()
            raise
        self._perform(effects)

    # --- Effects -----------------------------------------------------------------------------------------------

    def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            _PERFORM[type(effect)](self, effect)

    def _write(self, effect: fx.Write) -> None:
        drafts, session = effect.drafts, effect.session
        base_id = self._services.ids.block()
        packed = pack_drafts(base_id, drafts) if drafts else ()
        append = Append(self._id, packed, base_id, session, effect.runs, self._head)
        self._head += len(drafts)
        then = effect.then
        if session is not None and then:
            then = [self._with_sequence(one) for one in then]
        self._journal.tell(Commit(self._actor_ref, append, then))
        for run in effect.runs:
            if run.id not in self.state.open:
                self._services.directory.runs.pop(run.id, None)
            else:
                self._services.directory.runs[run.id] = self._id

    def _with_sequence(self, one: fx.Then) -> fx.Then:
        if type(one) is fx.Reply and type(one.value) is Session:
            return fx.Reply(one.to, one.value.replace(last_sequence=self._head))
        return one

    def _reply(self, effect: fx.Reply) -> None:
        if effect.to is not None:
            effect.to.set(effect.value)

    def _refuse(self, effect: fx.Refuse) -> None:
        if effect.to is not None:
            effect.to.set_error(effect.error)

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
        self.spawn(self._read_run(effect), name=f"load-{effect.run_id}")

    async def _read_run(self, effect: fx.LoadRun) -> None:
        run: Run | None
        try:
            run = await self.blocking(self._services.store.run, effect.run_id)
        except AsmError as error:
            if error.code is not ErrorCode.RUN_NOT_FOUND:
                self._refuse(fx.Refuse(effect.reply, error))
                return
            run = None
        self._step(RunLoaded(run, effect.message, effect.reply))

    def _acquire(self, effect: fx.AcquireSlot) -> None:
        limit = self._services.limits.max_parallel_sessions or 0
        wish = Acquire(
            effect.pool,
            self.actor_ref,
            granted=SlotGranted(effect.pool),
            refused=SlotRefused(effect.pool, limit),
            wait=effect.wait,
        )
        self._services.whereis(SESSION_SLOTS).tell(wish)

    def _release(self, effect: fx.ReleaseSlot) -> None:
        self._services.whereis(SESSION_SLOTS).tell(Release(effect.pool, self.actor_ref))

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
        self.exit()

    # --- The end -----------------------------------------------------------------------------------------------

    def on_stop(self) -> None:
        self._give_up("its session's actor was stopped")

    def on_failure(self, *exc_info: Any) -> None:
        self._give_up(f"its session's actor crashed: {exc_info[1]}")

    def _give_up(self, why: str) -> None:
        """Tell those who wait. The journal tells the next life how things stand."""
        error = AsmError(ErrorCode.INTERRUPTED, why, context={"session_id": self._id})
        for _, reply in self._aside or ():
            if reply is not None:
                reply.set_error(error)
        for effect in abandon(self.state, error):
            effect.to.set_error(error)
        for run_id in self.state.open:
            self._services.directory.runs.pop(run_id, None)


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
