"""Trees of sessions: their children, and what is carried down to them."""

from __future__ import annotations

import pytest

from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.testing.system import SimulatedSystem


@pytest.fixture
def sim():
    with SimulatedSystem(script=Script(text("Hm."), stall())) as made:
        yield made


def tree(sim, shape, parent=None):
    """Make active sessions: a map of names to the same below; return their ids by name."""
    found = {}
    for name, below in shape.items():
        found[name] = sim.active_session(id=f"ses_{name}", parent_session_id=parent).id
        found |= tree(sim, below, found[name])
    return found


FAMILY = {"a": {"b": {"d": {}, "e": {}}, "c": {"f": {}}}}


def statuses(sim, ids):
    return {name: sim.session(key).status.value for name, key in ids.items()}


# --- Children ------------------------------------------------------------------------------------------------------


def test_children_come_in_the_order_of_their_making_and_those_below_level_by_level(sim):
    ids = tree(sim, FAMILY)
    names = {key: name for name, key in ids.items()}
    assert [names[one.id] for one in sim.manager.children(ids["a"])] == ["b", "c"]
    assert [names[one.id] for one in sim.manager.children(ids["a"], recursive=True)] == list("bcdef")
    assert sim.manager.children(ids["f"]) == []


def test_deleted_ones_are_left_out_and_what_is_below_them_is_not(sim):
    ids = tree(sim, FAMILY)
    sim.manager.delete_session(ids["b"])
    assert [one.id for one in sim.manager.children(ids["a"])] == [ids["c"]]
    assert {one.id for one in sim.manager.children(ids["a"], recursive=True)} == {
        ids[name] for name in "cdef"
    }


def test_more_children_than_are_read_at_once(sim):
    root = sim.active_session()
    made = [sim.manager.start_session(agent_id="a", parent_session_id=root.id).id for _ in range(250)]
    assert [one.id for one in sim.manager.children(root.id)] == made
    found = sim.manager.cancel_session(root.id, cascade=True)
    assert set(found) == {root.id, *made}


def test_unknown_sessions_and_bad_words_are_refused(sim):
    root = sim.active_session()
    for call in (
        lambda: sim.manager.children("ses_x"),
        lambda: sim.manager.cancel_session("ses_x", cascade=True),
    ):
        with pytest.raises(Exception, match="ses_x") as caught:
            call()
        assert caught.value.code is ErrorCode.SESSION_NOT_FOUND
    with pytest.raises(Exception, match="cascade") as caught:
        sim.manager.cancel_session(root.id, cascade="yes")
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


# --- Carried down --------------------------------------------------------------------------------------------------


def test_a_cancel_takes_the_tree_along_with_its_runs(sim):
    ids = tree(sim, FAMILY)
    runs = [sim.manager.submit_run(key, "Hello").id for key in ids.values()]
    found = sim.manager.cancel_session(ids["a"], reason="no", by="ann", cascade=True)
    assert list(found) == [ids[name] for name in "abcdef"]
    assert {one.status for one in found.values()} == {"cancelled"}
    assert {sim.run(run_id).status for run_id in runs} == {"cancelled"}
    for key in ids.values():
        assert sim.events(key)[-1].data == {"reason": "no", "by": "ann"}
        assert found[key] == sim.session(key)
    sim.check_promises()


def test_without_it_the_children_go_on(sim):
    ids = tree(sim, FAMILY)
    assert sim.manager.cancel_session(ids["a"]).status == "cancelled"
    assert statuses(sim, ids) == {"a": "cancelled", **dict.fromkeys("bcdef", "active")}


def test_part_of_a_tree_leaves_the_rest(sim):
    ids = tree(sim, FAMILY)
    sim.manager.cancel_session(ids["b"], cascade=True)
    assert statuses(sim, ids) == {**dict.fromkeys("acf", "active"), **dict.fromkeys("bde", "cancelled")}


def test_children_that_are_over_are_passed_over_and_what_is_below_them_is_not(sim):
    ids = tree(sim, FAMILY)
    sim.manager.complete_session(ids["b"])
    before = sim.types(ids["b"])
    found = sim.manager.cancel_session(ids["a"], cascade=True)
    assert set(found) == {ids[name] for name in "acdef"}
    assert statuses(sim, ids) == {**dict.fromkeys("acdef", "cancelled"), "b": "completed"}
    assert sim.types(ids["b"]) == before


def test_what_the_root_refuses_is_raised_and_nothing_has_changed(sim):
    ids = tree(sim, FAMILY)
    sim.manager.complete_session(ids["a"])
    with pytest.raises(Exception, match=ids["a"]) as caught:
        sim.manager.cancel_session(ids["a"], cascade=True)
    assert caught.value.code is ErrorCode.INVALID_TRANSITION
    assert statuses(sim, ids) == {"a": "completed", **dict.fromkeys("bcdef", "active")}


