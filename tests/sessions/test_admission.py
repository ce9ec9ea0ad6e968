"""Runs in a session's core: admitted, queued, started, cancelled, over."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.append import Draft
from asm_actors.runs.messages import CancelRun, DeadlineReached, RunAppends, RunWaits
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import RunStatus
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import DurableFor, Ended, RunCrashed
from asm_actors.sessions.session import Session, SessionStatus

S = SessionStatus
BOOM = AsmError(ErrorCode.PROVIDER_ERROR, "boom")


def assert_raised(found, error, status):
    """Who waits gets the run's error, and it names the run."""
    assert (type(found), str(found)) == (type(error), str(error))
    assert (found.context["run_id"], found.context["status"]) == ("run_1", status)


def refused(core, message):
    """Have a message refused, check that nothing changed, and return the error's code."""
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(message)
    assert core.snapshot() == before
    return caught.value.code


def loaded(core, effects, run):
    """What the shell answers to a `LoadRun`."""
    (wish,) = core.of(effects, fx.LoadRun)
    return core.tell(m.RunLoaded(run, wish.message, wish.reply))


# --- Where runs are taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(S), ids=str)
def test_runs_are_created_in_sessions_that_are_not_over(bench, status):
    core = bench(status)
    message = m.CreateRun(core.run())
    if core.state.session.is_terminal:
        assert refused(core, message) is ErrorCode.INVALID_OPERATION
    else:
        effects = core.tell(message, "asker")
        assert effects == [fx.Write((), None, (message.run,), (fx.Reply("asker", message.run),))]


@pytest.mark.parametrize("status", list(S), ids=str)
def test_runs_are_submitted_to_sessions_that_are_active_or_paused(bench, status):
    core = bench(status)
    message = m.SubmitRun(core.run())
    if status in (S.ACTIVE, S.PAUSED):
        effects = core.tell(message, "asker")
        answer = core.answers(effects)["asker"]
        assert (answer.id, answer.status) == ("run_1", RunStatus.PENDING)
        assert answer.options == {"submitted": True}
        assert core.at_once(effects) == []
        assert core.started(effects) == (["run_1"] if status is S.ACTIVE else [])
    else:
        assert refused(core, message) is ErrorCode.INVALID_OPERATION


def test_a_created_run_is_not_executed_while_its_session_is_pending(bench):
    core = bench(S.PENDING)
    core.created()
    assert refused(core, m.ExecuteRun("run_1")) is ErrorCode.INVALID_OPERATION


def test_on_a_paused_session_an_executed_run_waits_for_the_resume(bench):
    core = bench(S.PAUSED)
    core.created()
    effects = core.tell(m.ExecuteRun("run_1"), "asker")
    assert core.started(effects) == []
    assert core.of(effects, fx.Write)[0].runs[0].options["submitted"]
    core.tell(m.ResumeSession())
    assert core.started(core.tell(core.granted)) == ["run_1"]


@pytest.mark.parametrize("kind", [m.CreateRun, m.SubmitRun], ids=lambda kind: kind.__name__)
def test_malformed_runs_are_refused(bench, kind):
    core = bench()
    core.created("run_1")
    assert refused(core, kind(core.run("run_1"))) is ErrorCode.ALREADY_EXISTS
    assert (
        refused(core, kind(core.run().replace(id="run_2", session_id="ses_2"))) is ErrorCode.SESSION_MISMATCH
    )
    over = core.run("run_2").with_error(BOOM, core.now)
    assert refused(core, kind(over)) is ErrorCode.VALIDATION_ERROR
    assert refused(core, kind({"id": "run_2"})) is ErrorCode.VALIDATION_ERROR


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan"), True, "5"], ids=repr)
def test_malformed_deadlines_are_refused(bench, deadline):
    core = bench()
    core.created()
    assert refused(core, m.SubmitRun(core.run("run_2"), deadline)) is ErrorCode.VALIDATION_ERROR
    assert refused(core, m.ExecuteRun("run_1", deadline)) is ErrorCode.VALIDATION_ERROR


def test_options_that_cannot_be_stored_are_refused(bench):
    core = bench()
    core.created()
    assert refused(core, m.ExecuteRun("run_1", None, {"x": object()})) is ErrorCode.VALIDATION_ERROR


# --- The queue -------------------------------------------------------------------------------------------------


