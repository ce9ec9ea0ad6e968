"""Conversations that are summed up: on request, and before a run whose conversation is too long."""

from __future__ import annotations

import pytest

from asm_actors.config import Limits
from asm_actors.errors import ErrorCode
from asm_actors.events import EventType
from asm_actors.providers.script import Script, fail, stall, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.providers.scripted_memory import RememberingProvider
from asm_actors.runs.run import RunStatus
from asm_actors.transcripts.builder import SUMMARY
from asm_actors.transcripts.summing import INSTRUCTIONS

GIST = ("user", SUMMARY + "the gist")
LONG = "word " * 100


def compact(talk, **options):
    done = talk.system.operations.compact_session(talk.session.id, **options)
    talk.system.settle()
    return done


def texts(talk, **options):
    found = talk.system.operations.transcript(talk.session.id, **options).get()
    return [(message.role.value, message.content) for message in found.messages]


def purposes(talk):
    return [run.options.get("purpose") for run in talk.system.store.runs(talk.session.id)]


# --- On request --------------------------------------------------------------------------------------------------


def test_a_summary_stands_for_what_it_sums_up(talks):
    talk = talks()
    for prompt in ("one", "two", "three"):
        talk.ask(prompt)
    before = texts(talk)
    result = compact(talk, keep_last=2).get()
    assert result.output["content"] == "the gist"
    assert result.continuation["messages"] == 4
    assert texts(talk) == [GIST, *before[4:]]
    talk.ask("four", continuation="replay")
    assert talk.sent == [GIST, ("user", "three"), ("assistant", "answer 3"), ("user", "four")]


def test_the_summariser_is_sent_the_conversation_as_a_text_and_no_tools(talks):
    def look() -> str:
        """Look."""
        return "seen"

    talk = talks(tools=[look])
    talk.ask("one")
    compact(talk, keep_last=0, max_tokens=99, adapter_opts={"model": "small"}).get()
    request = talk.provider.requests[-1]
    record, asked = request.messages
    assert record["content"] == "<conversation>\nuser: one\n\nassistant: answer 1\n</conversation>"
    assert asked["content"] == INSTRUCTIONS
    assert request.tools == ()
    assert dict(request.options) == {"model": "small", "max_tokens": 99}


def test_its_end_and_its_summary_are_one_append(talks):
    talk = talks()
    talk.ask("one")
    run_id = compact(talk, keep_last=0).get().run_id
    events = talk.system.events_of(run_id)
    assert [event.type for event in events[-2:]] == [EventType.TRANSCRIPT_COMPACTED, EventType.RUN_COMPLETED]
    data = events[-2].data
    assert (data["summary"], data["run_id"], data["messages"]) == ("the gist", run_id, 2)
    assert events[-1].position == events[-2].position + 1
    assert (events[1].type, events[1].data["purpose"]) == (EventType.RUN_STARTED, "compaction")
    talk.system.check_journal()


def test_nothing_of_a_compaction_is_part_of_the_conversation(talks):
    script = iter(
        [Script(text("answer 1")), Script(text("half"), fail("provider_error", "no")), Script(text("x"))]
    )
    talk = talks(ScriptedProvider(lambda request: next(script)))
    talk.ask("one")
    assert talk.system.error_of(compact(talk, keep_last=0)).code is ErrorCode.PROVIDER_ERROR
    assert texts(talk) == [("user", "one"), ("assistant", "answer 1")]


def test_an_earlier_transcript_has_what_was_summed_up_later(talks):
    talk = talks()
    talk.ask("one")
    head = talk.system.store.head(talk.session.id)
    compact(talk, keep_last=0)
    assert texts(talk) == [GIST]
    assert texts(talk, at=head) == [("user", "one"), ("assistant", "answer 1")]


def test_a_summary_is_summed_up_again(talks):
    talk = talks()
    talk.ask("one")
    compact(talk, keep_last=0)
    talk.ask("two")
    compact(talk, keep_last=0)
    assert talk.provider.requests[-1].messages[0]["content"].count(SUMMARY + "the gist") == 1
    assert texts(talk) == [GIST]


@pytest.mark.parametrize("asked", [0, 1])
def test_without_anything_to_sum_up_it_is_refused_and_leaves_nothing(talks, asked):
    talk = talks()
    if asked:
        talk.ask("one")
        compact(talk, keep_last=0).get()
    calls, store = talk.provider.calls, talk.system.store
    before = store.runs(talk.session.id), store.head(talk.session.id)
    done = compact(talk, keep_last=0)
    assert talk.system.error_of(done).code is ErrorCode.INVALID_OPERATION
    assert talk.provider.calls == calls
    assert (store.runs(talk.session.id), store.head(talk.session.id)) == before


