"""What becomes of a run that comes while others take all places, as a table over the session's core."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.runs.messages import CancelRun, SupersedeRun
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Phase
from asm_actors.sessions.second_run import superseded


def refused(core, message):
    before = core.phases()
    with pytest.raises(AsmError) as caught:
        core.tell(message)
    assert core.phases() == before
    return caught.value


# --- Enqueue, reject -----------------------------------------------------------------------------------------------


def test_by_default_it_waits(bench):
    core = bench()
    core.running("run_1")
    core.submit("run_2")
    assert core.phases() == {"run_1": "started", "run_2": "queued"}
    assert core.started(core.ended("run_1")) == ["run_2"]


def test_without_a_queue_it_is_refused_and_never_dropped(bench):
    core = bench(max_queued_runs=0)
    core.submit("run_1")
    error = refused(core, m.SubmitRun(core.run("run_2")))
    assert error.code is ErrorCode.MAX_RUNS_EXCEEDED
    assert "max_queued_runs (0)" in error.message
    core.ended("run_1")
    assert core.started(core.submit("run_2")) == ["run_2"]


@pytest.mark.parametrize("kind", ["submit", "execute", "queue"])
def test_a_session_that_rejects_names_the_limit_its_value_and_how_many_there_are(bench, kind):
    core = bench(second_run="reject", max_concurrent_runs=2)
    core.tell(m.CreateRun(core.run("run_3")))
    for run_id in ("run_1", "run_2"):
        core.submit(run_id)
    message = {
        "submit": m.SubmitRun(core.run("run_4")),
        "execute": m.ExecuteRun("run_3"),
        "queue": m.QueueRun("run_3"),
    }[kind]
    error = refused(core, message)
    assert error.code is ErrorCode.MAX_RUNS_EXCEEDED
    assert "max_concurrent_runs is 2" in error.message
    assert error.details == {"limit": "max_concurrent_runs", "value": 2, "in_use": 2}
    core.ended("run_1")
    assert core.started(core.tell(message)) != []


def test_a_created_run_takes_no_place(bench):
    core = bench(second_run="reject")
    core.tell(m.CreateRun(core.run("run_1")))
    assert core.started(core.submit("run_2")) == ["run_2"]


def test_a_run_that_is_held_counts_for_a_session_that_rejects(bench):
    core = bench(second_run="reject")
    core.running("run_1")
    core.state.open["run_1"].phase = Phase.HELD
    core.state.n_started = 0
    assert refused(core, m.SubmitRun(core.run("run_2"))).code is ErrorCode.MAX_RUNS_EXCEEDED


# --- Interrupt, rollback -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
def test_the_one_under_way_is_stopped_and_the_new_one_starts_when_it_has_stopped(bench, mode):
    core = bench(second_run=mode)
    core.running("run_1")
    effects = core.submit("run_2", "asker")
    assert core.told(effects) == {"run_1": SupersedeRun("run_2", "run_1", rolls_back=mode == "rollback")}
    assert core.started(effects) == []
    assert core.phases() == {"run_1": "started", "run_2": "queued"}
    assert core.started(core.stopped("run_1")) == ["run_2"]


def test_what_it_takes_the_place_of_is_on_record_before_anybody_is_told(bench):
    core = bench(second_run="rollback")
    core.running("run_1")
    effects = core.submit("run_2")
    assert effects[0].runs[0].options["supersedes"] == ["run_1"]
    assert effects[0].runs[0].options["rolls_back"] is True
    assert [type(effect).__name__ for effect in effects] == ["Write", "ToRun"]


@pytest.mark.parametrize("kind", ["execute", "queue"])
def test_a_run_that_was_created_takes_the_place_too(bench, kind):
    core = bench(second_run="interrupt")
    core.tell(m.CreateRun(core.run("run_2")))
    core.running("run_1")
    message = m.ExecuteRun("run_2") if kind == "execute" else m.QueueRun("run_2")
    effects = core.tell(message, "asker")
    assert core.told(effects) == {"run_1": SupersedeRun("run_2", "run_1")}
    assert effects[0].runs[0].options["supersedes"] == ["run_1"]
    assert core.started(core.stopped("run_1")) == ["run_2"]


def test_of_three_in_a_burst_the_newest_goes_on(bench):
    core = bench(second_run="interrupt")
    core.running("run_1")
    core.submit("run_2")
    effects = core.submit("run_3")
    [draft] = core.drafts(effects)
    assert (draft.run_id, draft.type) == ("run_2", "run_cancelled")
    assert draft.data["reason"] == "superseded by run_3"
    assert "rolled_back" not in draft.data
    assert core.phases() == {"run_1": "started", "run_3": "queued"}
    assert core.started(core.stopped("run_1")) == ["run_3"]


def test_what_waits_is_taken_out_of_the_conversation_by_a_rollback(bench):
    core = bench(second_run="rollback")
    core.running("run_1")
    core.submit("run_2")
    [draft] = core.drafts(core.submit("run_3"))
    assert draft.data["rolled_back"] is True
    assert draft.data["superseded_by"] == "run_3"


def test_all_places_are_made_free_before_it_starts(bench):
    core = bench(second_run="interrupt", max_concurrent_runs=2)
    core.running("run_1")
    core.running("run_2")
    core.submit("run_3")
    assert core.started(core.stopped("run_2")) == []
    assert core.started(core.stopped("run_1")) == ["run_3"]


def test_while_there_is_a_place_nobody_is_interrupted(bench):
    core = bench(second_run="interrupt", max_concurrent_runs=2)
    core.running("run_1")
    effects = core.submit("run_2")
    assert (core.started(effects), core.told(effects)) == (["run_2"], {})


def test_one_that_completes_before_it_hears_of_it_has_completed(bench):
    core = bench(second_run="rollback")
    core.running("run_1")
    core.submit("run_2")
    effects = core.ended("run_1")
    assert core.started(effects) == ["run_2"]
    [write] = [effect for effect in core.of(effects, type(effects[0])) if effect.runs]
    assert write.runs[0].status is RunStatus.COMPLETED
    assert "rolled_back" not in write.runs[0].details


def test_a_full_queue_is_no_reason_to_refuse_what_takes_the_place_of_all(bench):
    core = bench(second_run="interrupt", max_queued_runs=0)
    core.running("run_1")
    core.submit("run_2")
    core.submit("run_3")
    assert core.phases() == {"run_1": "started", "run_3": "queued"}


def test_a_held_run_ends_at_once(bench):
    core = bench(second_run="rollback")
    core.running("run_1")
    entry = core.state.open["run_1"]
    entry.phase, entry.run = Phase.HELD, core.record("run_1").with_status(RunStatus.AWAITING_APPROVAL, 0)
    core.state.n_started = 0
    effects = core.submit("run_2")
    assert core.started(effects) == ["run_2"]
    [draft] = core.drafts(effects)
    assert draft.data["rolled_back"] is True


def test_a_paused_session_keeps_only_the_newest_in_line(bench):
    core = bench(second_run="interrupt")
    core.tell(m.PauseSession())
    core.submit("run_1")
    core.submit("run_2")
    assert core.phases() == {"run_2": "queued"}


def test_the_new_one_may_be_cancelled_while_it_waits_for_the_old_one(bench):
    core = bench(second_run="interrupt")
    core.running("run_1")
    core.submit("run_2")
    core.tell(CancelRun(None, "run_2"), "asker")
    assert core.phases() == {"run_1": "started"}
    core.stopped("run_1")
    assert core.phases() == {}
    assert core.started(core.submit("run_3")) == ["run_3"]


def test_a_run_that_sums_up_neither_interrupts_nor_is_interrupted(bench):
    core = bench(second_run="interrupt")
    core.running("run_1")
    assert core.told(core.submit("run_sum", purpose="compaction")) == {}
    core.ended("run_1")
    effects = core.submit("run_2")
    assert core.told(effects) == {}
    assert core.phases() == {"run_sum": "started", "run_2": "queued"}


def test_a_refusal_changes_nothing(bench):
    core = bench(second_run="interrupt")
    core.running("run_1")
    refused(core, m.SubmitRun(core.run("run_1")))
    refused(core, m.SubmitRun(core.run("run_2"), deadline_s=-1))
    assert core.state.open["run_1"].stopping is None


# --- After a restart -----------------------------------------------------------------------------------------------


def loaded(core, *runs):
    return m.SessionLoaded(core.state.session, tuple(runs))


@pytest.mark.parametrize("rolls_back", [False, True])
@pytest.mark.parametrize("status", ["pending", "running", "paused"])
def test_after_a_restart_exactly_the_newest_goes_on(bench, status, rolls_back):
    core = bench(second_run="rollback" if rolls_back else "interrupt")
    marks = {"submitted": True, "supersedes": ["run_1"]} | ({"rolls_back": True} if rolls_back else {})
    old = core.run("run_1", submitted=True)
    if status != "pending":
        old = old.begun(0, 0)
    if status == "paused":
        old = old.with_status(RunStatus.PAUSED, 0)
    new = core.run("run_2", **marks)
    life = bench()
    life.state.holds_slot = False
    effects = life.tell(loaded(core, old, new))
    if status == "running":  # its stream may be open yet: it is closed by an actor, which is told so
        assert life.told(effects) == {"run_1": SupersedeRun("run_2", "run_1", rolls_back=rolls_back)}
        assert "run_recovered" not in [draft.type for draft in life.drafts(effects)]
        effects = life.stopped("run_1")
    else:
        [draft] = life.drafts(effects)
        assert draft.data.get("rolled_back", False) is rolls_back
    assert life.phases() == {"run_2": "queued"}
    assert life.started(life.tell(m.SlotGranted("sessions"))) == ["run_2"]


def test_the_newest_that_names_it_counts(bench):
    core = bench()
    runs = [core.run("run_2", supersedes=["run_1"]), core.run("run_3", supersedes=["run_1", "run_2"])]
    assert {old: new.id for old, new in superseded(runs).items()} == {"run_1": "run_3", "run_2": "run_3"}


# --- Limits of the session -----------------------------------------------------------------------------------------


def test_its_own_limits_count_before_those_of_the_system_also_in_a_later_life(bench):
    core = bench(max_concurrent=1, max_queued=100, max_concurrent_runs=3, max_queued_runs=1)
    life = bench()
    life.tell(loaded(core))
    for state in (core.state, life.state):
        assert (state.max_concurrent, state.queue.limit) == (3, 1)
    assert core.started([e for n in range(3) for e in core.submit(f"run_{n}")]) == ["run_0", "run_1", "run_2"]
    core.submit("run_3")
    assert "max_queued_runs (1)" in refused(core, m.SubmitRun(core.run("run_4"))).message


def test_limits_may_be_changed_and_are_taken_at_once(bench):
    core = bench()
    for n in range(4):
        core.submit(f"run_{n}")
    effects = core.tell(m.UpdateSessionLimits(max_concurrent_runs=3, second_run="reject"), "asker")
    assert core.started(effects) == ["run_1", "run_2"]
    assert effects[0].session.options == {"max_concurrent_runs": 3, "second_run": "reject"}
    assert effects[0].then[0].value is core.state.session
    core.tell(m.UpdateSessionLimits(max_concurrent_runs=1))
    assert core.started(core.ended("run_0")) == []
    assert core.state.second_run == "reject"
    core.tell(m.UpdateSessionLimits(second_run="enqueue"))
    assert core.state.second_run is None


def test_a_change_that_changes_nothing_writes_nothing(bench):
    core = bench(max_queued_runs=5)
    [write] = core.tell(m.UpdateSessionLimits(max_queued_runs=5), "asker")
    assert (write.session, write.drafts, len(write.then)) == (None, (), 1)


@pytest.mark.parametrize(
    "change",
    [{"max_concurrent_runs": 0}, {"max_queued_runs": -1}, {"second_run": "later"}, {"priority": "high"}],
)
def test_a_change_that_makes_no_sense_is_refused(bench, change):
    core = bench()
    before = core.state.session
    assert refused(core, m.UpdateSessionLimits(**change)).code is ErrorCode.VALIDATION_ERROR
    assert core.state.session is before


@pytest.mark.parametrize(("queued", "taken"), [(0, 2), (1, 3)])
def test_what_starts_with_the_slot_of_the_session_does_not_count_as_waiting(bench, queued, taken):
    """A session that comes back from the journal has its slot a moment later."""
    core = bench(max_concurrent_runs=2, max_queued_runs=queued)
    core.state.holds_slot = False
    for n in range(taken):
        core.submit(f"run_{n}")
    assert refused(core, m.SubmitRun(core.run("run_9"))).code is ErrorCode.MAX_RUNS_EXCEEDED
    assert core.started(core.tell(m.SlotGranted("sessions"))) == ["run_0", "run_1"]
    refused(core, m.SubmitRun(core.run("run_9")))


# --- Priorities ----------------------------------------------------------------------------------------------------


def test_the_queue_of_a_session_goes_by_priority_then_by_age(bench):
    core = bench(priority=1)
    core.submit("run_0")
    for run_id, options in (
        ("low", {"priority": 0}),
        ("first", {}),
        ("high", {"priority": 2}),
        ("second", {}),
    ):
        core.submit(run_id, **options)
    assert list(core.state.queue) == ["high", "first", "second", "low"]
    assert core.started(core.ended("run_0")) == ["high"]