def test_runs_start_in_the_order_in_which_they_came_one_at_a_time(bench):
    core = bench()
    order = core.started(core.tell(m.SubmitRun(core.run("run_0"))))
    for n in range(1, 5):
        assert core.started(core.tell(m.SubmitRun(core.run(f"run_{n}")))) == []
    for n in range(5):
        order += core.started(core.tell(core.ended(f"run_{n}")))
    assert order == [f"run_{n}" for n in range(5)]
    assert core.state.n_started == 0


def test_as_many_run_at_once_as_max_concurrent_runs_allows(bench):
    core = bench(max_concurrent=3)
    started = [core.started(core.tell(m.SubmitRun(core.run(f"run_{n}")))) for n in range(5)]
    assert started == [["run_0"], ["run_1"], ["run_2"], [], []]
    assert core.started(core.tell(core.ended("run_1"))) == ["run_3"]


def test_a_full_queue_refuses_and_takes_again_when_it_has_room(bench):
    core = bench(max_queued=1)
    core.submitted("run_0")
    core.submitted("run_1")
    assert refused(core, m.SubmitRun(core.run("run_2"))) is ErrorCode.MAX_RUNS_EXCEEDED
    core.created("run_3")
    assert refused(core, m.ExecuteRun("run_3")) is ErrorCode.MAX_RUNS_EXCEEDED
    core.tell(core.ended("run_0"))
    core.submitted("run_2")
    assert list(core.state.queue) == ["run_2"]


def test_without_a_queue_a_run_is_executed_if_a_place_is_free_and_else_refused(bench):
    core = bench(max_queued=0)
    assert core.started(core.tell(m.SubmitRun(core.run("run_0")))) == ["run_0"]
    assert refused(core, m.SubmitRun(core.run("run_1"))) is ErrorCode.MAX_RUNS_EXCEEDED
    core.tell(core.ended("run_0"))
    assert core.started(core.tell(m.SubmitRun(core.run("run_1")))) == ["run_1"]


def test_the_number_of_created_runs_has_a_bound(bench, monkeypatch):
    monkeypatch.setattr("asm_actors.sessions.admission.MAX_OPEN_RUNS", 2)
    core = bench()
    core.created("run_1")
    core.created("run_2")
    assert refused(core, m.CreateRun(core.run("run_3"))) is ErrorCode.MAX_RUNS_EXCEEDED


@pytest.mark.parametrize("limits", [{"max_queued": None}, {"max_concurrent": None}], ids=str)
def test_a_session_without_a_limit_takes_no_more_runs_than_may_be_open(bench, monkeypatch, limits):
    monkeypatch.setattr("asm_actors.sessions.admission.MAX_OPEN_RUNS", 20)
    core = bench(**limits)
    for n in range(20):
        core.submitted(f"run_{n}")
    assert len(core.state.queue) == (19 if "max_queued" in limits else 0)
    assert refused(core, m.SubmitRun(core.run("run_20"))) is ErrorCode.MAX_RUNS_EXCEEDED
    core.tell(core.ended("run_0"))
    core.submitted("run_20")


def test_executing_a_run_that_is_under_way_is_waiting_for_it(bench):
    core = bench()
    core.submitted("run_1")
    core.submitted("run_2")
    assert core.tell(m.ExecuteRun("run_1"), "a") == []
    assert core.tell(m.ExecuteRun("run_2"), "b") == []
    assert set(core.answers(core.tell(core.ended("run_1")))) == {"a"}
    assert set(core.answers(core.tell(core.ended("run_2")))) == {"b"}


def test_a_run_that_stands_in_line_for_a_slot_is_recorded_once_if_it_was_not(bench):
    core = bench(max_concurrent=2)
    core.created("run_1")
    effects = core.tell(m.ExecuteRun("run_1", None, {"adapter_opts": {"model": "m"}}))
    assert core.of(effects, fx.Write) == []
    (write,) = core.tell(RunWaits("run_1"))
    assert write.runs[0].options == {"submitted": True, "adapter_opts": {"model": "m"}}
    assert core.tell(RunWaits("run_1")) == []
    core.submitted("run_2")
    assert core.tell(RunWaits("run_2")) == []
    assert core.tell(RunWaits("nobody")) == []


# --- Answers ---------------------------------------------------------------------------------------------------


