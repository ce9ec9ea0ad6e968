"""The supervisor of all sessions, and the door through which messages find a session that does not run now."""

from __future__ import annotations

from typing import Any, NamedTuple

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.services import Services, session_name
from asm_actors.sessions.actor import Birth, SessionActor
from supervisors import ChildSpec, DynamicSupervisor, Restart, SupervisorFlags
from supervisors.control import ChildError
from supervisors.future import Future

__all__ = ["Deliver", "Drain", "DrainReport", "Recover", "SessionsSupervisor"]

# A session crashes only by a defect or a journal that refuses: a hundred in ten seconds, over all sessions, is no
# longer bad luck of single ones. Then the tree above decides, and everything starts again from the journal.
FLAGS = SupervisorFlags(intensity=100, period=10.0)


class Deliver(NamedTuple):
    """Hand a message to a session, starting its actor if need be. The answer goes to `reply`."""

    session_id: str
    """Which session."""
    message: Any
    """The message."""
    reply: Any
    """Future of the asker, or None."""
    is_new: bool = False
    """Whether the session is made by this message."""


class Recover(NamedTuple):
    """Start the actors of these sessions: the journal holds open runs of them."""

    session_ids: tuple[str, ...]
    """Which ones."""


class Drain(NamedTuple):
    """Admit nothing new; answer (`DrainReport`) when nothing is open, or when the time is over."""

    timeout: float | None
    """Seconds; None waits for ever."""


class DrainReport(NamedTuple):
    """How a drain went."""

    orphans: tuple[str, ...]
    """Ids of runs that were not over when the time was."""
    waited_s: float
    """Seconds it took."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was left."""
        return not self.orphans


class _Look:
    """To itself: see whether the drain is done."""


DRAIN_LOOK_S = 0.02
_NEW_WORK = frozenset({"CreateSession", "RunOnce", "CreateRun", "SubmitRun", "ActivateSession"})


class SessionsSupervisor(DynamicSupervisor):
    """Dynamic supervisor of transient session actors; see the module.

    Args:
        services: The system's.
    """

    def __init__(self, services: Services) -> None:
        template = ChildSpec("session", SessionActor, (services,), restart=Restart.TRANSIENT, shutdown=5.0)
        super().__init__(template, flags=FLAGS, name_of=lambda session_id, _birth: session_name(session_id))
        self._services = services
        self.is_draining = False
        self._drains: list[tuple[Future[DrainReport] | None, float, float | None]] = []

    def on_start(self) -> None:
        super().on_start()
        self.spawn(self._recover(), name="recover")

    async def _recover(self) -> None:
        """Revive the sessions that have open runs, oldest first."""

        def read() -> tuple[str, ...]:
            return tuple(dict.fromkeys(run.session_id for run in self._services.store.open_runs()))

        self.actor_ref.post(Recover(await self.blocking(read)))

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Deliver:
            self._deliver(message)
        elif kind is Recover:
            for session_id in message.session_ids:
                self._find_or_start(session_id, is_new=False)
        elif kind is Drain:
            self._begin_drain(message)
        elif kind is _Look:
            self._look()
        else:
            return super().on_receive(message)
        return None

    def _deliver(self, message: Deliver) -> None:
        reply = message.reply
        try:
            if self.is_draining and type(message.message).__name__ in _NEW_WORK:
                raise draining()
            ref = self._find_or_start(message.session_id, is_new=message.is_new)
        except AsmError as error:
            if reply is not None:
                reply.set_error(error)
            return
        except ChildError as error:
            # This supervisor is ending, and with it the system.
            if reply is not None:
                reply.set_error(AsmError.wrap(ErrorCode.INVALID_OPERATION, error, "the system is stopping"))
            return
        if reply is None:
            ref.post(message.message)
        else:
            ref.ask_into(message.message, reply)

    def _find_or_start(self, session_id: str, *, is_new: bool) -> Any:
        ref = self._services.whereis(session_name(session_id))
        if ref is not None and ref.is_alive():
            if is_new:
                raise AsmError(ErrorCode.ALREADY_EXISTS, f"there is a session {session_id} already; choose another id")
            return ref
        if ref is not None:
            # Its life is just ending; the name is free for the next one.
            self.dispatcher.names.forget(ref)
        return self._start_on_request((session_id, Birth(is_first=is_new)), {})

    # --- Drain -------------------------------------------------------------------------------------------------

    def _begin_drain(self, message: Drain) -> None:
        self.is_draining = True
        self._drains.append((self.reply_later(), self.now(), message.timeout))
        self._look()

    def _look(self) -> None:
        open_runs, now = self._services.directory.runs, self.now()
        waiting = []
        for reply, began, timeout in self._drains:
            waited = now - began
            if open_runs and (timeout is None or waited < timeout):
                waiting.append((reply, began, timeout))
            elif reply is not None:
                reply.set(DrainReport(tuple(open_runs), waited))
        self._drains = waiting
        if waiting:
            self.send_after(DRAIN_LOOK_S, _Look())


def draining() -> AsmError:
    """The error for new work while the system drains."""
    return AsmError(
        ErrorCode.INVALID_OPERATION, "the system is draining and takes no new work; send it to another process"
    )
