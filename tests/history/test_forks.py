"""Forks as their users see them."""

from __future__ import annotations

import logging
import random

import pytest

from asm_actors import messages as m
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.replay_faults import disagreements
from asm_actors.providers.items import TurnStarted
from asm_actors.providers.script import Script, text, wait
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate


def places(events):
    return [(event.session_id, event.sequence_number) for event in events]


def refused(call, *args, **options):
    with pytest.raises(AsmError) as caught:
        call(*args, **options)
    return caught.value


@pytest.fixture
def parent(sim, talk):
    """A session that has answered twice."""
    session = sim.active_session(context={"system_prompt": "Be brief."}, metadata={"a": 1}, tags=["demo"])
    talk(session.id, "one", "two")
    return sim.session(session.id)


def test_a_fork_has_what_its_parent_had_and_goes_on_by_itself(sim, parent, talk):
    fork = sim.manager.fork_session(parent.id, 9)
    assert fork == sim.session(fork.id)
    assert (fork.status, fork.parent_session_id, fork.forked_at, fork.last_sequence) == (
        "pending",
        parent.id,
        9,
        10,
    )
    for name in ("agent_id", "provider", "context", "metadata", "tags"):
        assert getattr(fork, name) == getattr(parent, name)
    before = sim.events(parent.id)
    sim.manager.activate_session(fork.id)
    talk(fork.id, "three")
    events = sim.manager.get_session_events(fork.id)
    assert places(events) == [
        *((parent.id, number) for number in range(1, 10)),
        *((fork.id, number) for number in range(10, len(events) + 1)),
    ]
    first = events[9]
    assert (first.type, first.data) == (
        EventType.SESSION_FORKED,
        {"agent_id": "agent", "provider": "mock", "parent_session_id": parent.id, "at": 9},
    )
    assert sim.events(parent.id) == before
    assert sim.manager.get_session_runs(fork.id)[0].input == "three"
    sim.check_promises()


def test_a_fork_is_by_default_of_the_last_event(sim, parent):
    fork = sim.manager.fork_session(parent.id)
    assert fork.forked_at == parent.last_sequence


def test_what_its_maker_says_replaces_what_would_be_copied(sim, parent):
    fork = sim.manager.fork_session(
        parent.id, 3, id="mine", agent_id="other", metadata={}, context={"b": 2}, tags=[], provider="mock"
    )
    assert (fork.id, fork.agent_id, fork.metadata, fork.context, fork.tags) == (
        "mine",
        "other",
        {},
        {"b": 2},
        (),
    )


def test_what_cannot_be_forked_is_refused_and_changes_nothing(sim, parent):
    fork, last = sim.manager.fork_session, parent.last_sequence
    error = refused(fork, parent.id, last + 1)
    assert error.code is ErrorCode.VALIDATION_ERROR
    assert f"from 1 to {last}" in error.message
    assert (error.details["first"], error.details["last"]) == (1, last)
    for at in (0, -1, "3", True):
        assert refused(fork, parent.id, at).code is ErrorCode.VALIDATION_ERROR
    assert refused(fork, "nobody", 1).code is ErrorCode.SESSION_NOT_FOUND
    assert refused(fork, parent.id, 1, id=parent.id).code is ErrorCode.ALREADY_EXISTS
    assert refused(fork, parent.id, 1, metadata={"a": object()}).code is ErrorCode.VALIDATION_ERROR
    assert refused(fork, parent.id, 1, provider="nobody").code is ErrorCode.VALIDATION_ERROR
    sim.manager.complete_session(parent.id)
    sim.manager.delete_session(parent.id)
    assert refused(fork, parent.id, 1).code is ErrorCode.INVALID_OPERATION
    assert len(sim.store.sessions(include_deleted=True)) == 1