def test_whoever_waits_gets_the_result_behind_the_durable_end(bench):
    core = bench()
    core.submitted()
    core.tell(m.AwaitRun("run_1"), "a")
    core.tell(m.AwaitRun("run_1"), "b")
    core.tell(m.AwaitRun("run_1"))
    effects = core.tell(core.ended("run_1"))
    answers = core.answers(effects)
    assert core.at_once(effects) == []
    assert set(answers) == {"a", "b"}
    assert isinstance(answers["a"], RunResult)
    assert answers["a"].output == {"content": "Hi"}


def test_a_run_that_failed_raises_its_error_at_those_who_wait_and_is_told_to_those_who_cancelled(bench):
    core = bench()
    core.submitted(deadline_s=5.0)
    core.tell(m.AwaitRun("run_1"), "waiter")
    core.tell(CancelRun("late", "run_1"), "canceller")
    effects = core.tell(core.ended("run_1", error=BOOM))
    answers = core.answers(effects)
    assert_raised(answers["waiter"], BOOM, "failed")
    assert answers["canceller"].status is RunStatus.FAILED
    assert core.of(effects, fx.CancelTimer) == [fx.CancelTimer("run_1")]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (m.AwaitRun("run_1"), RunResult),
        (CancelRun(None, "run_1"), "record"),
        (m.ExecuteRun("run_1"), ErrorCode.INVALID_OPERATION),
    ],
    ids=["await", "cancel", "execute"],
)
def test_questions_about_a_run_that_is_over_are_answered_from_the_journal(bench, message, kind):
    core = bench()
    run = core.run().with_status(RunStatus.RUNNING, core.now).with_output({"content": "Hi"}, core.now)
    answer = core.answers(loaded(core, core.tell(message, "asker"), run))["asker"]
    if kind is RunResult:
        assert answer.output == {"content": "Hi"}
    elif kind == "record":
        assert answer is run
    else:
        assert answer.code is kind


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("failed", ErrorCode.PROVIDER_ERROR),
        ("cancelled", ErrorCode.CANCELLED),
        ("timeout", ErrorCode.TIMEOUT),
    ],
)
def test_waiting_for_a_run_that_ended_otherwise_raises_how_it_ended(bench, status, code):
    core = bench()
    run = core.run().with_error(AsmError(code, "it was so"), core.now, RunStatus(status))
    error = core.answers(loaded(core, core.tell(m.AwaitRun("run_1"), "asker"), run))["asker"]
    assert (error.code, error.message) == (code, "it was so")


@pytest.mark.parametrize("message", [m.AwaitRun("x"), CancelRun(None, "x"), m.ExecuteRun("x")], ids=repr)
def test_a_run_that_is_unknown_or_another_sessions_is_not_found(bench, message):
    core = bench()
    assert core.answers(loaded(core, core.tell(message, "a"), None))["a"].code is ErrorCode.RUN_NOT_FOUND
    other = core.run("x").replace(session_id="ses_2")
    assert core.answers(loaded(core, core.tell(message, "a"), other))["a"].code is ErrorCode.RUN_NOT_FOUND


def test_a_run_that_was_created_while_the_journal_was_read_is_found(bench):
    core = bench()
    effects = core.tell(m.ExecuteRun("run_1"), "asker")
    core.created("run_1")
    assert core.started(loaded(core, effects, None)) == ["run_1"]
    assert set(core.answers(core.tell(core.ended("run_1")))) == {"asker"}


# --- Cancel, deadline, crash -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["created", "queued"])
def test_cancelling_a_run_that_has_not_started_ends_it_at_once(bench, phase):
    core = bench()
    core.running("run_0")
    core.created() if phase == "created" else core.submitted()
    core.tell(m.AwaitRun("run_1"), "waiter")
    effects = core.tell(CancelRun("enough", "run_1"), "canceller")
    answers = core.answers(effects)
    assert core.types(effects) == ["run_cancelled"]
    assert core.of(effects, fx.Write)[0].drafts[0].data["reason"] == "enough"
    assert answers["canceller"].status is RunStatus.CANCELLED
    assert answers["waiter"].code is ErrorCode.CANCELLED
    assert "run_1" not in core.state.open
    assert "run_1" not in core.state.queue


