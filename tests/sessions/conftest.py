"""A session's core on a bench: messages in, effects out, no actors."""

from __future__ import annotations

import copy
import logging
from types import SimpleNamespace

import pytest

from asm_actors import effects as fx
from asm_actors.cost.built_in import BUILT_IN_PRICES
from asm_actors.runs.messages import RunAppends, RunEnded
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions import core as session_core
from asm_actors.sessions import messages as m
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.state import SESSIONS_POOL, SessionState

NOW = 1_767_225_600_000_000
S = SessionStatus
RULES = {"on_restart": "resume", "max_recoveries": 3, "default_provider": None, "providers": {}}
RULES |= {"policy": None, "pricing": BUILT_IN_PRICES, "tools": {}}
PATHS = {
    S.PENDING: (),
    S.ACTIVE: (S.ACTIVE,),
    S.PAUSED: (S.ACTIVE, S.PAUSED),
    S.COMPLETED: (S.ACTIVE, S.COMPLETED),
    S.FAILED: (S.FAILED,),
    S.CANCELLED: (S.CANCELLED,),
}


class Bench:
    """One session's core; `tell` returns the effects of a message."""

    now = NOW

    def __init__(self, status=S.ACTIVE, *, max_concurrent=1, max_queued=100, rules=None, **fields):
        session = Session.new(id="ses_1", now=NOW, agent_id="agent", **fields)
        for step in PATHS[status]:
            session = session.with_status(step, NOW)
        self.state = SessionState(session, max_concurrent, RunQueue(max_queued))
        if rules is not None:
            self.state.rules = SimpleNamespace(**RULES | rules)
        self.state.holds_slot = status is S.ACTIVE

    def tell(self, message, reply=None, now=NOW + 1_000_000):
        return session_core.step(self.state, message, now, reply)

    def run(self, run_id="run_1", **fields):
        return Run.new(id=run_id, now=NOW, session_id=self.state.session.id, input="Hello", **fields)

    def created(self, run_id="run_1"):
        """Have a run created."""
        self.tell(m.CreateRun(self.run(run_id)))
        return run_id

    def submitted(self, run_id="run_1", reply=None, deadline_s=None):
        """Have a run submitted; it starts, or stands in the queue."""
        self.tell(m.SubmitRun(self.run(run_id), deadline_s), reply)
        return run_id

    def running(self, run_id="run_1"):
        """Have a run started, and its actor say so."""
        self.submitted(run_id)
        record = self.state.open[run_id].run.with_status(RunStatus.RUNNING, NOW)
        self.tell(RunAppends(run_id, (), record, 0))
        return run_id

    def ended(self, run_id, *, error=None, status=None, facts=None):
        """The notice of a run's actor that the run is over."""
        record = self.state.open[run_id].run.with_status(RunStatus.RUNNING, NOW)
        if error is None:
            record = record.with_output({"content": "Hi"}, NOW)
        else:
            record = record.with_error(error, NOW, status or RunStatus.FAILED)
        return RunEnded(run_id, (), record, error, facts or {})

    @property
    def status(self):
        return self.state.session.status

    def snapshot(self):
        """All that the state holds, to see that a refusal changed nothing."""
        state = self.state
        return copy.deepcopy(
            (
                state.session,
                list(state.queue),
                state.open,
                state.n_started,
                state.activating,
                state.once,
                state.closing,
                state.completes_after,
                state.holds_slot,
                state.head,
            )
        )

    # --- What effects say ----------------------------------------------------------------------------------------

    @staticmethod
    def of(effects, kind):
        return [effect for effect in effects if type(effect) is kind]

    @classmethod
    def types(cls, effects):
        """Types of the events that are written, in order."""
        return [draft.type.value for write in cls.of(effects, fx.Write) for draft in write.drafts]

    @classmethod
    def answers(cls, effects):
        """Answers by asker: those behind writes, and those at once."""
        found = {}
        for effect in effects:
            for one in effect.then if type(effect) is fx.Write else (effect,):
                if type(one) is fx.Reply:
                    found[one.to] = one.value
                elif type(one) is fx.Refuse:
                    found[one.to] = one.error
        return found

    @classmethod
    def at_once(cls, effects):
        """Askers who are answered before anything is durable."""
        return [effect.to for effect in effects if type(effect) in (fx.Reply, fx.Refuse)]

    @classmethod
    def started(cls, effects):
        return [effect.run.id for effect in cls.of(effects, fx.StartRun)]

    granted = m.SlotGranted(SESSIONS_POOL)
    refused = m.SlotRefused(SESSIONS_POOL, 3)


@pytest.fixture
def bench():
    """`Bench`, the class."""
    return Bench


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
