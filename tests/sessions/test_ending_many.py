"""Many runs of a session are ended at once: in steps, so that others have their turn, and as if it were one."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, stall, text
from asm_actors.runs.messages import CompactsFirst
from asm_actors.sessions import messages as m
from asm_actors.sessions.ending_many import SLICE
from asm_actors.sessions.session import SessionStatus
from asm_actors.testing.promises import watched_steps
from asm_actors.testing.system import SimulatedSystem

MANY = 2 * SLICE + 50
WAYS = {
    "interrupt_session": m.InterruptSession("enough", "ann"),
    "cancel_session": m.CancelSession("enough", "ann"),
    "complete_session": m.CompleteSession(True),
    "fail_session": m.FailSession(AsmError(ErrorCode.PROVIDER_ERROR, "boom")),
}


@pytest.fixture(autouse=True)
def _each_step_leaves_a_session_in_order():
    with watched_steps() as faults:
        yield
    assert not faults, faults[:5]


def notes(effects):
    """Notes to itself that come behind what was written."""
    writes = [effect for effect in effects if type(effect) is fx.Write]
    return [one.message for write in writes for one in write.then if type(one) is fx.Note]


def ended(effects):
    return [
        run.id for effect in effects if type(effect) is fx.Write for run in effect.runs if run.is_terminal
    ]


@pytest.fixture
def crowded(bench):
    """A session with one run under way and many in line."""

    def make(**options):
        core = bench(max_queued=None, **options)
        core.running("run_0")
        for number in range(1, MANY):
            core.submitted(f"run_{number}")
        return core

    return make


@pytest.mark.parametrize("way", WAYS)
def test_no_step_ends_more_than_a_part_of_them(crowded, way):
    core = crowded()
    effects = core.tell(WAYS[way], "asker")
    assert [effect.run_id for effect in effects if type(effect) is fx.ToRun] == ["run_0"]
    assert ended(effects) == [f"run_{number}" for number in range(1, SLICE)]
    parts = [len(ended(effects))]
    while notes(effects) and core.state.n_ending_many:
        [note] = notes(effects)
        effects = core.tell(note)
        parts.append(len(ended(effects)))
        assert core.started(effects) == []
    assert parts == [SLICE - 1, SLICE, MANY - 2 * SLICE]
    assert list(core.state.open) == ["run_0"]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "interrupt_session"])
def test_a_session_ends_when_the_last_of_them_has(crowded, way):
    core = crowded()
    effects = core.tell(WAYS[way], "asker")
    effects += core.tell(core.ended("run_0"))
    assert core.status is SessionStatus.ACTIVE
    [note] = notes(effects)
    effects = core.tell(note)
    assert core.answers(effects) == {}
    effects = core.tell(*notes(effects))
    assert core.state.session.is_terminal
    assert core.answers(effects)["asker"].status is core.status
    assert core.of(effects, fx.ReleaseSlot)


def test_none_of_them_starts_when_a_place_is_free_before_it_is_told(crowded):
    core = crowded()
    [note] = notes(core.tell(WAYS["interrupt_session"]))
    assert core.started(core.tell(core.ended("run_0"))) == []
    effects = core.tell(note)
    core.submitted("run_new")
    assert core.state.n_started == 0
    effects = core.tell(*notes(effects))
    assert core.started(effects) == ["run_new"]


def test_the_answer_has_all_of_them_and_comes_when_all_are_over(crowded):
    core = crowded()
    asker = Asker()
    effects = core.tell(WAYS["interrupt_session"], asker)
    while True:
        answer(effects)
        if not core.state.n_ending_many:
            break
        effects = core.tell(*notes(effects))
    assert asker.value is None
    answer(core.tell(core.ended("run_0")))
    assert len(asker.value) == MANY
    assert all(run.is_terminal for run in asker.value.values())


class Asker:
    is_done = False
    value = None

    def set(self, value):
        self.value = value


def answer(effects):
    for effect in effects:
        for one in effect.then if type(effect) is fx.Write else ():
            if type(one) is fx.Reply:
                one.to.set(one.value)


def test_two_who_want_it_at_once_do_not_let_each_other_start_any(crowded):
    core = crowded()
    first = notes(core.tell(WAYS["interrupt_session"]))
    second = notes(core.tell(WAYS["interrupt_session"]))
    core.tell(core.ended("run_0"))
    while first or second:
        first, second = ([] if not one else notes(core.tell(*one)) for one in (first, second))
        assert core.state.n_started == 0
    assert core.state.n_ending_many == 0
    assert list(core.state.open) == []


def test_a_session_may_be_ended_while_its_runs_are_interrupted(crowded):
    core = crowded()
    first = notes(core.tell(WAYS["interrupt_session"]))
    effects = core.tell(WAYS["cancel_session"], "asker")
    core.tell(core.ended("run_0"))
    while first or core.state.open:
        first = notes(core.tell(*first)) if first else []
        effects = core.tell(*notes(effects)) if core.state.open else effects
    assert core.status is SessionStatus.CANCELLED


def test_one_under_way_that_is_to_have_the_conversation_summed_up_first_is_ended_too(bench):
    core = bench(max_concurrent=None)
    for number in range(MANY):
        core.submitted(f"run_{number}")
    effects = core.tell(WAYS["cancel_session"], "asker")
    last = f"run_{MANY - 1}"
    assert core.tell(CompactsFirst(last, core.run("run_sum"))) == []
    assert "run_sum" not in core.state.open
    while core.state.n_ending_many:
        effects = core.tell(*notes(effects))
    assert last not in core.state.open
    for run_id in list(core.state.open):
        core.tell(core.ended(run_id))
    assert core.status is SessionStatus.CANCELLED


# --- In a system -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_quiet_logs")
@pytest.mark.parametrize("way", ["interrupt_session", "cancel_session"])
@pytest.mark.parametrize("steps", [3, 20, 60, 200])
def test_if_the_process_ends_meanwhile_the_others_go_on_and_nobody_was_answered(way, steps):
    script = [Script(text("x"), stall()), *[Script(text("y"))] * MANY]
    limits = Limits(max_queued_runs=None)
    with SimulatedSystem(1, script=script, limits=limits) as sim:
        session = sim.active_session()
        made = [sim.operations.submit_run(session.id, str(number)) for number in range(MANY)]
        sim.settle()
        asked = getattr(sim.operations, way)(session.id)
        sim.steps(steps)
        was_answered = asked.is_available
        sim.kill()
        sim.settle()
        if not was_answered:
            assert sim.session(session.id).status == "active"
        statuses = {sim.run(one.get().id).status.value for one in made[1:]}
        assert statuses <= {"completed", "cancelled"}
        getattr(sim.manager, way)(session.id)
        sim.check_promises()


@pytest.mark.parametrize("way", ["interrupt_session", "cancel_session"])
def test_others_have_their_turn_meanwhile(way):
    limits = Limits(max_queued_runs=None, max_parallel_runs=2)
    with SimulatedSystem(1, script=Script(text("x")), limits=limits) as sim:
        crowd, other = sim.active_session(), sim.active_session()
        sim.manager.pause_session(crowd.id)
        made = [sim.operations.submit_run(crowd.id, str(number)) for number in range(MANY)]
        sim.settle()
        asked = getattr(sim.operations, way)(crowd.id)
        answered = sim.operations.submit_run(other.id, "x")
        while not answered.is_available:
            assert not asked.is_available
            sim.steps(1)
        sim.settle()
        asked.get()
        assert {sim.run(one.get().id).status.value for one in made} == {"cancelled"}
        sim.check_promises()