def test_behind_a_run_that_is_in_line_it_waits_for_what_that_says(talks):
    talk = talks()
    first = talk.system.operations.submit_run(talk.session.id, "one")
    done = talk.system.operations.compact_session(talk.session.id, keep_last=0)
    talk.system.settle()
    assert first.get().session_id == talk.session.id
    assert done.get().output["content"] == "the gist"


def test_a_run_that_nobody_executes_brings_nothing_to_sum_up(talks):
    talk = talks()
    talk.system.operations.start_run(talk.session.id, "one")
    talk.system.settle()
    done = compact(talk, keep_last=0)
    assert talk.system.error_of(done).code is ErrorCode.INVALID_OPERATION
    assert purposes(talk) == [None]


@pytest.mark.parametrize(
    "options",
    [{"keep_last": -1}, {"keep_last": "2"}, {"max_tokens": 0}, {"instructions": 3}, {"instructions": ""}],
)
def test_a_bad_argument_is_refused(talks, options):
    talk = talks()
    with pytest.raises(Exception) as caught:
        talk.system.operations.compact_session(talk.session.id, **options)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_a_session_that_is_not_there_cannot_be_summed_up(talks):
    talk = talks()
    done = talk.system.operations.compact_session("ses_none")
    talk.system.settle()
    assert talk.system.error_of(done).code is ErrorCode.SESSION_NOT_FOUND


def test_what_is_kept_begins_with_the_user(talks):
    talk = talks()
    for prompt in ("one", "two"):
        talk.ask(prompt)
    compact(talk, keep_last=1).get()
    assert texts(talk) == [GIST, ("user", "two"), ("assistant", "answer 2")]


def test_a_compaction_survives_the_end_of_its_process(talks):
    scripts = [Script(text("answer 1")), Script(text("ha"), stall()), Script(text("the gist"))]
    talk = talks(ScriptedProvider(scripts))
    talk.ask("one")
    compact(talk, keep_last=0)
    before = talk.provider.requests[-1].messages
    talk.system.kill()
    talk.system.restart()
    talk.system.settle()
    assert talk.provider.requests[-1].messages == before
    assert texts(talk) == [GIST]


@pytest.mark.parametrize("mode", ["auto", "native"])
@pytest.mark.parametrize("keep_last", [0, 2])
def test_a_provider_that_remembers_is_told_the_summary_and_goes_on_from_it(talks, answers, mode, keep_last):
    talk = talks(answers(RememberingProvider))
    talk.ask("one", continuation="auto")
    talk.ask("two", continuation="auto")
    compact(talk, keep_last=keep_last).get()
    told = talk.ask("three", continuation=mode).details["continuation"]
    assert told["used"] == "replay"
    assert "summed up since" in told["reason"]
    assert len(talk.sent) == keep_last + 2
    assert talk.ask("four", continuation=mode).details["continuation"]["used"] == "native"


def test_a_summary_that_came_while_the_last_run_went_on_is_not_known_to_the_provider(talks, answers):
    talk = talks(answers(RememberingProvider, delay=1.0), limits=Limits(max_concurrent_runs=2))
    talk.ask("one", continuation="auto")
    talk.system.advance(5)
    summing = compact(talk, keep_last=0)
    talk.system.advance(0.5)
    talk.ask("two", continuation="auto")
    talk.system.advance(5)
    summing.get()
    kinds = [kind for kind in talk.system.types(talk.session.id) if kind.endswith(("compacted", "received"))]
    assert kinds[-2:] == ["transcript_compacted", "message_received"]
    last = talk.ask("three", continuation="auto")
    talk.system.advance(5)
    told = talk.system.run(last.id).details["continuation"]
    assert (told["used"], "summed up since" in told["reason"]) == ("replay", True)


def test_what_a_provider_keeps_itself_is_not_summed_up_and_the_run_says_so(talks, answers):
    talk = talks(answers(RememberingProvider))
    talk.ask("one", continuation="auto")
    opts = {"compact_over_tokens": 1}
    told = talk.ask("two", continuation="auto", continuation_opts=opts).details["continuation"]
    assert told == {"mode": "auto", "used": "native", "messages": 0, "not_applied": ["compact_over_tokens"]}


# --- Before a run ------------------------------------------------------------------------------------------------

OPTS = {"continuation": "replay", "continuation_opts": {"compact_over_tokens": 60, "keep_last": 0}}