def test_cancelling_a_started_run_is_told_to_its_actor_and_answered_with_its_end(bench):
    core = bench()
    core.submitted()
    for asker in ("a", "b"):
        assert core.tell(CancelRun("enough", "run_1"), asker) == [
            fx.ToRun("run_1", CancelRun("enough", "run_1"))
        ]
    cancelled = AsmError(ErrorCode.CANCELLED, "stopped")
    answers = core.answers(core.tell(core.ended("run_1", error=cancelled, status="cancelled")))
    assert [answers[asker].status for asker in ("a", "b")] == ["cancelled", "cancelled"]


def test_a_reason_that_is_no_text_is_refused(bench):
    core = bench()
    core.submitted()
    assert refused(core, CancelRun(5, "run_1")) is ErrorCode.VALIDATION_ERROR


def test_the_deadline_counts_from_the_submit_and_is_on_record(bench):
    core = bench()
    effects = core.tell(m.SubmitRun(core.run(), 2.5), now=core.now)
    assert core.of(effects, fx.SetTimer) == [fx.SetTimer("run_1", 2.5, DeadlineReached("run_1"))]
    assert core.state.open["run_1"].run.options["deadline_us"] == core.now + 2_500_000
    assert core.tell(DeadlineReached("run_1")) == [fx.ToRun("run_1", DeadlineReached("run_1"))]


def test_a_run_whose_time_is_over_while_it_waits_ends_as_timeout(bench):
    core = bench()
    core.running("run_0")
    core.submitted(deadline_s=1.0)
    core.tell(m.AwaitRun("run_1"), "waiter")
    effects = core.tell(DeadlineReached("run_1"))
    assert core.types(effects) == ["run_timeout"]
    assert core.answers(effects)["waiter"].code is ErrorCode.TIMEOUT
    assert core.tell(DeadlineReached("run_1")) == []


def test_a_run_whose_actor_dies_without_a_word_and_may_not_go_on_fails_and_the_next_one_starts(bench):
    core = bench(rules={"on_restart": "fail"})
    core.running("run_1")
    core.submitted("run_2")
    core.tell(m.AwaitRun("run_1"), "waiter")
    effects = core.tell(RunCrashed("run_1", BOOM))
    assert core.types(effects) == ["run_failed"]
    assert_raised(core.answers(effects)["waiter"], BOOM, "failed")
    assert core.started(effects) == ["run_2"]


def test_what_comes_for_a_run_after_its_end_is_ignored(bench):
    core = bench()
    core.running()
    end = core.ended("run_1")
    core.tell(end)
    before = core.snapshot()
    for late in (
        end,
        RunCrashed("run_1", BOOM),
        RunAppends("run_1", (), end.run, 3),
        DeadlineReached("run_1"),
        DurableFor("run_1", 3),
        RunWaits("run_1"),
    ):
        assert core.tell(late) == []
    assert core.snapshot() == before


def test_events_of_a_run_are_written_and_acknowledged_to_it_if_it_asks(bench):
    core = bench()
    core.submitted()
    (write,) = core.tell(RunAppends("run_1", ("draft",), None, 64))
    assert write.drafts == ("draft",)
    (note,) = write.then
    (effect,) = core.tell(note.message)
    assert (effect.run_id, effect.message.count) == ("run_1", 64)
    assert core.tell(RunAppends("run_1", ("draft",), None, 0))[0].then == ()


# --- What the session keeps ----------------------------------------------------------------------------------------


def test_the_providers_own_session_is_remembered_by_provider(bench):
    core = bench(provider="mock", metadata={"mine": 1})
    core.submitted()
    effects = core.tell(core.ended("run_1", facts={"provider_session_id": "thread", "model": "m"}))
    (write,) = core.of(effects, fx.Write)
    expected = {"mock": {"provider_session_id": "thread", "model": "m"}}
    assert write.session.metadata == {"mine": 1, "provider_sessions": expected}
    core.submitted("run_2")
    effects = core.tell(core.ended("run_2", facts={"provider_session_id": "thread", "model": "m"}))
    assert core.of(effects, fx.Write)[0].session is None


def test_callers_metadata_of_that_name_does_no_harm(bench):
    core = bench(metadata={"provider_sessions": "mine"})
    core.submitted()
    core.tell(core.ended("run_1", facts={"provider_session_id": "thread"}))
    assert core.state.session.metadata["provider_sessions"] == {"": {"provider_session_id": "thread"}}