def test_a_repeated_fork_with_the_same_key_is_the_same(sim, parent):
    first = sim.manager.fork_session(parent.id, 3, idempotency_key="once")
    assert sim.manager.fork_session(parent.id, 5, idempotency_key="once") == first
    raced = [sim.operations.fork_session(parent.id, 3, idempotency_key="raced") for _ in range(3)]
    sim.settle()
    assert len({future.get().id for future in raced}) == 1


def test_a_session_that_is_over_can_be_forked_and_its_fork_lives(sim, parent, talk):
    sim.manager.complete_session(parent.id)
    fork = sim.manager.fork_session(parent.id)
    sim.manager.activate_session(fork.id)
    talk(fork.id, "more")
    assert sim.types(fork.id)[-1] == "run_completed"
    assert sim.manager.list_sessions(parent_session_id=parent.id) == [sim.session(fork.id)]
    sim.check_promises()


def test_in_the_middle_of_a_run_the_shared_history_simply_ends(store):
    gate = Gate()
    with SimulatedSystem(store=store, script=Script(text("so far"), wait(gate), text(" and more"))) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "Go")
        sim.settle()
        fork = sim.manager.fork_session(session.id)
        assert sim.manager.get_session_runs(fork.id) == []
        assert [message.content for message in sim.manager.transcript(fork.id).messages] == ["Go", "so far"]
        assert not sim.manager.transcript(fork.id).messages[-1].is_partial, "nothing of it can follow here"
        assert sim.manager.transcript(session.id).messages[-1].is_partial
        gate.open()
        sim.settle()
        assert sim.run(run.id).status == "completed"
        assert sim.manager.transcript(session.id).messages[-1].content == "so far and more"
        assert [message.content for message in sim.manager.transcript(fork.id).messages] == ["Go", "so far"]
        sim.check_promises()


def test_a_providers_own_conversation_is_taken_over_at_its_end_only(store):
    script = Script(TurnStarted("model", provider_session_id="native"), text("Hi"))
    with SimulatedSystem(store=store, script=script) as sim:
        session = sim.active_session(metadata={"a": 1})
        sim.manager.submit_run(session.id, "Go")
        sim.settle()
        last = sim.store.head(session.id)
        assert "mock" in sim.session(session.id).metadata["provider_sessions"]
        assert sim.manager.fork_session(session.id).metadata == sim.session(session.id).metadata
        assert sim.manager.fork_session(session.id, last).metadata == sim.session(session.id).metadata
        assert sim.manager.fork_session(session.id, last - 1).metadata == {"a": 1}
        assert sim.manager.session_at(session.id, last).metadata == sim.session(session.id).metadata
        assert sim.manager.session_at(session.id, last - 1).metadata == {"a": 1}


def test_forks_of_forks_survive_the_process(sim, parent, talk):
    child = sim.manager.fork_session(parent.id, 9)
    sim.manager.activate_session(child.id)
    talk(child.id, "three")
    grandchild = sim.manager.fork_session(child.id, 12)
    early = sim.manager.fork_session(grandchild.id, 4)
    before = {session.id: sim.events(session.id) for session in (child, grandchild, early)}
    sim.kill()
    assert {name: sim.events(name) for name in before} == before
    sim.manager.activate_session(grandchild.id)
    talk(grandchild.id, "four")
    assert sim.store.session(early.id).forked_at == 4
    assert [e.sequence_number for e in sim.events(grandchild.id)] == list(
        range(1, sim.store.head(grandchild.id) + 1)
    )
    assert sim.store.verify().is_sound
    sim.check_promises()


def test_following_a_fork_gives_its_history_and_then_what_comes(sim, parent, talk):
    fork = sim.manager.fork_session(parent.id, 9)
    with sim.manager.subscribe(fork.id) as subscription:
        seen = []
        while len(seen) < 10:
            seen += subscription.pull(4, timeout=0)
        assert places(seen) == places(sim.events(fork.id))
        sim.manager.activate_session(fork.id)
        talk(fork.id, "three")
        talk(parent.id, "not here")
        sim.manager.complete_session(fork.id)
        while not subscription.is_over:
            seen += subscription.pull(5, timeout=0)
        assert seen == sim.events(fork.id)
    assert seen[-1].type is EventType.SESSION_COMPLETED


