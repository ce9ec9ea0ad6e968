"""Handles: sessions and runs as actors that one can tell and ask, by a name that outlives restarts."""

from __future__ import annotations

import pytest

from asm_actors import messages
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.actor import RunActor
from asm_actors.runs.run import Run
from asm_actors.sessions.actor import SessionActor
from asm_actors.testing.system import SimulatedSystem

pytestmark = pytest.mark.usefixtures("_quiet_logs")


@pytest.fixture
def sim():
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    with SimulatedSystem(providers={"mock": provider}) as sim:
        yield sim
        sim.check_promises()


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("it cannot be shown")


def odd_inputs():
    """Things that are no input, and can hardly be looked at."""
    deep, cyclic = [], {}
    for _ in range(5_000):
        deep = [deep]
    cyclic["messages"] = [{"role": "user", "content": [cyclic]}]
    return [Unspeakable(), deep, cyclic, {"messages": deep}, {"prompt": Unspeakable()}, "\ud800"]


def run_of(session_id, run_id="run_mine"):
    return Run.new(id=run_id, now=1, session_id=session_id, input="Hello")


def test_a_session_can_be_asked_what_the_manager_can(sim):
    session = sim.manager.start_session(agent_id="a")
    handle = sim.system.session(session.id)
    assert handle.ask(messages.ActivateSession()).status == "active"
    assert handle.ask(messages.SubmitRun(run_of(session.id))).id == "run_mine"
    assert handle.ask(messages.GetStatus())["in_flight_runs"] == ["run_mine"]
    assert handle.ask(messages.CancelSession("enough")).status == "cancelled"
    assert handle.ask(messages.GetSession()).status == "cancelled"


@pytest.mark.parametrize("wanted", [5, "tool_use", ["tool_use"], {}], ids=repr)
def test_a_run_that_wants_what_is_no_resolver_is_refused_to_its_sender_and_the_session_lives_on(sim, wanted):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    ref = handle.ref()
    for kind in (messages.CreateRun, messages.SubmitRun):
        for send in (handle.ask, handle.tell):
            with pytest.raises(AsmError) as caught:
                send(kind(run_of(session.id), wanted=wanted))
            assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert handle.ref() is ref
    assert handle.ask(messages.GetStatus())["created_runs"] == []


@pytest.mark.parametrize(
    "run_id", [5, [], {}, "", "\ud800", object()], ids=lambda value: type(value).__name__
)
def test_a_message_about_what_is_no_run_is_refused_to_its_sender(sim, run_id):
    session = sim.active_session()
    for handle in (sim.system.session(session.id), sim.system.run("run_1")):
        for kind in (messages.ExecuteRun, messages.AwaitRun, messages.CancelRun, messages.GrantApproval):
            with pytest.raises(AsmError) as caught:
                handle.tell(kind(run_id=run_id))
            assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_an_ask_can_give_a_future(sim):
    session = sim.active_session()
    future = sim.system.session(session.id).ask(messages.PauseSession(), block=False)
    assert not future.is_done
    assert future.get().status == "paused"


def test_what_is_told_is_done_and_its_refusal_is_nobodys_error(sim):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    handle.tell(messages.PauseSession())
    sim.settle()
    assert sim.session(session.id).status == "paused"
    handle.tell(messages.PauseSession(5))
    handle.tell(messages.CancelSession())
    handle.tell(messages.ActivateSession())
    sim.settle()
    assert sim.session(session.id).status == "cancelled"


def test_the_ref_is_that_of_the_present_life(sim):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    before = handle.ref()
    assert before.actor_class is SessionActor
    sim.dispatcher.crash(before, RuntimeError("injected"))
    sim.settle()
    assert handle.ref() is not before
    assert handle.ref().is_alive()
    sim.manager.cancel_session(session.id)
    sim.settle()
    assert handle.ref() is None


def test_a_handle_outlives_the_process(sim):
    session = sim.active_session()
    sim.kill()
    assert sim.system.session(session.id).ask(messages.PauseSession()).status == "paused"


def test_a_run_can_be_cancelled_by_a_message_that_need_not_name_it(sim):
    session = sim.active_session()
    run = sim.manager.submit_run(session.id, "Hello")
    sim.settle()
    handle = sim.system.run(run.id)
    assert handle.ref().actor_class is RunActor
    handle.tell(messages.CancelRun(reason="user"))
    sim.settle()
    assert sim.run(run.id).status == "cancelled"
    assert handle.ref() is None
    assert handle.ask(messages.CancelRun()) == sim.run(run.id)
    with pytest.raises(AsmError) as caught:
        handle.ask(messages.AwaitRun(run.id))
    assert caught.value.code is ErrorCode.CANCELLED


def test_a_run_that_is_not_under_way_has_no_ref(sim):
    session = sim.active_session()
    run = sim.manager.start_run(session.id, "Hello")
    assert sim.system.run(run.id).ref() is None
    assert sim.system.run("run_nobody").ref() is None


