"""Names: one live holder each, gone with the life, safe to read anywhere."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisors.actor import Actor
from supervisors.registry import AlreadyRegistered, NotRegistered
from supervisors.testing import Probe


class Idle(Actor):
    pass


@pytest.fixture
def names(stage):
    return stage.dispatcher.names


def test_a_name_resolves_to_its_live_holder(stage, names):
    ref = stage.start(Idle)
    names.register("idle", ref)
    assert names.whereis("idle") is ref
    assert names.resolve("idle") is ref
    assert "idle" in names
    assert names.names() == ("idle",)
    assert names.names_of(ref) == ("idle",)


def test_a_name_that_is_taken_is_refused_and_stays_where_it_is(stage, names):
    first, second = stage.start(Idle), stage.start(Idle)
    names.register("idle", first)
    with pytest.raises(AlreadyRegistered) as caught:
        names.register("idle", second)
    assert caught.value.holder is first
    assert names.whereis("idle") is first
    names.register("idle", first)  # again, by the holder itself
    assert len(names) == 1


def test_names_are_gone_with_the_life_of_their_holder(stage, names):
    ref, other = stage.start(Idle), stage.start(Idle)
    for name in ("a", "b"):
        names.register(name, ref)
    names.register("c", other)
    ref.stop(timeout=5)
    stage.settle()
    assert names.names() == ("c",)
    assert len(names) == 1
    names.register("a", other)
    assert names.names_of(other) == ("c", "a")


def test_nobody_has_an_unknown_name(names):
    assert names.whereis("nobody") is None
    with pytest.raises(NotRegistered) as caught:
        names.resolve("nobody")
    assert isinstance(caught.value, LookupError)
    with pytest.raises(NotRegistered):
        names.tell("nobody", "hello")
    assert not names.unregister("nobody")


def test_unregistering_takes_one_name_and_leaves_the_others(stage, names):
    ref = stage.start(Idle)
    names.register("a", ref)
    names.register("b", ref)
    assert names.unregister("a")
    assert names.names_of(ref) == ("b",)
    assert names.unregister("b")
    assert names.names_of(ref) == ()


def test_a_dead_actor_gets_no_name(stage, names):
    ref = stage.start(Idle)
    ref.stop(timeout=5)
    with pytest.raises(pykka.ActorDeadError):
        names.register("idle", ref)
    assert len(names) == 0


def test_none_is_no_name(stage, names):
    with pytest.raises(ValueError, match="no name"):
        names.register(None, stage.start(Idle))


def test_a_message_to_a_name_goes_to_the_holder_of_the_moment(stage, names):
    first, second = Probe(stage.dispatcher), Probe(stage.dispatcher)
    names.register("probe", first.ref)
    names.tell("probe", 1)
    names.unregister("probe")
    names.register("probe", second.ref)
    names.tell("probe", 2)
    stage.settle()
    assert (first.messages, second.messages) == ([1], [2])


def test_while_its_holder_is_ending_a_name_resolves_to_nobody_but_is_taken(sim):
    """So two lives of one named actor never overlap."""
    names = sim.dispatcher.names

    class Ending(Actor):
        def on_receive(self, message):
            self.spawn(self.linger())
            self.exit()

        async def linger(self):
            import asyncio

            try:
                await asyncio.sleep(100)
            finally:
                await asyncio.sleep(1)  # its clean-up takes a while

    ending, other = sim.start(Ending), sim.start(Idle)
    names.register("x", ending)
    ending.tell("go")
    while ending.is_alive():
        assert sim.dispatcher.step()
    assert names.whereis("x") is None
    assert names.names() == ()
    with pytest.raises(AlreadyRegistered):
        names.register("x", other)
    sim.advance(2)
    names.register("x", other)
    assert names.whereis("x") is other


def test_many_threads_that_want_one_name_leave_exactly_one_holder(stage, names):
    refs = [stage.start(Idle) for _ in range(8)]
    won = []
    barrier = threading.Barrier(8)

    def race(ref):
        barrier.wait(5)
        for n in range(50):
            try:
                names.register(("prize", n), ref)
                won.append(n)
            except AlreadyRegistered:
                assert names.whereis(("prize", n)) is not ref

    threads = [threading.Thread(target=race, args=(ref,)) for ref in refs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(won) == list(range(50))
    assert len(names) == 50