def test_the_end_of_a_parent_in_the_shared_history_is_not_the_forks(sim, parent):
    sim.manager.complete_session(parent.id)
    fork = sim.manager.fork_session(parent.id)
    with sim.manager.subscribe(fork.id) as subscription:
        seen = subscription.pull(sim.store.head(parent.id), timeout=0)
        assert seen[-1].type is EventType.SESSION_COMPLETED
        assert not subscription.is_over
        assert [event.type for event in subscription.pull(9, timeout=0)] == [EventType.SESSION_FORKED]
        assert not subscription.is_over


def test_streaming_from_a_cursor_crosses_the_border_once(sim, parent):
    fork = sim.manager.fork_session(parent.id, 5)
    found = list(sim.manager.stream_session_events(fork.id, after=3, wait_timeout_ms=0))
    assert places(found) == [(parent.id, 4), (parent.id, 5), (fork.id, 6)]
    bounded = sim.manager.stream_session_events(fork.id, before=6, limit=9)
    assert places(bounded) == [(parent.id, number) for number in range(1, 6)]


def test_the_whole_journal_shows_each_event_once(sim, parent):
    fork = sim.manager.fork_session(parent.id, 5)
    with sim.manager.subscribe() as subscription:
        seen = subscription.pull(100, timeout=0)
    assert places(seen) == [*((parent.id, n) for n in range(1, parent.last_sequence + 1)), (fork.id, 6)]


def test_a_fork_can_be_asked_of_a_handle(sim, parent):
    made = sim.system.session(parent.id).ask(m.ForkSession(3, id="mine", tags=["x"]), block=False)
    sim.settle()
    assert (made.get().id, made.get().forked_at, made.get().tags) == ("mine", 3, ("x",))
    sim.system.session(parent.id).tell(m.ForkSession(4, id="other"))
    sim.settle()
    assert sim.session("other").forked_at == 4


def test_a_draining_system_makes_no_forks(sim, parent):
    sim.operations.drain(timeout=0)
    sim.settle()
    assert refused(sim.manager.fork_session, parent.id).code is ErrorCode.INVALID_OPERATION


@pytest.mark.parametrize("seed", range(25))
def test_forks_made_among_crashes_and_kills_are_whole(seed, caplog):
    """Each that is there begins with what its parent has, and each record agrees with its events."""
    caplog.set_level(logging.CRITICAL + 1)
    rng = random.Random(seed)
    with SimulatedSystem(seed, store=MemoryStore()) as sim:
        asked = []
        sim.active_session()
        for _ in range(40):
            known = [session.id for session in sim.store.sessions()]
            one = rng.choice(known)
            chance = rng.random()
            if chance < 0.35:
                at = rng.choice((None, rng.randint(1, sim.store.head(one))))
                asked.append(sim.operations.fork_session(one, at))
            elif chance < 0.6:
                sim.operations.activate_session(one)
                sim.operations.submit_run(one, "Hello")
            elif chance < 0.7 and (ref := sim.session_ref(one)) is not None:
                sim.crash(ref)
            elif chance < 0.73:
                sim.kill()
                asked = []
            sim.steps(rng.randint(0, 40))
        sim.settle()
        assert all(future.is_available for future in asked)
        sim.check_promises()
        assert sim.store.verify().is_sound
        for session in sim.store.sessions():
            events = sim.events(session.id)
            own = [event for event in events if event.session_id == session.id]
            assert disagreements(session, sim.store.runs(session.id), own) == []
            if session.forked_at is not None:
                assert (
                    events[: session.forked_at] == sim.events(session.parent_session_id)[: session.forked_at]
                )
