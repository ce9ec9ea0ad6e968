"""Runs that go on from the conversation before them, in a whole system."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.base import BaseProvider
from asm_actors.providers.items import MessageDone, TextDelta, TurnDone, TurnStarted, Usage
from asm_actors.providers.script import Script, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem


class Keeper(BaseProvider):
    """A provider that keeps conversations of its own, until it forgets them."""

    name = "keeper"
    offers = (("streaming", "sampling"), ("native_continuation", "sampling"))

    def __init__(self):
        self.requests = []
        self.forgets = False

    async def stream(self, request):
        self.requests.append(request)
        if self.forgets and request.provider_session_id is not None:
            raise AsmError(ErrorCode.NOT_FOUND, "no such thread")
        thread = request.provider_session_id or f"thread_{len(self.requests)}"
        yield TurnStarted("model-1", thread)
        yield TextDelta("Yes.")
        yield MessageDone("Yes.")
        yield Usage(1, 1)
        yield TurnDone()


@pytest.fixture(params=["memory", "lmdb"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "journal")


def said(request):
    return [(message["role"], message["content"]) for message in request.messages]


def ask(sim, session, question, **options):
    return sim.manager.await_run(sim.manager.submit_run(session.id, question, **options).id)


def test_by_default_a_run_begins_anew(store):
    keeper = Keeper()
    with SimulatedSystem(providers={"keeper": keeper}, store=store) as sim:
        session = sim.active_session()
        ask(sim, session, "One?")
        result = ask(sim, session, "Two?")
        assert result.continuation is None
        assert said(keeper.requests[1]) == [("user", "Two?")]
        assert keeper.requests[1].provider_session_id is None


def test_a_replayed_run_is_sent_what_was_said_and_keeps_its_own_input_alone(store):
    keeper = Keeper()
    with SimulatedSystem(providers={"keeper": keeper}, store=store) as sim:
        session = sim.active_session()
        ask(sim, session, "One?")
        result = ask(sim, session, "Two?", continuation="replay")
        assert said(keeper.requests[1]) == [("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
        assert result.continuation["used"] == "replay"
        started = next(event for event in result.events if event.type == "run_started")
        assert started.data["continuation"] == result.continuation
        assert [event.data["content"] for event in result.events if event.type == "message_sent"] == ["Two?"]
        sim.check_promises()


def test_a_native_run_goes_on_with_the_providers_own_conversation(store):
    keeper = Keeper()
    with SimulatedSystem(providers={"keeper": keeper}, store=store) as sim:
        session = sim.active_session()
        ask(sim, session, "One?")
        result = ask(sim, session, "Two?", continuation="native")
        assert result.continuation == {"mode": "native", "used": "native", "messages": 0}
        assert keeper.requests[1].provider_session_id == "thread_1"
        assert said(keeper.requests[1]) == [("user", "Two?")]
        sim.check_promises()


@pytest.mark.parametrize("mode", ["auto", "native"])
def test_a_provider_that_has_forgotten_is_sent_everything_and_the_run_says_so(store, mode):
    keeper = Keeper()
    with SimulatedSystem(providers={"keeper": keeper}, store=store) as sim:
        session = sim.active_session()
        ask(sim, session, "One?")
        keeper.forgets = True
        result = ask(sim, session, "Two?", continuation=mode)
        assert result.continuation["mode"] == mode
        assert result.continuation["used"] == "replay"
        assert "no such thread" in result.continuation["reason"]
        assert said(keeper.requests[2]) == [("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]
        assert [event.type for event in result.events].count("error_occurred") == 1
        assert result.run.attempt == 1
        sim.check_promises()


@pytest.mark.parametrize("how", ["kill", "crash", "restart"])
def test_a_run_that_is_taken_up_again_is_sent_the_same_conversation(store, how):
    requests = []

    def script(request):
        requests.append(request)
        is_cut = request.input == "Two?" and len(requests) == 2
        return Script(text("Well"), stall()) if is_cut else Script(text("Yes."))

    with SimulatedSystem(providers={"mock": ScriptedProvider(script)}, store=store) as sim:
        session = sim.active_session()
        ask(sim, session, "One?")
        run = sim.manager.submit_run(session.id, "Two?", continuation="auto")
        sim.settle()
        if how == "kill":
            sim.kill()
        elif how == "restart":
            sim.restart()
        else:
            sim.crash(sim.run_ref(run.id))
        sim.settle()
        sim.dispatcher.failures.clear()
        assert sim.run(run.id).status == "completed"
        assert len(requests) == 3
        assert said(requests[2]) == said(requests[1])
        assert sim.run(run.id).details["continuation"]["used"] == "replay"
        sim.check_promises()


def test_runs_that_follow_each_other_at_once_read_what_the_one_before_has_just_said(store):
    requests = []

    def script(request):
        requests.append(request)
        return Script(text(f"Answer {len(requests)}"))

    with SimulatedSystem(providers={"mock": ScriptedProvider(script)}, store=store) as sim:
        session = sim.active_session()
        runs = [
            sim.operations.submit_run(session.id, f"Question {number}", continuation="auto")
            for number in range(1, 5)
        ]
        sim.settle()
        assert len(runs) == 4
        assert [len(request.messages) for request in requests] == [1, 3, 5, 7]
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 30, 2))
def test_a_run_that_is_cancelled_at_any_step_of_its_preparation_ends(store, steps):
    with SimulatedSystem(script=lambda request: Script(text("Yes."), stall()), store=store) as sim:
        session = sim.active_session()
        run = sim.manager.start_run(session.id, "Two?", continuation="auto")
        result = sim.operations.execute_run(run.id)
        sim.steps(steps)
        cancelled = sim.operations.cancel_run(run.id)
        sim.settle()
        assert cancelled.get().status == "cancelled"
        assert sim.error_of(result).code is ErrorCode.CANCELLED
        sim.check_promises()
