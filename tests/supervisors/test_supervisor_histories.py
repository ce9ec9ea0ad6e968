"""Random histories of crashes, commands and slow stops, under many schedules; the promises hold in each."""

from __future__ import annotations

import random

import pytest

from supervisors import control
from supervisors.actor import Actor
from supervisors.backoff import Backoff
from supervisors.exits import NORMAL
from supervisors.plan import ChildStatus
from supervisors.simulation import SimulationDispatcher
from supervisors.spec import BRUTAL_KILL, ChildSpec, Restart, Strategy, SupervisorFlags
from supervisors.supervisor import Supervisor

NAMES = "abcdef"


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.dispatcher = SimulationDispatcher(seed=seed)
        self.living = {}
        self.overlaps = []
        self.calls = []
        self.is_calm = False

    def chance(self, share):
        return not self.is_calm and self.random.random() < share


class Fickle(Actor):
    """Fails to start, or to stop, at random; notices if another life of the same child is not over."""

    def __init__(self, world, name):
        super().__init__()
        self.world = world
        self.name = name

    def on_start(self):
        self.world.overlaps += [ref for ref in self.world.living.get(self.name, ()) if ref.is_alive()]
        self.world.living[self.name] = [self.actor_ref]
        if self.world.chance(0.2):
            raise RuntimeError("start")

    def on_exit_request(self, reason):
        return self.world.chance(0.2)

    def on_receive(self, message):
        if message == "exit":
            self.exit(NORMAL)
        else:
            raise RuntimeError("crash")


@pytest.fixture
def world(seed, _quiet_logs, _nothing_left_behind):
    world = World(seed)
    yield world
    world.dispatcher.close()


def make(world):
    choose = world.random

    def spec(name):
        return ChildSpec(
            name,
            Fickle,
            (world, name),
            restart=choose.choice(list(Restart)),
            shutdown=choose.choice([0.5, 2.0, BRUTAL_KILL]),
            backoff=choose.choice([None, None, Backoff(initial=1.0, random=choose.random)]),
            name=choose.choice([None, ("name", name)]),
        )

    flags = SupervisorFlags(choose.choice(list(Strategy)), intensity=10**6)
    return spec, flags


def disturb(world, supervisor, spec):
    choose = world.random
    name = choose.choice(NAMES)
    refs = world.living.get(name, ())
    action = choose.random()
    if action < 0.5 and refs:
        [ref] = refs
        choose.choice([ref.kill, lambda: ref.post("exit"), lambda: ref.post("crash"), ref.shutdown])()
    elif action < 0.6:
        world.calls.append(control.terminate_child(supervisor, name))
    elif action < 0.7:
        world.calls.append(control.restart_child(supervisor, name))
    elif action < 0.75:
        world.calls.append(control.delete_child(supervisor, name))
    elif action < 0.85:
        world.calls.append(control.start_child(supervisor, spec(name)))
    elif action < 0.95:
        world.dispatcher.manual_clock.advance(choose.random())
    for _ in range(choose.randrange(6)):
        world.dispatcher.step()


def check_rest(world, supervisor):
    assert world.overlaps == []
    actor = supervisor.life.actor
    infos = control.which_children(supervisor).get()
    for info in infos:
        if info.status is ChildStatus.RUNNING:
            assert info.ref.is_alive()
        else:
            assert info.status is ChildStatus.STOPPED
            assert info.ref is None
    assert set(actor.children) == {info.ref for info in infos if info.ref is not None}
    assert len(world.dispatcher.lives) == 1 + len(actor.children)
    assert set(actor._by_ref) == set(actor.children)
    assert actor._job is None
    assert not actor._deferred
    assert not actor._residues
    assert all(call.is_done for call in world.calls)
    assert not actor._promises


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_the_supervisor_comes_to_rest_with_what_its_specs_want(world):
    spec, flags = make(world)
    world.is_calm = True  # for the first start
    supervisor = world.dispatcher.start(Supervisor, [spec(name) for name in NAMES[:4]], flags=flags)
    world.dispatcher.run_until_idle()
    world.is_calm = False
    for _ in range(80):
        disturb(world, supervisor, spec)
    world.is_calm = True
    world.dispatcher.advance(1000)
    check_rest(world, supervisor)
    world.calls.append(control.terminate_child(supervisor, "a"))
    supervisor.shutdown()
    world.dispatcher.advance(1000)
    assert not world.dispatcher.lives
    assert all(call.is_done for call in world.calls)


@pytest.mark.parametrize("seed", range(20))
def test_an_end_in_the_middle_of_anything_leaves_nothing_behind(world, seed):
    spec, flags = make(world)
    world.is_calm = True
    supervisor = world.dispatcher.start(Supervisor, [spec(name) for name in NAMES], flags=flags)
    world.dispatcher.run_until_idle()
    world.is_calm = False
    for _ in range(10 + seed):
        disturb(world, supervisor, spec)
    world.random.choice([supervisor.shutdown, supervisor.kill])()
    for _ in range(10):
        disturb(world, supervisor, spec)
    world.dispatcher.advance(1000)
    assert not world.dispatcher.lives
    assert not supervisor.is_alive()
    assert world.overlaps == []
    assert all(call.is_done for call in world.calls)
