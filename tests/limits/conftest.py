"""Sessions' cores on a bench, and systems that are looked at in every step."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from asm_actors import effects as fx
from asm_actors.runs.messages import RunAppends, RunEnded
from asm_actors.runs.run import Run, RunStatus
from asm_actors.services import RUN_SLOTS, SESSION_SLOTS
from asm_actors.sessions import core as session_core
from asm_actors.sessions import messages as m
from asm_actors.sessions.queue import RunQueue
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.sessions.state import SessionState

NOW = 1_767_225_600_000_000


class Bench:
    """One session's core, active, with its slot."""

    def __init__(self, *, max_concurrent=1, max_queued=100, **options):
        session = Session.new(id="ses_1", now=NOW, agent_id="agent", options=options)
        self.state = SessionState(Session(id="", agent_id=""), max_concurrent, RunQueue(max_queued))
        self.tell(m.CreateSession(session))
        self.state.session = self.state.session.with_status(SessionStatus.ACTIVE, NOW)
        self.state.holds_slot = True

    def tell(self, message, reply=None):
        return session_core.step(self.state, message, NOW, reply)

    def run(self, run_id, **options):
        return Run.new(id=run_id, now=NOW, session_id="ses_1", input="Hello", options=options or None)

    def submit(self, run_id, reply=None, **options):
        return self.tell(m.SubmitRun(self.run(run_id, **options)), reply)

    def running(self, run_id, **options):
        """Have a run started, and its actor say so."""
        self.submit(run_id, **options)
        self.tell(RunAppends(run_id, (), self.record(run_id), 0))

    def record(self, run_id):
        return self.state.open[run_id].run.with_status(RunStatus.RUNNING, NOW)

    def ended(self, run_id):
        """The actor of a run says that it completed."""
        return self.tell(
            RunEnded(run_id, (), self.record(run_id).with_output({"content": "x"}, NOW), None, {})
        )

    def stopped(self, run_id):
        """The actor of a run says that it stopped, as it was told."""
        told = self.state.open[run_id].stopping
        run = self.record(run_id).with_error({"code": "cancelled"}, NOW, RunStatus.CANCELLED)
        assert told is not None
        return self.tell(RunEnded(run_id, (), run, None, {}))

    def phases(self):
        return {run_id: entry.phase.value for run_id, entry in self.state.open.items()}

    @staticmethod
    def of(effects, kind):
        return [effect for effect in effects if type(effect) is kind]

    @classmethod
    def started(cls, effects):
        return [effect.run.id for effect in cls.of(effects, fx.StartRun)]

    @classmethod
    def told(cls, effects):
        """What the actors of runs were told."""
        return {effect.run_id: effect.message for effect in cls.of(effects, fx.ToRun)}

    @classmethod
    def drafts(cls, effects):
        return [draft for write in cls.of(effects, fx.Write) for draft in write.drafts]


class Watch:
    """Looks at the pools of a system before every step; `peaks` are the most slots ever held, by pool."""

    def __init__(self):
        self.system = None
        self.peaks = Counter()
        self.starts = []
        self._granted = 0

    def __call__(self, dispatcher):
        if self.system is None:
            return
        for name in (RUN_SLOTS, SESSION_SLOTS):
            ref = dispatcher.names.whereis(name)
            actor = None if ref is None else ref.life.actor
            if actor is None:
                continue
            for key, pool in actor._table._pools.items():
                self.peaks[key] = max(self.peaks[key], pool.in_use)
                assert pool.limit is None or pool.in_use <= pool.limit, f"{key}: {pool.in_use} > {pool.limit}"
                if key == "runs" and pool.granted > self._granted:
                    self.starts += [dispatcher.clock.monotonic()] * (pool.granted - self._granted)
                    self._granted = pool.granted
            assert actor._table.overlooked() == ()


@pytest.fixture
def bench():
    """`Bench`, the class."""
    return Bench


@pytest.fixture
def watch():
    """A `Watch`; give it to a `SimulatedSystem` as ``on_step``, and set its ``system``."""
    return Watch()


@pytest.fixture
def _quiet_logs(caplog):
    """Crashes are the subject here; their logged tracebacks are not worth the time to format."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)
