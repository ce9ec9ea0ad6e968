"""Every (status, command) pair of a session: events, record and reply of what is legal, the code of what is not."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.sessions import messages as m
from asm_actors.sessions.open_runs import Ended
from asm_actors.sessions.session import Session, SessionStatus

S = SessionStatus
BOOM = AsmError(ErrorCode.INTERNAL_ERROR, "boom")
COMMANDS = {
    "activate": m.ActivateSession(),
    "resume": m.ResumeSession(),
    "pause": m.PauseSession("tea"),
    "complete": m.CompleteSession(),
    "fail": m.FailSession(BOOM),
    "cancel": m.CancelSession("why not"),
}
# (status, command) -> the status and event it leads to, "same" for no change, or the code of the refusal.
TABLE = {
    (S.PENDING, "activate"): "slot",
    (S.PENDING, "resume"): ErrorCode.INVALID_OPERATION,
    (S.PENDING, "pause"): ErrorCode.INVALID_TRANSITION,
    (S.PENDING, "complete"): ErrorCode.INVALID_TRANSITION,
    (S.PENDING, "fail"): (S.FAILED, "session_failed"),
    (S.PENDING, "cancel"): (S.CANCELLED, "session_cancelled"),
    (S.ACTIVE, "activate"): "same",
    (S.ACTIVE, "resume"): "same",
    (S.ACTIVE, "pause"): (S.PAUSED, "session_paused"),
    (S.ACTIVE, "complete"): (S.COMPLETED, "session_completed"),
    (S.ACTIVE, "fail"): (S.FAILED, "session_failed"),
    (S.ACTIVE, "cancel"): (S.CANCELLED, "session_cancelled"),
    (S.PAUSED, "activate"): "slot",
    (S.PAUSED, "resume"): "slot",
    (S.PAUSED, "pause"): "same",
    (S.PAUSED, "complete"): (S.COMPLETED, "session_completed"),
    (S.PAUSED, "fail"): (S.FAILED, "session_failed"),
    (S.PAUSED, "cancel"): (S.CANCELLED, "session_cancelled"),
    **{
        (over, command): "same" if same == command else ErrorCode.INVALID_TRANSITION
        for over, same in ((S.COMPLETED, "complete"), (S.FAILED, "fail"), (S.CANCELLED, "cancel"))
        for command in COMMANDS
    },
}


def pairs(is_meant):
    """The cells of the table whose outcome is meant, by readable ids."""
    found = [(status, command) for (status, command), outcome in TABLE.items() if is_meant(outcome)]
    return pytest.mark.parametrize(("status", "command"), found, ids=[f"{s}-{c}" for s, c in found])


def test_the_table_holds_every_pair():
    assert set(TABLE) == {(status, command) for status in S for command in COMMANDS}


@pairs(lambda outcome: isinstance(outcome, ErrorCode))
def test_an_illegal_command_is_refused_and_changes_nothing(bench, status, command):
    core = bench(status)
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(COMMANDS[command], "asker")
    assert caught.value.code is TABLE[status, command]
    assert core.state.session.id in str(caught.value)
    assert core.snapshot() == before


@pairs(lambda outcome: isinstance(outcome, tuple))
def test_a_legal_command_writes_event_and_record_at_once_and_answers_behind_them(bench, status, command):
    core = bench(status)
    target, event = TABLE[status, command]
    effects = core.tell(COMMANDS[command], "asker")
    writes = core.of(effects, fx.Write)
    assert core.types(effects) == [event]
    assert len(writes) == 1
    assert writes[0].session is core.state.session
    assert writes[0].session.status is target
    assert core.answers(effects) == {"asker": core.state.session}
    assert core.at_once(effects) == []
    assert core.state.session.updated_us > core.now
    assert bool(core.of(effects, fx.ReleaseSlot)) == (status is S.ACTIVE)
    assert not core.state.holds_slot


@pairs(lambda outcome: outcome == "same")
def test_asking_for_the_present_state_writes_nothing_and_is_answered_behind_earlier_writes(
    bench, status, command
):
    core = bench(status)
    before = core.snapshot()
    effects = core.tell(COMMANDS[command], "asker")
    assert effects == [fx.Write((), then=(fx.Reply("asker", core.state.session),))]
    assert core.snapshot() == before


@pytest.mark.parametrize(
    ("status", "command", "event"),
    [
        (S.PENDING, "activate", "session_started"),
        (S.PAUSED, "activate", "session_resumed"),
        (S.PAUSED, "resume", "session_resumed"),
    ],
)
def test_becoming_active_waits_for_the_slot(bench, status, command, event):
    core = bench(status)
    effects = core.tell(COMMANDS[command], "asker")
    assert [type(effect) for effect in effects] == [fx.AcquireSlot]
    assert not effects[0].wait
    assert core.status is status
    effects = core.tell(core.granted)
    assert core.status is S.ACTIVE
    assert core.types(effects) == [event]
    assert core.answers(effects) == {"asker": core.state.session}
    assert core.state.holds_slot


def test_all_who_ask_for_the_slot_meanwhile_share_it(bench):
    core = bench(S.PENDING)
    core.tell(m.ActivateSession(), "first")
    assert core.tell(m.ActivateSession(), "second") == []
    assert set(core.answers(core.tell(core.granted))) == {"first", "second"}


def test_a_refused_slot_names_the_limit_and_leaves_the_session_as_it_was(bench):
    core = bench(S.PENDING)
    before = core.snapshot()
    core.tell(m.ActivateSession(), "asker")
    error = core.answers(core.tell(core.refused))["asker"]
    assert error.code is ErrorCode.MAX_SESSIONS_EXCEEDED
    assert "max_parallel_sessions" in error.message
    assert core.snapshot() == before


def test_a_slot_that_comes_for_a_session_which_ended_meanwhile_is_given_back(bench):
    core = bench(S.PENDING)
    core.tell(m.ActivateSession(), "activator")
    effects = core.tell(m.CancelSession(), "canceller")
    answers = core.answers(effects)
    assert answers["activator"].code is ErrorCode.INVALID_OPERATION
    assert answers["canceller"].status is S.CANCELLED
    assert core.of(core.tell(core.granted), fx.ReleaseSlot)
    assert not core.state.holds_slot
    assert core.status is S.CANCELLED


def test_a_pause_that_overtakes_a_resume_wins_and_the_slot_is_given_back(bench):
    core = bench(S.PAUSED)
    core.tell(m.ResumeSession(), "resumer")
    answers = core.answers(core.tell(m.PauseSession(), "pauser"))
    assert answers["resumer"].code is ErrorCode.INVALID_OPERATION
    assert answers["pauser"].status is S.PAUSED
    assert core.of(core.tell(core.granted), fx.ReleaseSlot)
    assert core.status is S.PAUSED


def test_reasons_and_errors_are_in_the_events(bench):
    assert bench().tell(m.PauseSession("tea"))[0].drafts[0].data == {"reason": "tea"}
    assert bench().tell(m.CancelSession())[0].drafts[0].data == {}
    failed = bench().tell(m.FailSession(BOOM))[0].drafts[0].data
    assert (failed["error_code"], failed["error_message"]) == ("internal_error", "boom")


@pytest.mark.parametrize(
    "message",
    [m.PauseSession(5), m.CancelSession(object()), m.FailSession("boom")],
    ids=lambda message: type(message).__name__,
)
def test_malformed_commands_are_refused_and_change_nothing(bench, message):
    core = bench()
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(message)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert core.snapshot() == before


def test_a_session_begins_with_its_creation(bench):
    core = bench()
    core.state.session = Session(id="", agent_id="")
    session = Session.new(
        id="ses_2", now=core.now, agent_id="a", provider="mock", metadata={"correlation_id": "c"}
    )
    effects = core.tell(m.CreateSession(session), "asker")
    draft = effects[0].drafts[0]
    assert core.types(effects) == ["session_created"]
    assert (draft.data, draft.provider, draft.correlation_id) == (
        {"agent_id": "a", "provider": "mock"},
        "mock",
        "c",
    )
    assert core.answers(effects) == {"asker": session}


def test_a_session_cannot_be_made_twice(bench):
    core = bench()
    before = core.snapshot()
    for message in (m.CreateSession(core.state.session), m.RunOnce(core.state.session, core.run())):
        with pytest.raises(AsmError) as caught:
            core.tell(message)
        assert caught.value.code is ErrorCode.ALREADY_EXISTS
    assert core.snapshot() == before


def test_a_correlation_id_that_is_no_text_is_left_out_of_the_events(bench):
    core = bench(metadata={"correlation_id": 5})
    assert core.tell(m.PauseSession())[0].drafts[0].correlation_id is None


def test_the_end_of_a_session_sends_its_actor_home_once_it_is_durable(bench):
    core = bench()
    effects = core.tell(m.CompleteSession(), "asker")
    note = core.of(effects, fx.Write)[0].then[-1]
    assert isinstance(note.message, Ended)
    assert core.tell(note.message) == [fx.Leave()]


# --- Ending with open runs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["created", "queued", "running"])
def test_completing_with_open_runs_is_refused_and_changes_nothing(bench, phase):
    core = bench()
    if phase == "queued":
        core.running("run_0")
        core.submitted()
    else:
        getattr(core, phase)()
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(m.CompleteSession())
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert "cancel_runs=True" in str(caught.value)
    assert core.snapshot() == before


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (m.CompleteSession(cancel_runs=True), "session_completed"),
        (m.FailSession(BOOM), "session_failed"),
        (m.CancelSession(), "session_cancelled"),
    ],
    ids=["complete", "fail", "cancel"],
)
def test_ending_cancels_waiting_runs_at_once_running_ones_by_their_actors_and_comes_last(
    bench, command, event
):
    core = bench()
    core.running("run_1")
    core.submitted("run_2")
    core.created("run_3")
    core.tell(m.AwaitRun("run_2"), "waiter")
    effects = core.tell(command, "asker")
    assert core.types(effects) == ["run_cancelled", "run_cancelled"]
    assert [(effect.run_id, effect.message.run_id) for effect in core.of(effects, fx.ToRun)] == [
        ("run_1", "run_1")
    ]
    assert core.answers(effects)["waiter"].code is ErrorCode.CANCELLED
    assert core.status is S.ACTIVE
    cancelled = AsmError(ErrorCode.CANCELLED, "stopped")
    effects = core.tell(core.ended("run_1", error=cancelled, status="cancelled"))
    assert core.types(effects) == [event]
    assert core.answers(effects)["asker"].is_terminal
    assert core.state.closing is None
    assert core.of(effects, fx.ReleaseSlot)


@pytest.mark.parametrize("command", ["activate", "resume", "pause"])
def test_a_session_that_is_about_to_end_takes_no_other_command(bench, command):
    core = bench()
    core.running()
    core.tell(m.CancelSession())
    before = core.snapshot()
    with pytest.raises(AsmError) as caught:
        core.tell(COMMANDS[command])
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert core.snapshot() == before


def test_those_who_ask_for_the_same_end_share_it_and_others_are_refused(bench):
    core = bench()
    core.running()
    core.tell(m.CancelSession(), "first")
    assert core.tell(m.CancelSession(), "second") == []
    before = core.snapshot()
    for other in (m.CompleteSession(), m.CompleteSession(cancel_runs=True), m.FailSession(BOOM)):
        with pytest.raises(AsmError) as caught:
            core.tell(other)
        assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert core.snapshot() == before
    assert set(core.answers(core.tell(core.ended("run_1")))) == {"first", "second"}


def test_nothing_starts_while_the_session_is_about_to_end(bench):
    core = bench(max_concurrent=2)
    core.running("run_1")
    core.tell(m.CancelSession())
    for message in (m.CreateRun(core.run("run_2")), m.SubmitRun(core.run("run_2"))):
        with pytest.raises(AsmError) as caught:
            core.tell(message)
        assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert core.started(core.tell(core.ended("run_1"))) == []


def test_pausing_frees_the_slot_while_runs_go_on_and_holds_the_queue(bench):
    core = bench()
    core.running("run_1")
    core.submitted("run_2")
    assert core.of(core.tell(m.PauseSession()), fx.ReleaseSlot)
    effects = core.tell(core.ended("run_1"))
    assert core.started(effects) == []
    core.tell(m.ResumeSession())
    assert core.started(core.tell(core.granted)) == ["run_2"]


def test_a_paused_session_ends_when_its_last_run_has(bench):
    core = bench()
    core.running()
    core.tell(m.PauseSession())
    core.tell(m.CompleteSession(cancel_runs=True), "asker")
    effects = core.tell(core.ended("run_1"))
    assert core.answers(effects)["asker"].status is S.COMPLETED
    assert core.of(effects, fx.ReleaseSlot) == []


# --- Questions -------------------------------------------------------------------------------------------------


def test_the_status_tells_what_runs_and_what_waits(bench):
    core = bench()
    core.running("run_1")
    core.submitted("run_2")
    core.created("run_3")
    core.state.head = 7
    status = core.answers(core.tell(m.GetStatus(), "asker"))["asker"]
    assert status == {
        "session_id": "ses_1",
        "status": "active",
        "in_flight_runs": ["run_1"],
        "in_flight_count": 1,
        "queued_runs": ["run_2"],
        "queued_count": 1,
        "held_runs": [],
        "created_runs": ["run_3"],
        "max_concurrent_runs": 1,
        "max_queued_runs": 100,
        "available_run_slots": 0,
        "second_run": "enqueue",
        "priority": 0,
        "holds_session_slot": True,
        "last_sequence": 7,
        "subscribers": 0,
    }


@pytest.mark.parametrize("status", list(S), ids=str)
def test_the_record_can_be_asked_for_in_every_status(bench, status):
    core = bench(status)
    assert core.answers(core.tell(m.GetSession(), "asker")) == {"asker": core.state.session}
