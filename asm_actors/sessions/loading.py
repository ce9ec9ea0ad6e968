"""How a session's actor reads: its records at the start of a life, and single runs that are over.

What is read from the journal is read behind everything that was told to it. Messages that come while the records are
read are put aside, in order.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCategory, ErrorCode
from asm_actors.journal.messages import Flush
from asm_actors.journal.store import Store
from asm_actors.runs.policing import policed_by
from asm_actors.services import SESSIONS, Services
from asm_actors.sessions.birth import Birth
from asm_actors.sessions.histories import read_progress, read_run
from asm_actors.sessions.messages import ProgressLoaded, Recover, RecoverRun, SessionLoaded
from asm_actors.sessions.state import DEFAULT_RULES, Rules
from asm_actors.sessions.writing import WritingActor
from supervisors import ActorDeadError

__all__ = ["LoadingActor", "read_session", "refuse"]

logger = logging.getLogger("asm_actors.sessions")


def read_session(
    store: Store, session_id: str, cause: AsmError | None, rules: Rules = DEFAULT_RULES
) -> SessionLoaded:
    """Read what a new life of a session's actor needs. Blocks.

    Args:
        store: The journal's.
        rules: The system's.
        session_id: Which session.
        cause: What ended the life before, if it was in this process.

    Raises:
        AsmError: ``session_not_found``, ``storage_read_failed``.
    """
    runs = tuple(store.open_runs(session_id))
    session = store.session(session_id)
    progress = {
        run.id: found
        for run in runs
        if (found := read_progress(store, run, policed_by(rules, session, run))) is not None
    }
    return SessionLoaded(session, runs, cause, progress)


class LoadingActor(WritingActor):
    """The reading part of a session's actor.

    Args:
        services: The system's.
        session_id: Which session.
        birth: Whether it is new.
    """

    def __init__(self, services: Services, session_id: str, birth: Birth) -> None:
        super().__init__(services, session_id)
        self._birth = birth
        self._n_reading = 0
        self._is_over = False
        # Set by whatever comes; the sessions' supervisor clears it when it looks who has nothing to do, and notes when.
        self.is_used = True
        self.quiet_since = 0.0
        # What came before its records were read; None once they are.
        self._aside: list[tuple[Any, Any]] | None = []
        if birth.take():
            self._aside = None
            birth.open = self.state.open

    @property
    def is_loading(self) -> bool:
        """Whether it has not read its records yet."""
        return self._aside is not None

    def on_start(self) -> None:
        if self._aside is not None:
            self.spawn(self._load(), name=f"load-{self._id}")

    async def _load(self) -> None:
        try:
            await self._flushed()
            services = self._services
            loaded = await self.blocking(read_session, services.store, self._id, self._birth.cause, services)
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
            refuse(reply, error)
        self._strike_off(self._birth.open)
        # A record that cannot be read is named, and will not get better; a disk that does not answer may.
        is_disk = error.category is ErrorCategory.STORAGE and "table" not in error.details
        if error.retryable or is_disk:
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

    def _recover_later(self, cause: AsmError) -> None:
        sessions = self._services.whereis(SESSIONS)
        if sessions is not None:
            sessions.post(Recover((self._id,), cause))

    def _load_run(self, effect: fx.LoadRun) -> None:
        self._n_reading += 1
        self.spawn(self._read_run(effect), name=f"load-{effect.run_id}")

    async def _read_run(self, effect: fx.LoadRun) -> None:
        try:
            await self._flushed()
            session = self.state.session
            answer = await self.blocking(
                read_run, self._services.store, effect, lambda run: policed_by(self._services, session, run)
            )
        except AsmError as error:
            if type(effect.message) is RecoverRun:
                self._step(ProgressLoaded(effect.run_id, None, error))
            else:
                refuse(effect.reply, error)
        else:
            self._step(answer)
        self._n_reading -= 1
        self._leave_if_over()

    def _step(self, message: Any, reply: Any = None) -> None:
        """Feed the core, and perform what it wants done."""
        raise NotImplementedError

    def _leave_if_over(self) -> None:
        """Leave if the session is over and nothing is read any more."""
        raise NotImplementedError


def refuse(asker: Any, error: AsmError) -> None:
    """Answer an asker with an error, unless nobody asks or somebody answered already."""
    # Whoever has an answer already got it from the end of somebody else on the way.
    if asker is not None and not asker.is_done:
        asker.set_error(error)