def test_asking_an_unknown_run_or_session_is_not_found(sim):
    with pytest.raises(AsmError) as caught:
        sim.system.run("run_nobody").ask(messages.CancelRun())
    assert caught.value.code is ErrorCode.RUN_NOT_FOUND
    with pytest.raises(AsmError) as caught:
        sim.system.session("ses_nobody").ask(messages.GetSession())
    assert caught.value.code is ErrorCode.SESSION_NOT_FOUND


@pytest.mark.parametrize("way", ["ask", "tell"])
def test_what_is_no_message_is_refused_where_it_is_sent(sim, way):
    session = sim.active_session()
    run = sim.manager.start_run(session.id, "Hello")
    for handle, message in [
        (sim.system.session(session.id), "cancel"),
        (sim.system.session(session.id), None),
        (sim.system.session(session.id), messages.CancelRun),
        (sim.system.run(run.id), messages.PauseSession()),
        (sim.system.run(run.id), "cancel"),
        (sim.system.run(run.id), messages.AwaitRun("run_other")),
    ]:
        with pytest.raises(AsmError) as caught:
            getattr(handle, way)(message)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert sim.session_ref(session.id).is_alive()


@pytest.mark.parametrize("bad", ["", 5, None], ids=repr)
def test_a_handle_needs_an_id(sim, bad):
    for make in (sim.system.session, sim.system.run):
        with pytest.raises(AsmError) as caught:
            make(bad)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_malformed_messages_are_refused_and_harm_nobody(sim):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    ref = handle.ref()
    for message in [
        messages.SubmitRun({"id": "x"}),
        messages.CreateRun(None),
        messages.SubmitRun(run_of("ses_other")),
        messages.SubmitRun(Run(id=5, session_id=session.id)),
        messages.SubmitRun(Run(id="run_x", session_id=session.id, status="pending")),
        messages.SubmitRun(run_of(session.id), deadline_s="soon"),
        messages.FailSession("boom"),
        messages.PauseSession(object()),
        *(messages.SteerRun(odd, "run_x") for odd in odd_inputs()),
        messages.CancelRun(5, "run_x"),
        messages.ExecuteRun("run_x", None, {"x": object()}),
    ]:
        with pytest.raises(AsmError) as caught:
            handle.ask(message)
        assert caught.value.category in ("validation", "state", "resource"), message
    assert handle.ref() is ref


def test_a_run_that_is_already_there_cannot_be_made_by_a_message_either(sim):
    session, other = sim.active_session(), sim.active_session()
    run = sim.manager.submit_run(session.id, "Hello")
    sim.manager.cancel_run(run.id)
    for session_id in (session.id, other.id):
        handle = sim.system.session(session_id)
        ref = handle.ref()
        with pytest.raises(AsmError):
            handle.ask(messages.SubmitRun(run_of(session_id, run.id)))
        sim.advance(2)
        assert sim.run(run.id).status == "cancelled"
        sim.check_promises()
        assert handle.ref() is ref


def test_a_run_that_is_told_to_be_made_is_made_or_its_refusal_logged(sim, caplog):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    handle.tell(messages.SubmitRun(run_of(session.id)))
    sim.settle()
    assert sim.run("run_mine").status == "running"
    caplog.set_level("WARNING", logger="asm_actors")
    handle.tell(messages.SubmitRun(run_of(session.id)))
    sim.settle()
    assert "already_exists" in caplog.text


def test_odd_input_into_a_turn_is_refused_at_once_and_harms_nobody(sim):
    session = sim.active_session()
    run = sim.manager.submit_run(session.id, "Hello")
    sim.settle()
    ref = sim.system.session(session.id).ref()
    handle = sim.system.run(run.id)
    for odd in odd_inputs():
        for steer in (
            lambda odd=odd: handle.ask(messages.SteerRun(odd)),
            lambda odd=odd: handle.tell(messages.SteerRun(odd)),
            lambda odd=odd: sim.manager.steer_run(run.id, odd),
        ):
            with pytest.raises(AsmError) as caught:
                steer()
            assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert sim.system.session(session.id).ref() is ref
    assert ref.is_alive()
    assert sim.run(run.id).status == "running"


def test_handles_show_whom_they_name(sim):
    session = sim.active_session()
    assert repr(sim.system.session(session.id)) == f"<SessionHandle {session.id}>"
    assert repr(sim.system.run("run_x")) == "<RunHandle run_x>"


def test_after_the_stop_nobody_takes_messages(sim):
    session = sim.active_session()
    handle = sim.system.session(session.id)
    sim.system.stop()
    with pytest.raises(AsmError) as caught:
        handle.ask(messages.GetSession())
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    with pytest.raises(AsmError):
        handle.tell(messages.GetSession())
    assert handle.ref() is None
    sim.restart()
