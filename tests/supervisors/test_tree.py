"""The printed tree: readable, recursive, and taken without waiting for any actor in it."""

from __future__ import annotations

import textwrap

from supervisors import control
from supervisors.backoff import Backoff
from supervisors.dynamic import DynamicSupervisor
from supervisors.exits import KILLED
from supervisors.plan import ChildStatus
from supervisors.spec import ChildSpec, Restart, Strategy, SupervisorFlags
from supervisors.supervisor import Supervisor


def test_the_tree_prints_what_an_operator_wants_to_know(sim):
    inner_flags = SupervisorFlags(Strategy.ONE_FOR_ALL, intensity=3)
    specs = [sim.spec("x"), sim.spec("y", Restart.TRANSIENT)]
    inner = ChildSpec("inner", Supervisor, (specs,), {"flags": inner_flags})
    slow = sim.spec("slow", backoff=Backoff(initial=60, maximum=60))
    root = sim.supervisor("a", inner, slow, flags=SupervisorFlags(intensity=10))
    sim.end(sim.child(root, "a"), KILLED)
    sim.crash(root, "slow")
    queue = sim.child(sim.child(root, "inner"), "x").actor_inbox.queue
    queue.put(1)
    queue.put(2)
    printed = str(sim.ask(control.tree, root))
    queue.get_nowait()
    queue.get_nowait()
    assert printed == textwrap.dedent("""\
        Supervisor  running, one_for_one, 2 of 10 restarts in 5 s
        ├─ a (Worker)  running, 1 restart, last exit killed
        ├─ inner (Supervisor)  running, one_for_all, 0 of 3 restarts in 5 s
        │  ├─ x (Worker)  running, 2 waiting
        │  └─ y (Worker)  running
        └─ slow (Worker)  restarting, last exit crashed: Boom('slow')""")


def test_the_tree_is_a_value_that_can_be_searched(stage):
    inner = ChildSpec("inner", Supervisor, ([stage.spec("x")],))
    root = stage.supervisor("a", inner)
    node = stage.ask(control.tree, root)
    assert [child.label for child in node.children] == ["a", "inner"]
    assert node.find("x").status is ChildStatus.RUNNING
    assert node.find("nobody") is None


def test_the_tree_shows_actors_below_actors_that_are_no_supervisors(sim):
    class Owner(sim.Worker):
        def on_start(self):
            super().on_start()
            for n in range(5):
                self.start_child(sim.Worker, sim, n)

    root = sim.supervisor(ChildSpec("owner", Owner, (sim, "owner")))
    printed = str(sim.ask(control.tree, root, limit=3))
    assert printed.splitlines()[1:] == [
        "└─ owner (Owner)  running",
        "   ├─ Worker  running",
        "   ├─ Worker  running",
        "   ├─ Worker  running",
        "   └─ … 2 more",
    ]


def test_a_crowd_is_counted_and_its_first_members_are_shown(sim):
    crowd = ChildSpec(
        "crowd", DynamicSupervisor, (sim.spec("w", Restart.TEMPORARY),), {"name_of": "worker {}".format}
    )
    root = sim.supervisor(crowd)
    for n in range(1200):
        sim.ask(control.start_child, sim.child(root, "crowd"), n)
    lines = str(sim.ask(control.tree, root, limit=2)).splitlines()
    assert lines[1:] == [
        "└─ crowd (DynamicSupervisor)  running, dynamic temporary, 1,200 children, 0 of 1 restarts in 5 s",
        "   ├─ worker 0 (Worker)  running",
        "   ├─ worker 1 (Worker)  running",
        "   └─ … 1,198 more",
    ]


def test_the_tree_can_be_taken_while_a_child_supervisor_is_stopping(sim):
    sim.stubborn.add("x")
    inner = ChildSpec("inner", Supervisor, ([sim.spec("x", shutdown=5.0)],))
    root = sim.supervisor(inner)
    ended = control.terminate_child(root, "inner")
    sim.settle()
    node = sim.ask(control.tree, root)
    assert node.find("inner").status is ChildStatus.STOPPING
    assert node.find("x").status is ChildStatus.STOPPING
    sim.advance(5.0)
    assert ended.get() is None
    assert sim.ask(control.tree, root).find("inner").mailbox is None


def test_the_methods_answer_through_a_pykka_proxy_too(stage):
    root = stage.supervisor("a")
    proxy = root.proxy()
    assert proxy.statistics().get(timeout=5).active == 1
    assert proxy.count_children().get(timeout=5).specs == 1
    assert proxy.tree().get(timeout=5).find("a") is not None
