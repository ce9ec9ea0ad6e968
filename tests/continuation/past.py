"""A past that is written by hand."""

from __future__ import annotations

from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError
from asm_actors.events import EventType
from asm_actors.ids import SequentialIds
from asm_actors.journal.append import Append, Draft
from asm_actors.journal.memory import MemoryStore
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.transcripts.continuation import continue_from

PLAIN = Manifest.new("p", "1", capabilities=[{"name": "chat", "type": "sampling"}])
NATIVE = Manifest.new("p", "1", capabilities=[{"name": "native_continuation", "type": "sampling"}])
KNOWN = {"provider_sessions": {"p": {"provider_session_id": "conv", "model": "m"}}}


class Past:
    """A session with a past, and a run that goes on from it."""

    def __init__(self):
        self.store = MemoryStore()
        self.store.open()
        self.ids = SequentialIds()
        self.session = Session(
            id="ses", agent_id="a", status=SessionStatus.ACTIVE, provider="p", metadata=KNOWN
        )
        self._commit([Draft(EventType.SESSION_CREATED, 1)], self.session)

    def _commit(self, drafts, session=None, runs=()):
        (answer,) = self.store.commit([Append("ses", drafts, self.ids.block(), session, runs)])
        assert not isinstance(answer, AsmError), answer

    def run(
        self,
        run_id,
        *specs,
        status=RunStatus.COMPLETED,
        used="replay",
        conversation="conv",
        begun=None,
        **fields,
    ):
        """A run that began, said what ``specs`` tell (type, data), and ended."""
        facts = {
            "provider": "p",
            "details": {"continuation": {"used": used}} if used else {},
            "provider_metadata": {"provider_session_id": conversation},
        }
        record = Run(id=run_id, session_id="ses", status=status, **(facts | fields))
        end = {
            RunStatus.COMPLETED: EventType.RUN_COMPLETED,
            RunStatus.FAILED: EventType.RUN_FAILED,
            RunStatus.CANCELLED: EventType.RUN_CANCELLED,
        }.get(status)
        drafts = [Draft(EventType.MESSAGE_SENT, 2, run_id, {"content": f"ask {run_id}", "role": "user"})]
        drafts.append(Draft(EventType.RUN_STARTED, 2, run_id, begun or {}))
        drafts += [Draft(EventType(kind), 3, run_id, data) for kind, data in specs]
        drafts += [] if end is None else [Draft(end, 4, run_id, {})]
        self._commit(drafts, runs=[record])

    def answered(self, run_id, **fields):
        self.run(run_id, ("message_received", {"content": f"answer {run_id}"}), **fields)

    def now(self, mode="auto", manifest=NATIVE, session=None, **fields):
        fields.setdefault("from_sequence", self.store.head("ses"))
        run = Run(id="now", session_id="ses", options={"continuation": mode}, **fields)
        return continue_from(self.store, session or self.session, run, manifest)


def rolled_back(past):
    drafts = [
        Draft(EventType.MESSAGE_SENT, 2, "r2", {"content": "no"}),
        Draft(EventType.RUN_STARTED, 2, "r2", {}),
        Draft(EventType.RUN_CANCELLED, 3, "r2", {"rolled_back": True}),
    ]
    past._commit(drafts, runs=[Run(id="r2", session_id="ses", status=RunStatus.CANCELLED)])