def test_a_run_whose_conversation_is_too_long_has_it_summed_up_first(talks):
    talk = talks()
    talk.ask("one", **OPTS)
    assert purposes(talk) == [None]
    talk.ask(LONG, **OPTS)
    assert purposes(talk) == [None, None]
    run = talk.ask("three", **OPTS)
    assert purposes(talk) == [None, None, None, "compaction"]
    assert talk.sent == [GIST, ("user", "three")]
    assert run.status is RunStatus.COMPLETED
    told = run.details["continuation"]
    assert (told["used"], told["messages"]) == ("replay", 1)
    assert "reason" not in told
    talk.system.check_promises()


def test_it_waits_for_it_however_few_slots_there_are(talks):
    talk = talks(limits=Limits(max_parallel_runs=1))
    talk.ask(LONG)
    run = talk.ask("two", **OPTS)
    assert run.status is RunStatus.COMPLETED
    assert talk.sent == [GIST, ("user", "two")]


def test_those_behind_it_do_not_overtake_it(talks):
    talk = talks()
    talk.ask(LONG)
    runs = [talk.system.operations.submit_run(talk.session.id, prompt, **OPTS) for prompt in ("two", "three")]
    talk.system.settle()
    first, second = (talk.system.run(made.get().id) for made in runs)
    assert first.ended_us is not None
    assert first.from_sequence < second.from_sequence
    assert talk.sent == [GIST, ("user", "two"), ("assistant", "answer 2"), ("user", "three")]


def test_if_it_cannot_be_summed_up_the_oldest_messages_are_left_out(talks):
    def script(request):
        if request.messages[-1]["content"] == INSTRUCTIONS:
            return Script(fail("provider_error", "no summary today"))
        return Script(text("answer"))

    talk = talks(ScriptedProvider(script))
    talk.ask(LONG)
    talk.ask("two")
    run = talk.ask("three", **OPTS)
    assert run.status is RunStatus.COMPLETED
    assert talk.sent == [
        ("assistant", "answer"),
        ("user", "two"),
        ("assistant", "answer"),
        ("user", "three"),
    ]
    assert "no summary today" in run.details["continuation"]["reason"]


@pytest.mark.parametrize("whose", ["run", "compaction"])
def test_either_can_be_cancelled_while_it_waits(talks, whose):
    def script(request):
        if request.messages[-1]["content"] == INSTRUCTIONS:
            return Script(stall())
        return Script(text("answer"))

    talk = talks(ScriptedProvider(script))
    talk.ask(LONG)
    run = talk.ask("two", **OPTS)
    other = talk.system.store.runs(talk.session.id)[-1]
    assert (run.status, run.details["compaction"]) == (RunStatus.PENDING, other.id)
    talk.system.operations.cancel_run(run.id if whose == "run" else other.id)
    talk.system.settle()
    if whose == "run":
        assert talk.system.run(run.id).status is RunStatus.CANCELLED
        talk.system.operations.cancel_run(other.id)
        talk.system.settle()
    else:
        done = talk.system.run(run.id)
        assert done.status is RunStatus.COMPLETED
        assert "cancelled" in done.details["continuation"]["reason"]
    talk.system.check_promises()


def test_a_deadline_counts_while_it_waits(talks):
    def script(request):
        return Script(stall()) if request.messages[-1]["content"] == INSTRUCTIONS else Script(text("answer"))

    talk = talks(ScriptedProvider(script))
    talk.ask(LONG)
    run = talk.ask("two", deadline=5.0, **OPTS)
    talk.system.advance(6)
    talk.system.settle()
    assert talk.system.run(run.id).status is RunStatus.TIMEOUT


@pytest.mark.parametrize("when", ["compacting", "after"])
def test_both_survive_the_end_of_their_process(talks, when):
    scripts = {
        "compacting": [Script(text("answer 1")), Script(text("ha"), stall())],
        "after": [Script(text("answer 1")), Script(text("the gist")), Script(text("ha"), stall())],
    }[when]
    rest = [Script(text("the gist"))] if when == "compacting" else []
    talk = talks(ScriptedProvider([*scripts, *rest, Script(text("answer 2"))]))
    talk.ask(LONG)
    run = talk.ask("two", **OPTS)
    talk.system.kill()
    talk.system.restart()
    talk.system.settle()
    done = talk.system.run(run.id)
    assert done.status is RunStatus.COMPLETED
    assert talk.sent == [GIST, ("user", "two")]
    assert purposes(talk).count("compaction") == 1
    talk.system.check_promises()


def test_closing_the_session_ends_both(talks):
    def script(request):
        return Script(stall()) if request.messages[-1]["content"] == INSTRUCTIONS else Script(text("answer"))

    talk = talks(ScriptedProvider(script))
    talk.ask(LONG)
    talk.ask("two", **OPTS)
    talk.system.operations.cancel_session(talk.session.id)
    talk.system.settle()
    assert talk.system.store.open_runs(talk.session.id) == []
    talk.system.check_promises()
