"""Runs that go on from the conversation before them, in whole systems."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.errors import ErrorCode
from asm_actors.providers.script import Script, fail, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.providers.scripted_memory import RememberingProvider
from asm_actors.runs.run import RunStatus


def test_without_being_asked_to_a_run_knows_nothing_of_the_one_before(talks):
    talk = talks()
    talk.ask("one")
    run = talk.ask("two")
    assert talk.sent == [("user", "two")]
    assert "continuation" not in run.details


@pytest.mark.parametrize("mode", ["auto", "replay"])
def test_the_earlier_messages_are_sent_again(talks, mode):
    talk = talks()
    talk.ask("one")
    talk.ask("two", continuation=mode)
    run = talk.ask("three", continuation=mode)
    assert talk.sent == [
        ("user", "one"),
        ("assistant", "answer 1"),
        ("user", "two"),
        ("assistant", "answer 2"),
        ("user", "three"),
    ]
    told = run.details["continuation"]
    assert (told["mode"], told["used"], told["messages"]) == (mode, "replay", 4)
    result = talk.system.operations.await_run(run.id)
    talk.system.settle()
    assert result.get().continuation == told


def test_a_run_in_line_behind_another_one_knows_what_that_one_was_answered(talks):
    talk = talks()
    ask = talk.system.operations.submit_run
    for prompt in ("one", "two", "three"):
        ask(talk.session.id, prompt, continuation="replay")
    talk.system.settle()
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two", "answer 2", "three"]


def test_the_first_run_of_a_session_has_nothing_to_go_on_from(talks):
    talk = talks()
    run = talk.ask("one", continuation="auto")
    assert talk.sent == [("user", "one")]
    assert run.details["continuation"]["used"] == "none"


@pytest.mark.parametrize("mode", [True, "always", 1, "", []])
def test_any_other_mode_is_refused_before_the_run_exists(talks, mode):
    talk = talks()
    made = talk.error = None
    with pytest.raises(Exception) as caught:
        made = talk.system.operations.submit_run(talk.session.id, "one", continuation=mode)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert made is None
    assert talk.system.store.runs() == []


def test_native_is_refused_at_the_door_where_the_provider_cannot(talks):
    talk = talks()
    made = talk.system.operations.submit_run(talk.session.id, "one", continuation="native")
    talk.system.settle()
    assert talk.system.error_of(made).code is ErrorCode.CAPABILITY_NOT_SUPPORTED
    assert talk.system.store.runs() == []


def test_native_that_is_asked_for_later_fails_the_run(talks):
    talk = talks()
    made = talk.system.operations.start_run(talk.session.id, "one")
    talk.system.settle()
    done = talk.system.operations.execute_run(made.get().id, continuation="native")
    talk.system.settle()
    assert talk.system.error_of(done).code is ErrorCode.CAPABILITY_NOT_SUPPORTED
    assert talk.system.run(made.get().id).status is RunStatus.FAILED
    assert talk.provider.calls == 0


@pytest.mark.parametrize("mode", ["auto", "native"])
def test_a_provider_that_keeps_conversations_goes_on_by_itself(talks, answers, mode):
    provider = answers(RememberingProvider)
    talk = talks(provider)
    first = talk.ask("one", continuation=mode)
    assert first.details["continuation"]["used"] == "none"
    for prompt in ("two", "three"):
        run = talk.ask(prompt, continuation=mode)
        assert run.details["continuation"] == {"mode": mode, "used": "native", "messages": 0}
        assert talk.sent == [("user", prompt)]
    (kept,) = provider.conversations.values()
    assert [one["content"] for one in kept] == ["one", "answer 1", "two", "answer 2", "three", "answer 3"]


def test_replay_is_replay_also_where_the_provider_could(talks, answers):
    talk = talks(answers(RememberingProvider))
    talk.ask("one")
    run = talk.ask("two", continuation="replay")
    assert run.details["continuation"]["used"] == "replay"
    assert talk.provider.requests[-1].provider_session_id is None


def test_after_a_replay_the_provider_goes_on_from_it_natively(talks, answers):
    talk = talks(answers(RememberingProvider))
    talk.ask("one")
    talk.ask("two")  # a conversation of its own, that knows nothing of the first
    third = talk.ask("three", continuation="auto")
    assert third.details["continuation"]["used"] == "replay"
    assert "does not know" in third.details["continuation"]["reason"]
    fourth = talk.ask("four", continuation="auto")
    assert fourth.details["continuation"]["used"] == "native"


def test_what_another_provider_was_asked_since_is_told_by_replay(answers, talks):
    talk = talks(
        answers(RememberingProvider),
    )
    other = ScriptedProvider(Script(text("elsewhere")))
    talk = talks_with(talks, talk, other)
    talk.ask("one")
    talk.ask("two", provider="other", continuation="replay")
    run = talk.ask("three", continuation="auto")
    assert run.details["continuation"]["used"] == "replay"
    assert "elsewhere" in [content for _, content in talk.sent]


def talks_with(talks, talk, other):
    talk.system.providers = {**talk.system.providers, "other": other}
    talk.system.restart()
    return talk


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_provider_whose_last_run_was_cut_is_told_everything_again(talks, end):
    scripts = [
        Script(text("answer 1")),
        Script(text("half"), fail("provider_error", "no") if end == "failed" else stall()),
    ]
    talk = talks(RememberingProvider([*scripts, Script(text("answer 3"))]))
    talk.ask("one", continuation="auto")
    cut = talk.ask("two", continuation="auto")
    if end == "cancelled":
        talk.system.operations.cancel_run(cut.id)
        talk.system.settle()
    run = talk.ask("three", continuation="auto")
    assert run.details["continuation"]["used"] == "replay"
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two", "half", "three"]


def test_a_fork_does_not_go_on_with_its_parents_conversation(talks, answers):
    talk = talks(answers(RememberingProvider))
    talk.ask("one", continuation="auto")
    fork = talk.system.operations.fork_session(talk.session.id)
    talk.system.settle()
    talk.system.operations.activate_session(fork.get().id)
    talk.system.settle()
    talk.session = fork.get()
    run = talk.ask("two", continuation="auto")
    assert run.details["continuation"]["used"] == "replay"
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two"]
    assert talk.ask("three", continuation="auto").details["continuation"]["used"] == "native"


def test_a_conversation_that_the_provider_has_lost_is_told_again(talks, answers):
    talk = talks(answers(RememberingProvider))
    talk.ask("one", continuation="auto")
    talk.provider.conversations.clear()
    run = talk.ask("two", continuation="auto")
    assert run.status is RunStatus.COMPLETED
    assert run.details["continuation"]["used"] == "replay"
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two"]


def test_bounds_and_filters_of_the_conversation(talks):
    talk = talks()
    first = talk.ask("one")
    talk.ask("two")
    talk.ask("three", continuation="replay", continuation_opts={"max_messages": 2})
    assert [content for _, content in talk.sent] == ["two", "answer 2", "three"]
    talk.ask("four", continuation="replay", continuation_opts={"run_id": first.id})
    assert [content for _, content in talk.sent] == ["one", "answer 1", "four"]
    talk.ask("five", continuation="replay", continuation_opts={"max_chars": 0})
    assert [content for _, content in talk.sent] == ["five"]


def test_tools_of_earlier_runs_are_paired(talks):
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    scripts = [Script(tool_call("c1", "add", {"a": 1, "b": 2})), Script(text("three")), Script(text("yes"))]
    talk = talks(ScriptedProvider(scripts), tools=[add])
    talk.ask("one and two?")
    talk.ask("sure?", continuation="replay")
    call, answer = talk.provider.requests[-1].messages[1:3]
    assert (call["role"], call["tool_call_id"], call["tool_input"]) == ("assistant", "c1", {"a": 1, "b": 2})
    assert (answer["role"], answer["tool_call_id"], answer["tool_output"]) == ("tool", "c1", 3)


def test_a_call_that_was_cut_gets_an_answer(talks):
    async def wait_for_ever() -> None:
        """Wait."""
        import asyncio

        await asyncio.get_running_loop().create_future()

    scripts = [Script(tool_call("c1", "wait_for_ever", {})), Script(text("well"))]
    talk = talks(ScriptedProvider(scripts), tools=[wait_for_ever])
    run = talk.ask("go")
    talk.system.operations.cancel_run(run.id)
    talk.system.settle()
    talk.ask("and?", continuation="replay")
    roles = [message["role"] for message in talk.provider.requests[-1].messages]
    assert roles == ["user", "assistant", "tool", "user"]
    answer = talk.provider.requests[-1].messages[2]
    assert answer["is_error"]
    assert answer["tool_output"]


def test_a_run_that_is_taken_up_after_a_restart_gets_the_same_conversation(talks, answers):
    provider = ScriptedProvider(
        [Script(text("answer 1")), Script(text("hal"), stall()), Script(text("answer 2"))]
    )
    talk = talks(provider)
    talk.ask("one")
    run = talk.ask("two", continuation="replay")
    before = provider.requests[-1].messages
    talk.system.kill()
    talk.system.restart()
    talk.system.settle()
    assert provider.requests[-1].messages == before
    assert talk.system.run(run.id).status is RunStatus.COMPLETED


def test_a_run_that_was_cut_while_it_went_on_natively_is_told_everything(talks):
    scripts = [Script(text("answer 1")), Script(text("hal"), stall()), Script(text("answer 2"))]
    talk = talks(RememberingProvider(scripts))
    talk.ask("one", continuation="auto")
    run = talk.ask("two", continuation="auto")
    assert talk.provider.requests[-1].provider_session_id is not None
    talk.system.kill()
    talk.system.restart()
    talk.system.settle()
    done = talk.system.run(run.id)
    assert done.status is RunStatus.COMPLETED
    assert done.details["continuation"]["used"] == "replay"
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two"]


def test_options_of_the_session_hold_for_its_runs(talks):
    talk = talks()
    talk.session = talk.system.active_session(run_options={"continuation": "replay"})
    talk.ask("one")
    talk.ask("two")
    assert [content for _, content in talk.sent] == ["one", "answer 1", "two"]
    talk.ask("three", continuation=False)
    assert talk.sent == [("user", "three")]


@pytest.mark.parametrize("kind", [ScriptedProvider, RememberingProvider])
def test_a_run_that_was_rolled_back_is_no_part_of_the_conversation(talks, kind):
    scripts = [Script(text("answer 1")), Script(text("wrong"), stall()), Script(text("answer 3"))]
    talk = talks(kind([*scripts, Script(text("answer 4"))]))
    talk.session = talk.system.active_session(second_run="rollback", max_concurrent_runs=1)
    talk.ask("one", continuation="auto")
    gone = talk.ask("two", continuation="auto")
    run = talk.ask("three", continuation="auto")
    assert talk.system.run(gone.id).status is RunStatus.CANCELLED
    assert run.status is RunStatus.COMPLETED
    assert run.details["continuation"]["used"] == "replay"
    assert [content for _, content in talk.sent] == ["one", "answer 1", "three"]
    transcript = talk.system.operations.transcript(talk.session.id).get()
    assert [message.content for message in transcript.messages] == ["one", "answer 1", "three", "answer 3"]
    again = talk.ask("four", continuation="auto").details["continuation"]["used"]
    assert again == ("native" if kind is RememberingProvider else "replay")


def test_maintenance_forgets_what_was_read(talks):
    talk = talks()
    talk.ask("one", continuation="replay")
    talk.ask("two", continuation="replay")
    cache = talk.system.services.transcripts
    assert len(cache) == 1
    policy = asm.RetentionPolicy(max_events_per_session=1)
    talk.system.system.maintenance.prune_session_events(talk.session.id, policy)
    assert len(cache) == 0
