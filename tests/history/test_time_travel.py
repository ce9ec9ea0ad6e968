"""Transcripts and records as of any event, through the manager."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.transcripts.reading import read_update
from asm_actors.transcripts.transcript import Transcript
from asm_actors.transcripts.truncation import Truncation


@pytest.fixture
def talked(sim, talk):
    """A session that has answered twice, and is over."""
    session = sim.active_session()
    talk(session.id, "one", "two")
    return sim.manager.complete_session(session.id)


def said(transcript):
    return [(message.role.value, message.content) for message in transcript.messages]


ANSWER = ("assistant", "Mock response")


def test_the_transcript_of_a_session_is_its_conversation(sim, talked):
    transcript = sim.manager.transcript(talked.id)
    assert said(transcript) == [("user", "one"), ANSWER, ("user", "two"), ANSWER]
    assert (transcript.session_id, transcript.last_sequence) == (talked.id, talked.last_sequence)
    assert transcript == Transcript.from_events(sim.events(talked.id))


def test_as_of_each_event_it_is_that_of_the_events_up_to_there(sim, talked):
    events = sim.events(talked.id)
    for at in range(1, len(events) + 1):
        assert sim.manager.transcript(talked.id, at) == Transcript.from_events(events[:at])


def test_filters_and_bounds_choose_from_it(sim, talked):
    first, second = sim.manager.get_session_runs(talked.id)
    transcript = sim.manager.transcript
    assert said(transcript(talked.id, run_id=second.id)) == [("user", "two"), ANSWER]
    assert said(transcript(talked.id, type="message_sent")) == [("user", "one"), ("user", "two")]
    assert said(transcript(talked.id, max_messages=1)) == [ANSWER]
    assert said(transcript(talked.id, max_chars=16)) == [("user", "two"), ANSWER]
    assert said(transcript(talked.id, max_tokens_approx=3)) == []
    assert said(transcript(talked.id, before=4)) == [("user", "one")]
    assert said(transcript(talked.id, 6, before=99, run_id=first.id))[0] == ("user", "one")
    assert said(transcript(talked.id, after=9, limit=1)) == [("user", "two")]
    assert said(transcript(talked.id, limit=0)) == []


def test_a_transcript_is_brought_up_to_date(sim, talk):
    session = sim.active_session()
    talk(session.id, "one")
    before = sim.manager.transcript(session.id)
    assert read_update(sim.store, before) is before
    talk(session.id, "two")
    assert read_update(sim.store, before) == sim.manager.transcript(session.id)
    assert said(read_update(sim.store, before, truncation=Truncation(max_messages=1))) == [ANSWER]
    assert read_update(sim.store, Transcript(session.id)) == sim.manager.transcript(session.id)


def test_one_without_sequence_numbers_goes_on_by_time(sim, talk):
    session = sim.active_session()
    talk(session.id, "one")
    before = sim.manager.transcript(session.id)
    by_time = Transcript(session.id, before.messages, None, before.last_timestamp_us)
    sim.advance(1.0)
    talk(session.id, "two")
    assert said(read_update(sim.store, by_time))[-2:] == [("user", "two"), ANSWER]


def test_the_records_of_then_are_rebuilt(sim, talked):
    run, _ = sim.manager.get_session_runs(talked.id)
    types = sim.types(talked.id)
    started, ended = types.index("run_started") + 1, types.index("run_completed") + 1
    statuses = [sim.manager.session_at(talked.id, at).status for at in range(1, len(types) + 1)]
    assert statuses == ["pending", *["active"] * (len(types) - 2), "completed"]
    for at in range(1, len(types) + 1):
        expected = "pending" if at < started else "running" if at < ended else "completed"
        assert sim.manager.run_at(run.id, at).status == expected
    assert sim.manager.session_at(talked.id, len(types)) == talked
    assert sim.manager.run_at(run.id, len(types)) == sim.run(run.id) == sim.manager.run_at(run.id, ended)
    assert sim.manager.session_at(talked.id, 1).last_sequence == 1


def test_a_forks_record_of_then_is_its_parents_before_the_fork(sim, talked):
    fork = sim.manager.fork_session(talked.id, 5)
    assert sim.manager.session_at(fork.id, 5) == sim.manager.session_at(talked.id, 5)
    assert sim.manager.session_at(fork.id, 6) == fork


@pytest.mark.parametrize("at", [0, -1, 99, "1", None, True])
def test_there_is_no_then_outside_of_the_session(sim, talked, at):
    run = sim.manager.get_session_runs(talked.id)[0]
    calls = [(sim.manager.session_at, talked.id), (sim.manager.run_at, run.id)]
    calls += [(sim.manager.transcript, talked.id)] if at is not None else []
    for ask, name in calls:
        with pytest.raises(AsmError) as caught:
            ask(name, at)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_nobody_has_no_past(sim):
    for ask, code in (
        (sim.manager.transcript, ErrorCode.SESSION_NOT_FOUND),
        (sim.manager.session_at, ErrorCode.SESSION_NOT_FOUND),
        (sim.manager.run_at, ErrorCode.RUN_NOT_FOUND),
    ):
        with pytest.raises(AsmError) as caught:
            ask("nobody", 1)
        assert caught.value.code is code
