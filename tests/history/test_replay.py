"""Records rebuilt from events: each rule as a table; whole systems with crashes and kills against what was seen."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.query import EventFilter
from asm_actors.journal.replay import fold_run, fold_session
from asm_actors.journal.replay_faults import disagreements
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session, SessionStatus
from asm_actors.transcripts.reading import read_transcript
from tests.history.watching import watching
from tests.simulation import world as simulated
from tests.simulation.scenario import Scenario
from tests.transcripts.history import START, make, numbered

SEEDS = [range(first, first + 20) for first in range(0, 60, 20)]


def of_session(*specs):
    return numbered(*[(type_, data, None) for type_, data in specs])


CREATED = ("session_created", {"agent_id": "agent", "provider": "mock", "parent_session_id": "owner"})


# --- Sessions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "status"),
    [
        ((), "pending"),
        (("session_started",), "active"),
        (("session_started", "session_paused"), "paused"),
        (("session_started", "session_paused", "session_resumed"), "active"),
        (("session_started", "session_completed"), "completed"),
        (("session_failed",), "failed"),
        (("session_cancelled",), "cancelled"),
    ],
)
def test_a_session_stands_where_its_last_event_left_it(types, status):
    events = of_session(CREATED, *[(type_, {}) for type_ in types])
    session = fold_session([*events, make(9, "run_started")])
    assert session == Session(
        id="ses",
        agent_id="agent",
        provider="mock",
        parent_session_id="owner",
        status=SessionStatus(status),
        created_us=START + 1,
        updated_us=START + len(events),
        last_sequence=9,
    )


def test_a_deleted_session_keeps_its_status():
    session = fold_session(of_session(CREATED, ("session_deleted", {})))
    assert (session.status, session.deleted_us, session.updated_us) == ("pending", START + 2, START + 2)


def test_a_record_gives_what_no_event_tells():
    known = Session(
        id="ses",
        agent_id="agent",
        status=SessionStatus.COMPLETED,
        metadata={"a": 1},
        context={"b": 2},
        tags=("c",),
        created_us=START - 5,
        updated_us=START + 9,
        idempotency_key="key",
        last_sequence=9,
    )
    early = fold_session(of_session(CREATED), known)
    assert early == known.replace(status=SessionStatus.PENDING, updated_us=START - 5, last_sequence=1)
    pruned = fold_session([make(3, "session_started", None)], known)
    assert (pruned.status, pruned.updated_us, pruned.last_sequence) == ("active", START + 3, 3)


def test_a_forks_history_gives_the_record_of_whoever_wrote_its_last_event():
    forked = make(3, "session_forked", None, session="fork", agent_id="agent", parent_session_id="ses", at=2)
    events = [*of_session(CREATED, ("session_completed", {})), forked]
    assert (fold_session(events[:2]).id, fold_session(events[:2]).status) == ("ses", "completed")
    fork = fold_session(events)
    assert (fork.id, fork.status, fork.parent_session_id, fork.forked_at) == ("fork", "pending", "ses", 2)


def test_a_session_needs_a_beginning():
    with pytest.raises(AsmError) as caught:
        fold_session([make(3, "session_started", None)])
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


# --- Runs ------------------------------------------------------------------------------------------------------

USAGE = ("token_usage_updated", {"input_tokens": 3, "output_tokens": 5})
WENT_WELL = (
    ("run_started", {}),
    ("message_streamed", {"delta": "He"}),
    ("tool_call_started", {"tool_call_id": "c", "tool_name": "add", "tool_input": {"a": 1}}),
    ("tool_call_completed", {"tool_call_id": "c", "tool_name": "add", "tool_output": 2}),
    ("message_received", {"content": "Hello"}),
    USAGE,
    ("run_completed", {"stop_reason": "end_turn", "num_turns": 1, "total_cost_usd": 0.5}),
)


def test_a_run_that_completed_has_all_that_its_events_tell():
    assert fold_run(numbered(*WENT_WELL)) == Run(
        id="r1",
        session_id="ses",
        status=RunStatus.COMPLETED,
        output={
            "content": "Hello",
            "stop_reason": "end_turn",
            "tool_calls": [{"id": "c", "name": "add", "input": {"a": 1}, "output": 2}],
        },
        turn_count=1,
        token_usage={"input_tokens": 3, "output_tokens": 5},
        cost_usd=0.5,
        created_us=START + 1,
        started_us=START + 1,
        ended_us=START + 7,
    )


@pytest.mark.parametrize(
    ("type_", "status"),
    [("run_failed", "failed"), ("run_cancelled", "cancelled"), ("run_timeout", "timeout")],
)
def test_a_run_that_was_cut_short_keeps_what_it_had_said(type_, status):
    payload = {"error_code": "boom", "error_message": "no", "details": {"a": 1}, "reason": "x"}
    run = fold_run(
        numbered(("run_started", {}), ("message_streamed", {"delta": "He"}), USAGE, (type_, payload))
    )
    assert (run.status, run.ended_us) == (status, START + 4)
    assert run.error == {"code": "boom", "message": "no", "details": {"a": 1}}
    assert run.output == {"content": "He", "partial": True}
    assert run.token_usage["output_tokens"] == 5
    assert fold_run(numbered((type_, payload))).output is None


ASKED_1, ASKED_2 = [("tool_approval_requested", {"tool_call_id": call}) for call in "12"]
GOES_ON = [("run_started", {}), ASKED_1, ("tool_call_started", {"tool_call_id": "2", "attempt": 1})]
WAITS = "awaiting_approval"


@pytest.mark.parametrize(
    ("specs", "status"),
    [
        ([], "pending"),
        ([("message_sent", {})], "pending"),
        ([("run_started", {})], "running"),
        ([("run_started", {}), ASKED_1], WAITS),
        ([("run_started", {}), ("tool_approval_requested", {}), ("tool_approval_denied", {})], "running"),
        (
            [("run_started", {}), ASKED_1, ASKED_2, ("tool_approval_granted", {"tool_call_id": "1"})],
            "running",
        ),
        (
            [("run_started", {}), ASKED_1, ("tool_call_started", {"tool_call_id": "2", "attempt": 1})],
            "running",
        ),
        ([*GOES_ON, ("tool_call_completed", {"tool_call_id": "2", "attempt": 1})], WAITS),
        ([("run_started", {}), ASKED_1, ("run_paused", {})], "paused"),
        ([("run_started", {}), ASKED_1, ("run_paused", {}), ("run_resumed", {})], WAITS),
        ([("run_started", {}), ("run_interrupted", {}), ("run_recovered", {})], "running"),
        ([("run_started", {}), ASKED_1, ("run_recovered", {"recovery": 1})], "running"),
        ([("run_recovered", {"recovery": 1})], "pending"),
        ([("run_started", {}), ("run_failed", {}), ("run_completed", {})], "failed"),
    ],
)
def test_a_run_stands_where_its_last_event_left_it(specs, status):
    assert fold_run(numbered(*specs), Run(id="r1", session_id="ses")).status == status


def test_a_turn_that_is_begun_again_counts_once():
    again = ("error_occurred", {"attempt": 1, "retry_in_s": 1.0})
    raw = ("error_occurred", {"source": "provider", "retry_in_s": 1.0})
    text = ("message_streamed", {"delta": "x"})
    run = fold_run(numbered(("run_started", {}), text, again, raw, text, ("run_cancelled", {})))
    assert (run.attempt, run.output) == (1, {"content": "x", "partial": True})


def test_turns_and_recoveries_add_up():
    turn = ("turn_completed", {"turn": 1, "cost_usd": 0.25})
    call = ("tool_call_started", {"tool_call_id": "c", "tool_name": "add", "attempt": 1})
    run = fold_run(
        numbered(
            ("run_started", {}),
            ("message_received", {"content": "one"}),
            USAGE,
            turn,
            call,
            ("message_streamed", {"delta": "lost"}),
            ("run_recovered", {"recovery": 1, "decision": "resume"}),
            ("message_streamed", {"delta": "two"}),
            USAGE,
        )
    )
    assert (run.turn_count, run.cost_usd, run.recoveries, run.attempt) == (1, 0.25, 1, 0)
    assert run.token_usage == {"input_tokens": 6, "output_tokens": 10}
    done = numbered(
        ("run_started", {}), turn, call, ("message_received", {"content": "two"}), ("run_completed", {})
    )
    assert fold_run(done).output == {"content": "two", "stop_reason": None, "tool_calls": []}
    again = numbered(("run_started", {}), ("run_recovered", {"recovery": 0, "decision": "retry"}))
    assert (fold_run(again).recoveries, fold_run(again).attempt) == (0, 1)


def test_a_record_gives_what_a_runs_events_do_not_tell():
    known = Run(
        id="r1",
        session_id="ses",
        status=RunStatus.COMPLETED,
        input="Hi",
        options={"a": 1},
        metadata={"b": 2},
        created_us=START - 5,
        provider_metadata={"model": "m"},
        output={"x": 1},
        turn_count=4,
        attempt=2,
    )
    before = fold_run([], known)
    assert (before.input, before.options, before.metadata, before.created_us) == (
        "Hi",
        {"a": 1},
        {"b": 2},
        START - 5,
    )
    assert (before.status, before.output, before.turn_count, before.attempt) == ("pending", None, 0, 0)
    assert before.provider_metadata == {}
    assert fold_run(numbered(*WENT_WELL), known).provider_metadata == {"model": "m"}
    with pytest.raises(AsmError):
        fold_run([])


# --- Checking --------------------------------------------------------------------------------------------------


def sound():
    events = [
        *of_session(CREATED, ("session_started", {})),
        *[make(place, type_, **data) for place, (type_, data) in enumerate(WENT_WELL, 3)],
    ]
    return fold_session(events), [fold_run(events[2:])], events


def test_sound_records_agree_with_their_events():
    assert disagreements(*sound()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"status": SessionStatus.PENDING},
        {"status": SessionStatus.COMPLETED},
        {"updated_us": START},
        {"deleted_us": START},
        {"last_sequence": 8},
        {"last_sequence": 10},
    ],
)
def test_a_session_that_says_otherwise_is_found(change):
    session, runs, events = sound()
    assert len(disagreements(session.replace(**change), runs, events)) == 1


@pytest.mark.parametrize(
    "change",
    [{"status": RunStatus.FAILED}, {"started_us": None}, {"ended_us": START}, {"error": {"code": "boom"}}],
)
def test_a_run_that_says_otherwise_is_found(change):
    session, (run,), events = sound()
    assert len(disagreements(session, [run.replace(**change)], events)) == 1


def test_events_without_a_record_and_doubled_ends_are_found():
    session, (run,), events = sound()
    assert disagreements(session, [], events) == ["run r1 has events and no record"]
    doubled = [*events, make(10, "run_failed")]
    assert "run r1 ended 2 times" in disagreements(session.replace(last_sequence=10), [run], doubled)
    ended = [*events, make(10, "session_failed", None), make(11, "session_failed", None)]
    assert "session ses ended 2 times" in disagreements(fold_session(ended), [run], ended)
    assert disagreements(session.replace(last_sequence=7), [run], events[2:])[0].startswith(
        "session ses ends at 7"
    )
    assert disagreements(Session(id="ses", agent_id="a"), [], []) == ["session ses has no events"]


def test_of_pruned_events_only_the_last_number_is_asked():
    session, runs, events = sound()
    assert disagreements(session.replace(status=SessionStatus.FAILED), runs, events[3:]) == []


# --- Whole systems ---------------------------------------------------------------------------------------------


def check_record(store, session, faults):
    events = store.read_session(session.id)
    runs = store.runs(session.id)
    faults += disagreements(session, runs, [event for event in events if event.session_id == session.id])
    if fold_session(events, session) != session:
        faults.append(f"{session.id} is {session}, and by its events {fold_session(events, session)}")
    for run in runs:
        told = fold_run(store.read_session(session.id, EventFilter(run_ids=run.id)), run)
        # A run that is under way writes its record when it starts and when it ends.
        if run.is_terminal and told.replace(attempt=run.attempt) != run:
            faults.append(f"{run.id} is {run}, and by its events {told}")


def check_transcript(store, run, faults):
    """What a run answered stands in the transcript once, however often it was taken up again."""
    transcript = read_transcript(store, run.session_id, wanted=EventFilter(run_ids=run.id))
    said = [
        message.content for message in transcript.messages if message.role == "assistant" and message.content
    ]
    expected = [run.output["content"]] if run.output["content"] else []
    if any(message.tool_name is not None for message in transcript.messages):
        said = said[-1:]  # what came before the call is a message of its own
    if said != expected:
        faults.append(f"{run.id} answered {expected}, and its transcript says {said}")


def check_statuses(store, session, faults):
    events = store.read_session(session.id)
    for at, status in store.sessions_seen.get(session.id, {}).items():
        told = fold_session(events[:at], session)
        if told.status is not status:
            faults.append(f"{session.id} was {status} at {at}, and by its events {told.status}")
    for run in store.runs(session.id):
        for at, status in store.runs_seen.get(run.id, {}).items():
            told = fold_run([event for event in events[:at] if event.run_id == run.id], run)
            if told.status is not status:
                faults.append(f"{run.id} was {status} at {at}, and by its events {told.status}")


@pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_in_every_schedule_the_events_tell_what_the_records_say(seeds, monkeypatch):
    """With crashes, kills, retries, a bad disk: at the end, and as of every event at which somebody could look."""
    monkeypatch.setattr(simulated, "WatchedStore", watching(simulated.WatchedStore))
    n_checked = 0
    for seed in seeds:
        scenario = Scenario(seed)
        outcome = scenario.run()
        assert not outcome.faults, outcome
        store, faults = scenario.world.store, []
        store.open()
        for run in store.runs(status=RunStatus.COMPLETED):
            check_transcript(store, run, faults)
        for session in store.sessions(include_deleted=True):
            n_checked += 1
            check_record(store, session, faults)
            check_statuses(store, session, faults)
        store.close()
        assert not faults, (seed, faults)
    assert n_checked > len(seeds)
