"""A simulated system whose runs take two turns with a call of a tool in between, and stages to bring runs to."""

from __future__ import annotations

import asyncio
import logging

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, fail, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.promises import watched_steps
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import Tool

PACE = 1.0
"""Seconds of each piece of text, and of each call."""


def script(request):
    """Two turns with a call in between; what the input says may change that."""
    wanted = request.input if isinstance(request.input, str) else ""
    if "fail" in wanted:
        return Script(text("Oh. "), fail(AsmError(ErrorCode.PROVIDER_ERROR, "boom", retryable=False)))
    if "short" in wanted:
        return Script(text("Short."))
    if request.turn == 1:
        return Script(text("Let me "), text("see. "), tool_call("call_1", "look", {"at": "it"}))
    return Script(text("It is "), text("there."))


class Stage:
    """A simulated system, and ways to bring a run where it is wanted."""

    STATES = (
        "created",
        "queued",
        "running",
        "calling",
        "pausing",
        "paused",
        "held",
        "awaiting_approval",
        "completed",
        "failed",
        "cancelled",
        "timeout",
    )

    def __init__(self, seed=0, **options):
        self.looked = 0
        self.provider = ScriptedProvider(
            script, delay=PACE, capabilities=(("chat", "tool"), ("steering", "sampling"))
        )
        schema = {"type": "object", "properties": {"at": {}}}
        tools = [Tool("look", "Looks", schema, self.look)]
        self.sim = SimulatedSystem(seed, providers={"mock": self.provider}, tools=tools, **options)

    async def look(self, **given):
        self.looked += 1
        await asyncio.sleep(PACE)
        return f"seen {given['at']}"

    def __enter__(self):
        self.sim.__enter__()
        self.session = self.sim.active_session()
        return self

    def __exit__(self, *exc_info):
        return self.sim.__exit__(*exc_info)

    @property
    def manager(self):
        """The blocking surface of the system that lives now."""
        return self.sim.manager

    def submitted(self, said="Hello", **options):
        run = self.sim.manager.submit_run(self.session.id, said, **options)
        self.sim.settle()
        return run.id

    def to(self, state):
        """Bring a new run to a state; return its id."""
        return getattr(self, f"_to_{state}")()

    def _to_created(self):
        return self.sim.manager.start_run(self.session.id, "Hello").id

    def _to_queued(self):
        self.submitted()
        return self.submitted()

    def _to_running(self):
        run_id = self.submitted()
        self.sim.advance(PACE)
        return run_id

    def _to_calling(self):
        run_id = self.submitted()
        self.sim.advance(2.5 * PACE)
        return run_id

    def _to_pausing(self):
        run_id = self._to_running()
        self.sim.manager.pause_run(run_id, reason="tea", by="ann")
        return run_id

    def _to_paused(self):
        run_id = self._to_pausing()
        self.sim.advance(5 * PACE)
        return run_id

    def _to_held(self):
        run_id = self._to_running()
        self.sim.manager.pause_session(self.session.id, by="ann")
        self.sim.advance(5 * PACE)
        return run_id

    def _to_awaiting_approval(self):
        run_id = self.submitted(on_unknown_outcome="ask")
        self.sim.advance(2.5 * PACE)
        self.sim.kill()
        self.sim.settle()
        return run_id

    def _to_completed(self):
        run_id = self.submitted("short")
        self.sim.advance(3 * PACE)
        return run_id

    def _to_failed(self):
        run_id = self.submitted("fail")
        self.sim.advance(3 * PACE)
        return run_id

    def _to_cancelled(self):
        run_id = self._to_running()
        self.sim.manager.cancel_run(run_id)
        return run_id

    def _to_timeout(self):
        run_id = self.submitted(deadline=PACE / 2)
        self.sim.advance(PACE)
        return run_id

    def finish(self):
        """Let time pass until everything is over that can be, and look whether all promises hold."""
        self.sim.advance(100 * PACE)
        self.sim.check_promises()

    def facts(self, run_id):
        """All that the journal holds of a run and its session."""
        sim = self.sim
        return sim.run(run_id), sim.session(self.session.id), sim.types(self.session.id)

    def codes(self, call, *args, **options):
        """How a call fails; None if it does not."""
        try:
            call(*args, **options)
        except AsmError as error:
            return error.code
        return None


@pytest.fixture
def make_stage():
    """`Stage`, the class."""
    return Stage


@pytest.fixture
def stage():
    """A stage on which nothing has happened."""
    with Stage() as made:
        yield made


@pytest.fixture(autouse=True)
def _quiet_logs(caplog):
    """Crashes and refusals are the subject here; formatting them is not worth the time."""
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)


@pytest.fixture(autouse=True)
def _each_step_leaves_a_session_in_order():
    """Fail a test in which a session counts or lines up its runs wrongly, if only for a moment."""
    with watched_steps() as faults:
        yield
    assert not faults, faults[:5]