# --- RunOnce ---------------------------------------------------------------------------------------------------


def once(bench, **fields):
    core = bench(S.PENDING)
    session = core.state.session
    run = core.run(**fields).replace(options={"once": True, "submitted": True})
    core.state.session = Session(id="", agent_id="")
    assert core.tell(m.RunOnce(session, run, None), "asker") == [fx.AcquireSlot("sessions")]
    return core


def run_starts(core):
    """What the actor of `run_1` tells first, once it has its slot."""
    run = core.state.open["run_1"].run.with_status(RunStatus.RUNNING, 1)
    draft = Draft(EventType.RUN_STARTED, 1, "run_1")
    return core.tell(RunAppends("run_1", (draft,), run, 0))


def test_run_once_makes_session_and_run_in_one_append_and_ends_both_in_one(bench):
    core = once(bench)
    effects = core.tell(core.granted)
    assert core.of(effects, fx.Write) == []
    assert core.started(effects) == ["run_1"]
    effects = run_starts(core)
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["session_created", "session_started", "run_started"]
    assert (write.session.status, write.runs[0].id) == (S.ACTIVE, "run_1")
    effects = core.tell(core.ended("run_1"))
    (write,) = core.of(effects, fx.Write)
    assert core.types(effects) == ["session_completed"]
    assert write.runs[0].status is RunStatus.COMPLETED
    assert core.answers(effects)["asker"].output == {"content": "Hi"}
    assert isinstance(write.then[-1].message, Ended)
    assert core.of(effects, fx.ReleaseSlot)


@pytest.mark.parametrize(
    ("error", "status", "event"),
    [
        (BOOM, "failed", "session_failed"),
        (AsmError(ErrorCode.CANCELLED, "x"), "cancelled", "session_cancelled"),
        (AsmError(ErrorCode.TIMEOUT, "x"), "timeout", "session_failed"),
    ],
    ids=["failed", "cancelled", "timeout"],
)
def test_the_session_of_run_once_ends_as_its_run_does(bench, error, status, event):
    core = once(bench)
    core.tell(core.granted)
    run_starts(core)
    effects = core.tell(core.ended("run_1", error=error, status=status))
    assert core.types(effects) == [event]
    assert_raised(core.answers(effects)["asker"], error, status)


@pytest.mark.parametrize("what", ["waits", "crashes", "is asked for"])
def test_the_start_of_run_once_is_written_with_whatever_is_written_first(bench, what):
    core = once(bench)
    core.tell(core.granted)
    message = {
        "waits": RunWaits("run_1"),
        "crashes": RunCrashed("run_1", BOOM),
        "is asked for": m.GetSession(),
    }[what]
    effects = core.tell(message, "asker 2")
    assert core.types(effects)[:2] == ["session_created", "session_started"]
    assert core.types(run_starts(core) if what == "is asked for" else [])[:1] != ["session_created"]


def test_run_once_without_a_session_slot_leaves_a_failed_session_on_record_and_no_run(bench):
    core = once(bench)
    (write,) = core.tell(core.refused)
    assert core.types([write]) == ["session_created", "session_failed"]
    assert (write.session.status, write.runs) == (S.FAILED, ())
    assert core.answers([write])["asker"].code is ErrorCode.MAX_SESSIONS_EXCEEDED
    assert isinstance(write.then[-1].message, Ended)


def test_runs_that_others_put_into_the_session_of_run_once_are_cancelled_before_it_ends(bench):
    core = once(bench)
    core.tell(core.granted)
    core.created("run_2")
    core.submitted("run_3")
    effects = core.tell(core.ended("run_1"))
    assert core.types(effects) == ["run_cancelled", "run_cancelled", "session_completed"]
    assert core.answers(effects)["asker"].output == {"content": "Hi"}
    assert core.status is S.COMPLETED
    assert core.state.open == {}


def test_failing_the_session_of_run_once_wins_over_the_runs_end(bench):
    core = once(bench)
    core.tell(core.granted)
    run_starts(core)
    core.tell(m.FailSession(BOOM), "failer")
    effects = core.tell(core.ended("run_1"))
    assert core.types(effects) == ["session_failed"]
    answers = core.answers(effects)
    assert answers["failer"].status is S.FAILED
    assert answers["asker"].output == {"content": "Hi"}
