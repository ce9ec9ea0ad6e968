"""Soft deletion of a session, and reservations of sessions that do not live."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.services import SESSIONS
from asm_actors.sessions.delivery import Delivery, ask_sessions
from asm_actors.sessions.messages import GetStatus
from asm_actors.sessions.requests import Reserve
from asm_actors.testing.system import SimulatedSystem


def code_of(call):
    with pytest.raises(asm.AsmError) as caught:
        call()
    return caught.value.code


@pytest.fixture
def sim():
    with SimulatedSystem(script=Script(text("hello"))) as made:
        yield made
        made.check_promises()


def test_a_deleted_session_is_hidden_and_keeps_its_status_and_events(sim):
    session = sim.active_session()
    sim.manager.complete_session(session.id)
    deleted = sim.manager.delete_session(session.id, reason="asked for")
    assert deleted.deleted_at is not None
    assert deleted.status == "completed"
    assert sim.manager.list_sessions() == []
    assert [one.id for one in sim.manager.list_sessions(include_deleted=True)] == [session.id]
    assert sim.manager.get_session(session.id) == deleted
    last = sim.events(session.id)[-1]
    assert (last.type, last.data) == ("session_deleted", {"reason": "asked for"})
    assert last.sequence_number == deleted.last_sequence


def test_deleting_twice_changes_nothing(sim):
    session = sim.active_session()
    first = sim.manager.delete_session(session.id)
    sim.advance(60.0)
    assert sim.manager.delete_session(session.id) == first
    assert sim.types(session.id).count("session_deleted") == 1


def test_a_session_with_open_runs_cannot_be_deleted(sim):
    session = sim.active_session()
    run = sim.manager.start_run(session.id, "hello")
    assert code_of(lambda: sim.manager.delete_session(session.id)) is ErrorCode.INVALID_OPERATION
    assert sim.session(session.id).deleted_us is None
    sim.manager.cancel_run(run.id)
    assert sim.manager.delete_session(session.id).deleted_us is not None


def test_an_unknown_session_cannot_be_deleted(sim):
    assert code_of(lambda: sim.manager.delete_session("nobody")) is ErrorCode.SESSION_NOT_FOUND


def test_a_deleted_session_takes_no_runs_and_no_changes(sim):
    manager = sim.manager
    session = sim.active_session()
    manager.delete_session(session.id)
    for call in (
        lambda: manager.start_run(session.id, "hello"),
        lambda: manager.submit_run(session.id, "hello"),
        lambda: manager.pause_session(session.id),
        lambda: manager.complete_session(session.id),
        lambda: manager.cancel_session(session.id),
    ):
        assert code_of(call) is ErrorCode.INVALID_OPERATION
    assert sim.types(session.id)[-1] == "session_deleted"
    pending = manager.start_session(agent_id="agent")
    manager.delete_session(pending.id)
    assert code_of(lambda: manager.activate_session(pending.id)) is ErrorCode.INVALID_OPERATION


def test_a_deleted_active_session_gives_its_slot_back_and_leaves(sim):
    with SimulatedSystem(limits=asm.Limits(max_parallel_sessions=1)) as tight:
        first = tight.active_session()
        tight.manager.delete_session(first.id)
        tight.settle()
        assert tight.session_ref(first.id) is None
        second = tight.active_session()
        # Its next life, which somebody's question begins, takes no slot either.
        status = tight.system.session(first.id).ask(GetStatus())
        assert status["status"] == "active"
        assert tight.manager.pause_session(second.id).status == "paused"
        tight.restart()
        assert tight.manager.resume_session(second.id).status == "active"
        tight.check_promises()


def test_deleting_races_with_the_start_of_a_run(sim):
    for seed in range(20):
        with SimulatedSystem(seed=seed) as race:
            session = race.active_session()
            futures = [
                race.operations.submit_run(session.id, "hello"),
                race.operations.delete_session(session.id),
            ]
            race.settle()
            codes = race.codes(futures)
            assert codes in ([None, ErrorCode.INVALID_OPERATION], [ErrorCode.INVALID_OPERATION, None])
            race.check_promises()


def test_it_is_a_message_too(sim):
    session = sim.active_session()
    assert sim.system.session(session.id).ask(asm.messages.DeleteSession()).deleted_us is not None


# --- Reservations -----------------------------------------------------------------------------------------------


def reserve(sim, ids, work):
    return ask_sessions(sim.services, Reserve(ids, work), Delivery(sim.services))


def over(sim):
    """A session that is over and has left."""
    session = sim.active_session()
    sim.manager.complete_session(session.id)
    sim.settle()
    return session.id


def test_a_reservation_gets_those_that_do_not_live(sim):
    gone, live = over(sim), sim.active_session().id
    sim.manager.submit_run(live, "hello")
    found = reserve(sim, (gone, live, gone), lambda idle: idle).get()
    assert (found.result, found.live) == ((gone,), (live,))


def test_what_comes_for_a_reserved_session_waits(sim):
    gone = over(sim)
    order = []

    def work(idle):
        order.append("work")
        assert sim.session_ref(gone) is None

    working = reserve(sim, (gone,), work)
    asked = sim.operations.send(gone, GetStatus())
    asked.add_done_callback(lambda _: order.append("asked"))
    second = reserve(sim, (gone,), lambda idle: idle)
    sim.settle()
    assert order == ["work", "asked"]
    assert working.get().live == ()
    assert (second.get().result, second.get().live) == ((), (gone,))
    assert asked.get()["status"] == "completed"


def test_a_session_that_is_at_rest_is_told_to_leave(sim):
    session = sim.active_session()
    assert reserve(sim, (session.id,), lambda idle: idle).get().live == (session.id,)
    sim.settle()
    assert reserve(sim, (session.id,), lambda idle: idle).get().result == (session.id,)
    assert sim.manager.pause_session(session.id).status == "paused"


def test_work_that_fails_frees_the_sessions(sim):
    gone = over(sim)

    def fail(_):
        raise asm.AsmError(ErrorCode.MAINTENANCE_ERROR, "no")

    assert code_of(reserve(sim, (gone,), fail).get) is ErrorCode.MAINTENANCE_ERROR
    assert sim.system.session(gone).ask(GetStatus())["status"] == "completed"


def test_a_reservation_without_a_system_is_refused():
    with SimulatedSystem(script=Script(stall())) as sim:
        services = sim.services
        sim.system.stop()
        assert services.whereis(SESSIONS) is None
        asked = ask_sessions(services, Reserve(("a",), lambda idle: idle), Delivery(services))
        assert code_of(asked.get) is ErrorCode.INVALID_OPERATION
