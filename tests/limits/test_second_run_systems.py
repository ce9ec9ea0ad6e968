"""A second run in whole systems: any schedule, three in a burst, a crash at any step, and the conversation after it."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.script import Script, sleep, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem

pytestmark = pytest.mark.usefixtures("_quiet_logs")

TERMINAL = {"completed", "failed", "cancelled", "timeout"}


def end_of(sim, run_id):
    return sim.events_of(run_id)[-1]


def finished(sim, session_id, seconds=60):
    for _ in range(seconds):
        sim.settle()
        if not [run for run in sim.store.runs(session_id) if run.status not in TERMINAL]:
            return
        sim.advance(1.0)


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
@pytest.mark.parametrize("seed", range(4))
def test_the_newest_of_three_goes_on_whatever_the_schedule(seed, mode):
    provider = ScriptedProvider(Script(text("Hello"), sleep(2), text("!")))
    with SimulatedSystem(seed, providers={"mock": provider}) as sim:
        session = sim.active_session(second_run=mode)
        first = sim.manager.submit_run(session.id, "1")
        sim.advance(1.0)
        waiting = sim.operations.await_run(first.id)
        second, third = (sim.operations.submit_run(session.id, str(n)) for n in (2, 3))
        finished(sim, session.id)
        ids = [first.id, second.get().id, third.get().id]
        assert [sim.run(run_id).status for run_id in ids] == ["cancelled", "cancelled", "completed"]
        assert sim.codes([waiting]) == [ErrorCode.CANCELLED]
        end = end_of(sim, first.id)
        assert (end.type, end.data["reason"]) == ("run_cancelled", f"superseded by {ids[1]}")
        assert end.data.get("rolled_back", False) is (mode == "rollback")
        assert sim.run(first.id).output == {"content": "Hello", "partial": True}
        assert provider.open_streams == 0
        sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 60, 3))
def test_one_that_completes_meanwhile_and_one_that_is_stopped_are_told_apart(steps):
    with SimulatedSystem(steps, script=Script(text("Hello", size=1))) as sim:
        session = sim.active_session(second_run="rollback")
        first = sim.operations.submit_run(session.id, "1")
        sim.steps(steps)
        second = sim.operations.submit_run(session.id, "2")
        finished(sim, session.id)
        old, new = sim.run(first.get().id), sim.run(second.get().id)
        assert new.status == "completed"
        assert old.status in ("completed", "cancelled")
        assert ("rolled_back" in end_of(sim, old.id).data) is (old.status == "cancelled")
        if old.started_us is not None:
            assert old.ended_us <= new.started_us
        sim.check_promises()


@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
@pytest.mark.parametrize("steps", range(0, 90, 6))
def test_after_a_crash_at_any_step_exactly_the_newest_goes_on(steps, mode):
    script = [Script(text("Hello"), sleep(30)), *[Script(text("done"))] * 4]
    with SimulatedSystem(steps, script=script) as sim:
        session = sim.active_session(second_run=mode)
        first = sim.manager.submit_run(session.id, "1")
        sim.advance(1.0)
        sim.operations.submit_run(session.id, "2")
        sim.steps(steps)
        sim.kill()
        finished(sim, session.id)
        known = {run.id: run for run in sim.store.runs(session.id)}
        if len(known) == 2:  # it was taken
            assert known.pop(first.id).status == "cancelled"
            assert (end_of(sim, first.id).data.get("rolled_back") is True) is (mode == "rollback")
            [new] = known.values()
            assert new.status == "completed"
        else:
            assert [run.status for run in known.values()] == ["completed"]
        sim.check_promises()


@pytest.mark.parametrize("how", ["cancelled", "timeout", "superseded"])
@pytest.mark.parametrize("mode", ["interrupt", "rollback"])
@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13])
def test_what_was_told_to_stop_does_not_go_on_though_its_successor_is_over(steps, mode, how):
    provider = ScriptedProvider(
        [Script(text("Hello"), sleep(1), text("!"), stall()), *[Script(text("x"))] * 4]
    )
    with SimulatedSystem(steps, providers={"mock": provider}) as sim:
        session = sim.active_session(second_run=mode)
        first = sim.manager.submit_run(session.id, "1").id
        sim.advance(0.5)
        second = sim.operations.submit_run(session.id, "2", deadline=0.1 if how == "timeout" else None)
        while not second.is_available:
            sim.steps(1)
        second = second.get().id
        asked = [sim.operations.cancel_run(second)] if how == "cancelled" else []
        if how == "superseded":
            asked = [sim.operations.submit_run(session.id, "3")]
        elif how == "timeout":
            sim.clock.advance(0.2)
        while sim.run(second).status not in TERMINAL:
            sim.steps(1)
        sim.steps(steps)
        if how == "superseded" and asked[0].is_available:
            sim.manager.cancel_run(asked[0].get().id)
        sim.kill()
        finished(sim, session.id)
        assert sim.run(first).status == "cancelled"
        assert "superseded by" in end_of(sim, first).data["reason"]
        assert (end_of(sim, first).data.get("rolled_back") is True) is (mode == "rollback")
        assert "superseded" not in sim.run(first).details
        sim.check_promises()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("what", ["run", "session"])
def test_a_crash_of_the_one_that_is_to_stop_does_not_keep_the_new_one(what, seed):
    with SimulatedSystem(seed, script=[Script(text("Hello"), stall()), *[Script(text("x"))] * 3]) as sim:
        session = sim.active_session(second_run="interrupt")
        first = sim.manager.submit_run(session.id, "1")
        sim.settle()
        second = sim.operations.submit_run(session.id, "2")
        sim.steps(seed * 4)
        ref = sim.run_ref(first.id) if what == "run" else sim.session_ref(session.id)
        if ref is not None and ref.is_alive():
            sim.crash(ref)
        finished(sim, session.id)
        # The answer may be lost with the actor; whether it was taken the journal tells.
        taken = [run for run in sim.store.runs(session.id) if run.id != first.id]
        if taken:
            assert sim.run(first.id).status == "cancelled"
            assert taken[0].status == "completed"
        assert second.is_available
        sim.check_promises()


def test_a_session_that_rejects_takes_the_next_one_when_the_first_has_ended():
    with SimulatedSystem(script=Script(sleep(1), text("x"))) as sim:
        session = sim.active_session(second_run="reject")
        sim.manager.submit_run(session.id, "1")
        with pytest.raises(AsmError, match="second_run is reject") as caught:
            sim.manager.submit_run(session.id, "2")
        assert caught.value.code is ErrorCode.MAX_RUNS_EXCEEDED
        assert len(sim.store.runs(session.id)) == 1
        sim.advance(1.0)
        sim.settle()
        assert sim.manager.submit_run(session.id, "3").status == "pending"


def test_what_a_rollback_took_out_is_no_part_of_the_conversation_and_what_an_interrupt_stopped_is():
    for mode, is_there in (("interrupt", True), ("rollback", False)):
        with SimulatedSystem(script=[Script(text("Partly"), stall()), Script(text("Whole"))]) as sim:
            session = sim.active_session(second_run=mode)
            sim.manager.submit_run(session.id, "first question")
            sim.settle()
            sim.manager.submit_run(session.id, "second question")
            sim.settle()
            transcript = sim.manager.transcript(session.id)
            said = " ".join(str(message.content) for message in transcript.messages)
            assert ("first question" in said) is is_there
            assert "second question" in said
            assert "Whole" in said


def test_a_rollback_puts_the_files_back_which_the_run_had_changed(tmp_path):
    (tmp_path / "kept.txt").write_text("before")

    def spoil() -> str:
        """Change files."""
        (tmp_path / "kept.txt").write_text("after")
        (tmp_path / "new.txt").write_text("new")
        return "spoilt"

    script = [Script(tool_call("c1", "spoil")), Script(text("and now"), stall()), *[Script(text("x"))] * 2]
    with SimulatedSystem(script=script, tools=[spoil]) as sim:
        session = sim.active_session(second_run="rollback")
        first = sim.manager.submit_run(
            session.id, "1", workspace={"enabled": True, "path": str(tmp_path), "strategy": "hash"}
        )
        sim.settle()
        if sim.run(first.id).status == "failed":
            pytest.fail(str(sim.run(first.id).error))
        assert (tmp_path / "new.txt").exists()
        second = sim.manager.submit_run(session.id, "2")
        sim.settle()
        assert sim.run(first.id).status == "cancelled"
        assert sim.run(second.id).status == "completed"
        assert (tmp_path / "kept.txt").read_text() == "before"
        assert not (tmp_path / "new.txt").exists()


# --- Limits of sessions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["kill", "restart", "crash", "rest"])
def test_the_limits_of_a_session_survive(how):
    with SimulatedSystem(
        script=Script(sleep(1), text("x")), limits=Limits(max_concurrent_runs=1), linger=5.0
    ) as sim:
        session = sim.active_session(max_concurrent_runs=2, max_queued_runs=1, second_run="enqueue")
        sim.manager.update_session_limits(session.id, max_concurrent_runs=3)
        if how == "crash":
            sim.crash(sim.session_ref(session.id))
        elif how == "rest":
            sim.advance(30.0)
        else:
            sim.kill() if how == "kill" else sim.restart()
        sim.settle()
        status = sim.manager.status(session.id)
        assert (status["max_concurrent_runs"], status["max_queued_runs"]) == (3, 1)
        asked = [sim.operations.submit_run(session.id, "x") for _ in range(5)]
        sim.settle()
        assert sim.codes(asked) == [None] * 4 + [ErrorCode.MAX_RUNS_EXCEEDED]
        status = sim.manager.status(session.id)
        assert (status["in_flight_count"], status["queued_count"], status["available_run_slots"]) == (3, 1, 0)
        sim.advance(3.0)
        sim.check_promises()


def test_a_session_of_several_places_never_takes_more(watch):
    with SimulatedSystem(script=Script(sleep(1), text("x"))) as sim:
        session = sim.active_session(max_concurrent_runs=3, max_queued_runs=50)
        most = 0

        def look(dispatcher):
            nonlocal most
            ref = sim.session_ref(session.id)
            if ref is not None and ref.life.actor is not None:
                most = max(most, ref.life.actor.state.n_started)

        sim.dispatcher.on_step = look
        runs = [sim.manager.submit_run(session.id, str(n)) for n in range(20)]
        for _ in range(9):
            sim.advance(1.0)
        assert most == 3
        assert {sim.run(run.id).status for run in runs} == {"completed"}
        sim.check_promises()


# --- Status --------------------------------------------------------------------------------------------------------


def test_the_status_of_a_session_tells_all_that_it_is_asked_for():
    with SimulatedSystem(script=Script(stall())) as sim:
        session = sim.active_session(priority=2)
        runs = [sim.manager.submit_run(session.id, str(n)) for n in range(3)]
        sim.settle()
        with sim.manager.subscribe(session.id) as subscription:
            assert subscription.pull(timeout=0)
            status = sim.manager.status(session.id)
            assert status["subscribers"] == 1
        sim.settle()
        status = sim.manager.status(session.id)
        assert status["subscribers"] == 0
        assert status["in_flight_runs"] == [runs[0].id]
        assert status["queued_runs"] == [run.id for run in runs[1:]]
        assert (status["in_flight_count"], status["queued_count"]) == (1, 2)
        assert (status["max_concurrent_runs"], status["max_queued_runs"]) == (1, 100)
        assert (status["second_run"], status["priority"]) == ("enqueue", 2)


def test_the_status_of_the_whole_tells_of_each_pool():
    limits = Limits(max_parallel_runs=1, max_runs_per_agent=3, max_parallel_sessions=None, max_waiting_runs=9)
    with SimulatedSystem(script=Script(stall()), limits=limits) as sim:
        for agent in ("a", "b"):
            sim.manager.submit_run(sim.active_session(agent).id, "x")
            sim.settle()
        sim.advance(4.0)
        status = sim.manager.status()
        assert status["pools"]["runs"]["runs"] == {
            "limit": 1,
            "in_use": 1,
            "available": 0,
            "waiting": 1,
            "longest_wait_s": 4.0,
            "peak": 1,
            "granted": 1,
            "refused": 0,
        }
        assert status["pools"]["runs"]["agent:b"]["waiting"] == 1
        assert status["pools"]["sessions"]["sessions"]["limit"] is None
        assert status["available_session_slots"] is None
        assert status["available_run_slots"] == 0
        assert status["max_waiting_runs"] == 9
        assert status["limits"] == limits.to_map()
