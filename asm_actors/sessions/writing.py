"""How a session's actor writes: without secrets; packed, and mended if it must be; to the journal.

What callers are told is what is stored. The session itself goes on with the original (see `redaction.settings`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.append import Append, Draft, Packed
from asm_actors.journal.codec import pack_drafts
from asm_actors.journal.messages import Commit
from asm_actors.redaction.writes import WriteRedactor
from asm_actors.services import JOURNAL, Services
from asm_actors.sessions.mending import mended_answers, mended_drafts, mended_runs
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session
from asm_actors.sessions.state import SessionState
from supervisors import Actor, Shutdown

__all__ = ["WritingActor"]

logger = logging.getLogger("asm_actors.sessions")
_UNBORN = Session(id="", agent_id="")


class WritingActor(Actor):
    """The writing part of a session's actor.

    Args:
        services: The system's.
        session_id: Which session.

    Raises:
        RuntimeFailure: ``interrupted``: the journal is being restarted.
    """

    def __init__(self, services: Services, session_id: str) -> None:
        super().__init__()
        self._services = services
        self._id = session_id
        limits = services.limits
        self.state = SessionState(
            _UNBORN, limits.max_concurrent_runs, RunQueue(limits.max_queued_runs), rules=services
        )
        # A restart of the journal restarts the sessions too, so its ref is good for this actor's life. Without one that
        # restart is about to come, and a session that began now could write nothing.
        self._journal = services.whereis(JOURNAL)
        if self._journal is None:
            raise AsmError(ErrorCode.INTERRUPTED, "the journal is being restarted; try again")
        # Why something had to be mended, once it had: from then on records are mended too.
        self._mended: AsmError | None = None
        # Made for a write, and kept while a run is open: most sessions in memory are at rest.
        self._redactor: WriteRedactor | None = None

    def _write(self, effect: fx.Write) -> None:
        drafts, session, runs, then = effect.drafts, effect.session, effect.runs, effect.then
        redactor = self._redactor
        if redactor is None and self._services.redactor is not None:
            redactor = self._redactor = WriteRedactor(self._services.redactor)
        if redactor is not None and drafts:
            drafts = redactor.drafts(drafts)
        base_id = self._services.ids.block()
        try:
            packed = pack_drafts(base_id, drafts) if drafts else ()
        except AsmError as error:
            packed = self._mend(base_id, drafts, error)
        if self._mended is not None and runs:
            runs = mended_runs(runs)
            then = mended_answers(then, runs)
        if redactor is not None and (runs or then or session is not None):
            session, runs, then = redactor.records(session, runs, then)
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
        if not state.open:
            self._redactor = None

    def _mend(self, base_id: int, drafts: Sequence[Draft], error: AsmError) -> Packed:
        """Keep what cannot be stored as it is; see `sessions.mending`."""
        if self._mended is None:
            self._mended = error
            logger.warning(
                "session %s: a provider said what cannot be stored, it is kept mended: %s", self._id, error
            )
        drafts = mended_drafts(drafts)
        if self._redactor is not None:
            # What was no text before it was mended was not looked at.
            drafts = [self._redactor.draft(draft) for draft in drafts]
        return pack_drafts(base_id, drafts)

    def _with_sequence(self, one: fx.Then) -> fx.Then:
        if type(one) is fx.Reply and type(one.value) is Session:
            return fx.Reply(one.to, one.value.replace(last_sequence=self.state.head))
        return one
