"""The supervisor of all sessions, and the door through which messages find a session that does not run now.

1. A session has one life at a time, and none while nobody needs it (`sessions.lives`).
2. Whatever must be read before a message can be handed on is read by a task of this actor: neither its own thread nor
   a caller's waits for the store.
3. Ids and keys that callers choose are claimed for as long as it takes to find out whether they are taken and to make
   them durable; whoever claims the same meanwhile waits, and then finds what was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.messages import Flush
from asm_actors.runs.messages import CancelRun
from asm_actors.runs.run import RunStatus
from asm_actors.services import JOURNAL, Services, session_name
from asm_actors.sessions import door
from asm_actors.sessions.birth import Birth
from asm_actors.sessions.cascading import Cascade, carry_down
from asm_actors.sessions.delivery import Delivery, check_room, handed_on, not_running
from asm_actors.sessions.lives import LivesSupervisor, Sweep, SweepMore
from asm_actors.sessions.messages import Recover, RunOnce
from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.requests import (
    Claim,
    Deliver,
    DeliverToRun,
    Drain,
    DrainReport,
    Reserve,
    Reserved,
)
from asm_actors.sessions.reserving import carry_out
from asm_actors.sessions.resting import Rest
from asm_actors.sessions.run_line import RunLine
from asm_actors.sessions.session import SessionStatus
from supervisors import ActorDeadError, Down, StartFailed
from supervisors.control import ChildError
from supervisors.future import Future

__all__ = ["SessionsSupervisor"]

logger = logging.getLogger("asm_actors.sessions")

RECOVER_AT_ONCE = 200
"""Sessions that are revived before other actors have their turn."""
RECOVER_PAUSE_S = 1.0
"""How long a session stays down whose writes failed."""
DRAIN_LOOK_S = 0.02


class _Look:
    """To itself: see whether the drain is done."""


class _RecoverMore:
    """To itself: go on reviving sessions."""


class _RecoverNow(NamedTuple):
    """To itself: the pause before these are revived is over."""

    what: Recover


class SessionsSupervisor(LivesSupervisor):
    """Dynamic supervisor of transient session actors; see the module.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        # What waits until it is known whose run it is for.
        self._finding: dict[str, list[tuple[DeliverToRun, Any]]] = {}
        self._claims: dict[Hashable, list[tuple[Claim, Any]]] = {}
        self._drains: list[tuple[Any, float, float | None]] = []
        self._cancelled: set[str] | None = None
        self._to_recover: deque[tuple[str, AsmError | None]] = deque()
        self._is_reading_open_runs = True
        self._n_paused = 0
        self._handlers: dict[type, Callable[[Any], None]] = {
            Deliver: lambda message: self._deliver(message, self.reply_later()),
            DeliverToRun: self._deliver_to_run,
            Cascade: lambda message: self._carry_down(message, self.reply_later()),
            Claim: lambda message: self._claim(message, self.reply_later()),
            Recover: self._recover_soon,
            _RecoverNow: self._recover_now,
            Down: self._life_is_over,
            Reserve: self._reserve,
            Drain: self._begin_drain,
            _Look: self._look,
            _RecoverMore: self._recover_some,
            Sweep: self._sweep,
            SweepMore: self._sweep_some,
        }

    @property
    def is_draining(self) -> bool:
        """Whether new work is refused."""
        return self._services.directory.is_draining

    def on_start(self) -> None:
        super().on_start()
        self._services.directory.runs.clear()  # what the sessions of an earlier life left there
        self._services.directory.on_the_way.clear()
        if self._services.limits.max_waiting_runs is not None:
            self._services.directory.run_line = RunLine(self._services)
        self.spawn(self._read_open_runs(), name="recover")

    def on_receive(self, message: Any) -> Any:
        handler = self._handlers.get(type(message))
        return super().on_receive(message) if handler is None else handler(message)

    # --- Recovery ----------------------------------------------------------------------------------------------

    async def _read_open_runs(self) -> None:
        """Revive the sessions that have runs to execute: by the highest priority in each, then oldest first."""
        store = self._services.store

        def read() -> tuple[str, ...]:
            priorities: dict[str, int] = {}
            for run in store.open_runs():
                if run.status is not RunStatus.PENDING or run.options.get("submitted"):
                    priority = run.options.get("priority", 0)
                    priorities[run.session_id] = max(priority, priorities.get(run.session_id, priority))
            return tuple(sorted(priorities, key=lambda session_id: -priorities[session_id]))

        journal = self._services.whereis(JOURNAL)
        if journal is not None:
            # Behind what the sessions of an earlier life of this actor had told, which may not be durable yet.
            with contextlib.suppress(ActorDeadError):
                await journal.ask(Flush(), block=False)
        found = await self.blocking(read)
        self._is_reading_open_runs = False
        self.actor_ref.post(Recover(found))

    def _recover_soon(self, message: Recover) -> None:
        if message.cause is None:
            self._recover(message)
        else:
            # Its writes failed: the disk, and whoever clears it, get some time before they are tried again.
            self._n_paused += 1
            self.send_after(RECOVER_PAUSE_S, _RecoverNow(message))

    def _recover_now(self, message: _RecoverNow) -> None:
        self._n_paused -= 1
        self._recover(message.what)

    def _recover(self, message: Recover) -> None:
        is_idle = not self._to_recover
        self._to_recover.extend((session_id, message.cause) for session_id in message.session_ids)
        if is_idle:
            self._recover_some(_RecoverMore())

    def _recover_some(self, message: _RecoverMore) -> None:
        for _ in range(min(RECOVER_AT_ONCE, len(self._to_recover))):
            session_id, cause = self._to_recover.popleft()
            if self._services.whereis(session_name(session_id)) is not None:
                continue
            try:
                if not self._hold(session_id, Recover((session_id,), cause), None):
                    birth = Birth(is_first=False, cause=cause)
                    self._reviving.add(self._start_on_request((session_id, birth), {}))
            except (ChildError, StartFailed):
                return  # this supervisor is ending, or about to; the next start finds them again
        if self._to_recover:
            self.actor_ref.post(message)

    def _go_on(self, held: Deliver | Recover, reply: Any) -> None:
        if isinstance(held, Recover):
            self._recover(held)
        else:
            self._deliver(held, reply)

    # --- Deliveries --------------------------------------------------------------------------------------------

    def _deliver(self, message: Deliver, reply: Any) -> None:
        try:
            ref = self._find_or_start(message, reply)
            if ref is None:
                return  # it comes here again
            check_room(ref)
        except AsmError as error:
            _refuse(reply, error, message)
        except ChildError:
            # This supervisor is ending: with the system, or to be started again.
            _refuse(reply, not_running(self._services), message)
        else:
            if reply is None:
                ref.post(message.message)
            elif not reply.is_done:
                ref.ask_into(message.message, reply)
        handed_on(self._services, message)

    def _find_or_start(self, message: Deliver, reply: Any) -> Any:
        """Return the session's ref; None if the message is held until it can have one."""
        session_id, is_new = message.session_id, message.is_new
        ref = self._services.whereis(session_name(session_id))
        if is_new:
            directory, new = self._services.directory, message.message
            door.check_takes_work(directory)
            if directory.run_line is not None and type(new) is RunOnce:
                directory.run_line.check(new.session, new.run)
            if ref is not None:
                raise AsmError(
                    ErrorCode.ALREADY_EXISTS, f"there is a session {session_id} already; choose another id"
                )
        elif ref is not None:
            return ref
        if self._hold(session_id, message, reply):
            return None
        return self._start_on_request((session_id, Birth(is_first=is_new)), {})

    def _deliver_to_run(self, message: DeliverToRun) -> None:
        reply, run_id = self.reply_later(), message.run_id
        finding = self._finding.get(run_id)
        if finding is not None:
            finding.append((message, reply))
            return
        session_id = self._services.directory.runs.get(run_id)
        if session_id is not None:
            self._deliver_found(message, reply, session_id)
        else:
            self._finding[run_id] = [(message, reply)]
            self.spawn(self._find_session(run_id), name=f"find-{run_id}")

    async def _find_session(self, run_id: str) -> None:
        """Look up whose run it is, and hand on what came for it meanwhile, in order."""
        try:
            run = await self.blocking(self._services.store.run, run_id)
        except AsmError as error:
            for message, reply in self._finding.pop(run_id):
                _refuse(reply, error, message)
                handed_on(self._services, message)
        else:
            for message, reply in self._finding.pop(run_id):
                self._deliver_found(message, reply, run.session_id)

    def _deliver_found(self, message: DeliverToRun, reply: Any, session_id: str) -> None:
        self._deliver(Deliver(session_id, message.message), reply)
        handed_on(self._services, message)

    # --- Claims ------------------------------------------------------------------------------------------------

    def _claim(self, claim: Claim, reply: Any) -> None:
        for key in claim.keys:
            if key in self._claims:
                self._claims[key].append((claim, reply))
                return
        for key in claim.keys:
            self._claims[key] = []
        self.spawn(self._carry_out(claim, reply), name="claim")

    async def _carry_out(self, claim: Claim, reply: Any) -> None:
        try:
            known = await self._find(claim)
        except AsmError as error:
            _refuse(reply, error, claim)
        else:
            making = claim.deliver if known is None else known
            if isinstance(making, Deliver):
                if isinstance(reply, Delivery):
                    # Sent again, if it must be, within this claim: a second one would wait for this one for ever.
                    reply.pending = making
                self._deliver(making, reply)
                await _answered(reply)
            elif not reply.is_done:
                reply.set(known)
        for key in claim.keys:
            for waiting, asker in self._claims.pop(key):
                self._claim(waiting, asker)

    async def _find(self, claim: Claim) -> Any:
        """Look for what is claimed, behind all that was told to the journal: a life that is gone may have told it."""
        journal = self._services.whereis(JOURNAL)
        if journal is None:
            raise not_running(self._services)
        try:
            await journal.ask(Flush(), block=False)
        except ActorDeadError as error:
            raise not_running(self._services) from error
        return await self.blocking(claim.find, self._services.store)

    def _carry_down(self, message: Cascade, reply: Any) -> None:
        self.spawn(carry_down(self, self._services, message, reply), name=f"cascade-{message.session_id}")

    # --- Reservations ------------------------------------------------------------------------------------------

    def _reserve(self, message: Reserve) -> None:
        idle, live = self._reserved.begin(message.session_ids, self._lives)
        for session_id in live:
            ref = self._lives.get(session_id)
            if ref is not None and ref.life.actor is not None and ref.life.actor.may_rest:
                ref.post(Rest(at_once=True))
        self.spawn(self._work_on(message, idle, live, self.reply_later()), name="reserve")

    async def _work_on(
        self, message: Reserve, idle: tuple[str, ...], live: tuple[str, ...], reply: Any
    ) -> None:
        try:
            result = await carry_out(self._services, message, idle)
        except Exception as error:  # the asker's, whatever it is
            if reply is not None and not reply.is_done:
                reply.set_error(error)
        else:
            if reply is not None and not reply.is_done:
                reply.set(Reserved(result, live))
        for held, asker in self._reserved.end(idle):
            self._go_on(held, asker)

    # --- Drain -------------------------------------------------------------------------------------------------

    def _begin_drain(self, message: Drain) -> None:
        self._services.directory.is_draining = True
        if message.cancel and self._cancelled is None:
            self._cancelled = set()
        self._drains.append((self.reply_later(), self.now(), message.timeout))
        self._look(_Look())

    def _look(self, message: _Look) -> None:
        busy, unfinished = self._open_work()
        if self._cancelled is not None:
            self._cancel(self._cancelled, unfinished)
        now, drains = self.now(), self._drains
        self._drains = []
        for reply, began, timeout in drains:
            waited = now - began
            if busy and (timeout is None or waited < timeout):
                self._drains.append((reply, began, timeout))
            elif reply is not None and not reply.is_done:
                reply.set(DrainReport(tuple(unfinished), waited))
        if self._drains:
            self.send_after(DRAIN_LOOK_S, _Look())

    def _open_work(self) -> tuple[bool, list[str]]:
        """Whether anything is under way that can end by itself, and which runs were to be executed and are open."""
        journal = self._services.whereis(JOURNAL)
        # A run that is over leaves the directory when its end is told to the journal; it counts when it is durable.
        busy = journal is None or not journal.life.actor.is_idle
        self._reviving = {ref for ref in self._reviving if ref.is_alive() and ref.life.actor.is_loading}
        busy = busy or bool(self._to_recover or self._held or self._n_paused or self._reviving)
        busy = busy or self._is_reading_open_runs
        unfinished: list[str] = []
        for run_id, session_id in self._services.directory.runs.items():
            ref = self._services.whereis(session_name(session_id))
            state = None if ref is None else ref.life.actor.state
            entry = None if state is None else state.open.get(run_id)
            if entry is not None and entry.phase is Phase.CREATED:
                continue  # nobody has asked for its execution
            unfinished.append(run_id)
            if entry is not None and entry.phase is Phase.HELD:
                continue  # somebody outside has to decide first
            is_held = entry is not None and entry.phase is Phase.QUEUED
            if not is_held or state is None or state.session.status is not SessionStatus.PAUSED:
                busy = True
        return busy, unfinished

    def _cancel(self, cancelled: set[str], run_ids: list[str]) -> None:
        for run_id in run_ids:
            if run_id not in cancelled:
                cancelled.add(run_id)
                session_id = self._services.directory.runs[run_id]
                self._deliver(Deliver(session_id, CancelRun("system_stopped", run_id)), None)


async def _answered(reply: Future[Any]) -> None:
    """Wait until a future has its answer, whatever it is."""
    done = asyncio.Event()
    reply.add_done_callback(lambda _: done.set())
    await done.wait()


def _refuse(reply: Any, error: AsmError, message: Any) -> None:
    if reply is None:
        logger.warning("%s could not be delivered: %s", type(message).__name__, error)
    elif not reply.is_done:
        reply.set_error(error)