def test_what_a_child_refuses_keeps_nobody_from_the_next(sim):
    ids = tree(sim, FAMILY)
    run = sim.manager.submit_run(ids["b"], "Hello")
    found = sim.manager.complete_session(ids["a"], cascade=True)
    assert found[ids["b"]].code is ErrorCode.INVALID_OPERATION
    assert statuses(sim, ids) == {**dict.fromkeys("acdef", "completed"), "b": "active"}
    assert sim.run(run.id).status == "running"


@pytest.mark.parametrize(
    ("operation", "options", "status"),
    [
        ("pause_session", {"reason": "tea"}, "paused"),
        ("fail_session", {"error": "boom"}, "failed"),
        ("complete_session", {"cancel_runs": True}, "completed"),
    ],
)
def test_other_operations_are_carried_down_likewise(sim, operation, options, status):
    ids = tree(sim, FAMILY)
    sim.manager.submit_run(ids["e"], "Hello")
    getattr(sim.manager, operation)(ids["a"], **options, cascade=True)
    assert set(statuses(sim, ids).values()) == {status}
    sim.check_promises()


def test_a_tree_is_paused_and_resumed(sim):
    ids = tree(sim, FAMILY)
    pending = sim.manager.start_session(agent_id="a", parent_session_id=ids["c"])
    sim.manager.pause_session(ids["f"])
    assert set(sim.manager.pause_session(ids["a"], cascade=True)) == {ids[name] for name in "abcde"}
    found = sim.manager.resume_session(ids["a"], by="ann", cascade=True)
    assert {one.status for one in found.values()} == {"active"}
    assert set(found) == set(ids.values())
    assert sim.session(pending.id).status == "pending"


def test_runs_of_a_whole_tree_are_interrupted_and_the_sessions_go_on(sim):
    ids = tree(sim, FAMILY)
    runs = {sim.manager.submit_run(key, "Hello").id for key in ids.values()}
    found = sim.manager.interrupt_session(ids["a"], cascade=True)
    assert set(found) == runs
    assert {run.error["details"]["reason"] for run in found.values()} == {"interrupted"}
    assert set(statuses(sim, ids).values()) == {"active"}


def test_a_circle_ends(sim):
    first = sim.active_session(id="ses_1", parent_session_id="ses_2")
    second = sim.active_session(id="ses_2", parent_session_id="ses_1")
    loner = sim.active_session(id="ses_3", parent_session_id="ses_3")
    assert [one.id for one in sim.manager.children(first.id, recursive=True)] == [second.id]
    assert sim.manager.children(loner.id, recursive=True) == []
    assert set(sim.manager.cancel_session(first.id, cascade=True)) == {first.id, second.id}
    assert set(sim.manager.cancel_session(loner.id, cascade=True)) == {loner.id}


def test_a_deep_tree_ends(sim):
    parent, made = None, []
    for _ in range(400):
        parent = sim.manager.start_session(agent_id="a", parent_session_id=parent).id
        made.append(parent)
    assert len(sim.manager.children(made[0], recursive=True)) == 399
    assert set(sim.manager.cancel_session(made[0], cascade=True)) == set(made)


@pytest.mark.parametrize("steps", range(0, 240, 30))
def test_what_a_crash_leaves_half_done_is_done_by_asking_again(steps):
    with SimulatedSystem(steps, script=Script(text("Hm."), stall())) as sim:
        ids = tree(sim, FAMILY)
        for key in ids.values():
            sim.manager.submit_run(key, "Hello")
        sim.settle()
        sim.operations.cancel_session(ids["a"], cascade=True)
        sim.steps(steps)
        sim.kill()
        sim.settle()
        sim.check_promises()
        sim.manager.cancel_session(ids["a"], cascade=True)
        assert set(statuses(sim, ids).values()) == {"cancelled"}
        assert [sim.types(key).count("session_cancelled") for key in ids.values()] == [1] * 6
        sim.check_promises()


def test_a_crash_of_the_sessions_supervisor_is_told_or_made_good(sim):
    ids = tree(sim, FAMILY)
    future = sim.operations.cancel_session(ids["a"], cascade=True)
    sim.steps(20)
    sim.crash(sim.services.whereis("sessions"))
    sim.advance(5)
    assert future.is_available
    if sim.error_of(future) is not None:
        sim.manager.cancel_session(ids["a"], cascade=True)
    assert set(statuses(sim, ids).values()) == {"cancelled"}
    sim.check_promises()
