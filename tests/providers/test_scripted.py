from __future__ import annotations

import asyncio

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import scripted
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import (
    MessageDone,
    Raw,
    TextDelta,
    ThinkingDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.providers.script import (
    Script,
    crash,
    done,
    fail,
    message,
    raw,
    sleep,
    stall,
    text,
    thinking,
    tool_call,
    tool_result,
    usage,
    wait,
)
from asm_actors.providers.scripted import GOLDEN, ScriptedProvider
from asm_actors.testing.provider_contract import violations

REQUEST = TurnRequest("ses", "run")
STARTED = TurnStarted("scripted")


async def drain(provider, request=REQUEST):
    return [item async for item in provider.stream(request)]


def play(provider, request=REQUEST):
    return asyncio.run(drain(provider, request))


def said(provider, request=REQUEST):
    return "".join(item.text for item in play(provider, request) if isinstance(item, TextDelta))


# Scripts ------------------------------------------------------------------------------------------------------


def test_a_script_that_only_talks_is_completed():
    assert Script(text("Hello")).steps == (
        STARTED,
        TextDelta("Hello"),
        MessageDone("Hello"),
        Usage(10, 20),
        TurnDone(),
    )


def test_an_empty_script_is_a_silent_turn():
    assert Script().steps == (STARTED, MessageDone(""), Usage(10, 20), TurnDone())


def test_what_is_there_is_not_added_again():
    steps = (TurnStarted("m"), TextDelta("x"), MessageDone("y"), Usage(1, 2), TurnDone("stop_sequence"))
    assert Script(*steps).steps == steps


def test_a_given_ending_stays_last():
    assert Script(text("x"), done("max_tokens")).steps[-1] == TurnDone("max_tokens")
    assert Script(text("x"), done("max_tokens")).steps[-2] == Usage(10, 20)


def test_an_open_tool_call_stops_the_turn_for_tool_use_and_is_in_the_message():
    steps = Script(text("I look. "), tool_call("c1", "search", {"q": "x"})).steps
    assert steps[-1] == TurnDone("tool_use")
    [complete] = [step for step in steps if isinstance(step, MessageDone)]
    assert complete.blocks == (
        {"type": "text", "text": "I look. "},
        {"type": "tool_use", "id": "c1", "name": "search", "input": {"q": "x"}},
    )


def test_a_call_that_the_provider_ran_itself_does_not_stop_the_turn():
    steps = Script(tool_call("c1", "ls"), tool_result("c1", "ls", "a b", is_error=True)).steps
    assert steps[1:3] == (ToolCallStarted("c1", "ls"), ToolCallEnded("c1", "ls", "a b", True))
    assert steps[-1] == TurnDone("end_turn")


@pytest.mark.parametrize("ending", [fail("provider_error"), crash(), stall()])
def test_a_script_that_ends_by_an_act_has_no_ending(ending):
    assert Script(text("x"), ending).steps == (STARTED, TextDelta("x"), ending)


@pytest.mark.parametrize("ending", [fail("provider_error"), crash(), stall()])
def test_a_turn_that_is_refused_at_once_never_opens(ending):
    assert Script(raw("api_retry"), ending).steps == (Raw("api_retry"), ending)


def test_the_opening_comes_with_the_first_item():
    pause = sleep(1)
    assert Script(pause, raw("api_retry"), text("x")).steps[:4] == (
        pause,
        Raw("api_retry"),
        STARTED,
        TextDelta("x"),
    )


def test_an_incomplete_script_is_played_as_it_is():
    assert Script(text("x"), complete=False).steps == (TextDelta("x"),)


def test_text_is_cut_into_pieces():
    assert text("abcde", size=2) == (TextDelta("ab"), TextDelta("cd"), TextDelta("e"))
    assert text("") == ()


def test_a_script_without_acts_is_precomputed():
    assert Script(text("x")).items == Script(text("x")).steps
    assert Script(text("x"), sleep(1)).items is None


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (thinking("hm"), ThinkingDelta("hm")),
        (usage(1, 2, cache_read=3, cache_creation=4), Usage(1, 2, 3, 4)),
        (message("m", [{"type": "text", "text": "m"}]), MessageDone("m", ({"type": "text", "text": "m"},))),
        (done("x", {"a": 1}, cost_usd=0.5, metadata={"b": 2}), TurnDone("x", {"a": 1}, 0.5, {"b": 2})),
        (raw("k", {"v": 1}), Raw("k", {"v": 1})),
    ],
)
def test_each_word_of_the_script_language_makes_its_item(made, expected):
    assert made == expected
    assert type(made) is type(expected)


# What is played -----------------------------------------------------------------------------------------------


def test_without_a_script_it_gives_the_mock_response():
    assert play(ScriptedProvider()) == [
        STARTED,
        TextDelta("Mock respo"),
        TextDelta("nse"),
        MessageDone("Mock response"),
        Usage(10, 20),
        TurnDone(),
    ]


def test_chunks_may_be_a_number_or_the_texts():
    assert len([item for item in play(ScriptedProvider(chunks=20)) if isinstance(item, TextDelta)]) == 20
    assert said(ScriptedProvider(chunks=["a", "", "b"])) == "ab"
    assert said(ScriptedProvider(chunks="abc")) == "abc"


def test_one_script_is_played_for_every_call():
    provider = ScriptedProvider(Script(text("same")))
    assert [said(provider) for _ in range(3)] == ["same"] * 3
    assert provider.calls == 3


LETTERS = [Script(text(letter)) for letter in "abc"]


def test_a_list_is_taken_call_by_call_and_its_last_repeats():
    provider = ScriptedProvider(LETTERS)
    assert [said(provider) for _ in range(5)] == ["a", "b", "c", "c", "c"]


def test_a_list_may_be_taken_by_turn():
    provider = ScriptedProvider(LETTERS, by="turn")
    assert [said(provider, REQUEST._replace(turn=turn)) for turn in (2, 1, 9, 0)] == ["b", "a", "c", "a"]


def test_a_list_may_be_taken_by_attempt():
    provider = ScriptedProvider(LETTERS, by="attempt")
    assert [said(provider, REQUEST._replace(attempt=attempt)) for attempt in (1, 1, 3)] == ["a", "a", "c"]


def test_a_function_of_the_request_chooses():
    provider = ScriptedProvider(lambda request: Script(text(f"{request.run_id}-{request.turn}")))
    assert said(provider, REQUEST._replace(turn=4)) == "run-4"


def test_requests_are_remembered():
    provider = ScriptedProvider()
    play(provider, REQUEST._replace(turn=2))
    assert [request.turn for request in provider.requests] == [2]


@pytest.mark.parametrize(
    "options",
    [
        {"script": []},
        {"script": Script(), "chunks": 3},
        {"by": "moon"},
        {"delay": -1},
        {"delay": float("nan")},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(AsmError) as caught:
        ScriptedProvider(**options)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_the_manifest_offers_what_it_is_told():
    provider = ScriptedProvider(name="mock", capabilities=[("bash", "code_execution")])
    manifest = provider.capabilities()
    assert (manifest.name, [(c.name, c.type.value) for c in manifest.capabilities]) == (
        "mock",
        [("bash", "code_execution")],
    )


# Acts ---------------------------------------------------------------------------------------------------------


def test_it_fails_with_the_error_of_the_script():
    provider = ScriptedProvider(
        Script(text("x"), fail("provider_rate_limited", "slow down", retry_after=3.0))
    )
    with pytest.raises(AsmError) as caught:
        play(provider)
    assert (caught.value.code, caught.value.retry_after) == (ErrorCode.PROVIDER_RATE_LIMITED, 3.0)
    assert provider.abandoned == 0


def test_each_failure_is_an_exception_of_its_own():
    error = AsmError(ErrorCode.PROVIDER_ERROR, "one")
    provider = ScriptedProvider(Script(fail(error)))
    caught = []
    for _ in range(2):
        with pytest.raises(AsmError) as failure:
            play(provider)
        caught.append(failure.value)
    assert caught[0] == caught[1] == error
    assert caught[0] is not caught[1]
    assert error.__traceback__ is None


def test_it_crashes_with_any_exception():
    with pytest.raises(ZeroDivisionError, match="boom"):
        play(ScriptedProvider(Script(crash(ZeroDivisionError("boom")))))
    with pytest.raises(RuntimeError, match="the script says"):
        play(ScriptedProvider(Script(text("x"), crash())))


def test_an_exception_that_cannot_be_copied_is_raised_as_it_is():
    class AwkwardError(Exception):
        def __init__(self, a, b):
            super().__init__(f"{a} {b}")

    with pytest.raises(AwkwardError, match="a b"):
        play(ScriptedProvider(Script(crash(AwkwardError("a", "b")))))


def test_it_waits_for_a_gate():
    async def body():
        gate = asyncio.Event()
        stream = ScriptedProvider(Script(text("a"), wait(gate), text("b"))).stream(REQUEST)
        assert [await anext(stream), await anext(stream)] == [STARTED, TextDelta("a")]
        waiting = asyncio.ensure_future(anext(stream))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        gate.set()
        assert await waiting == TextDelta("b")
        await stream.aclose()

    asyncio.run(body())


def test_it_stalls_until_it_is_cancelled():
    async def body():
        provider = ScriptedProvider(Script(text("a"), stall()))
        task = asyncio.create_task(drain(provider))
        for _ in range(5):
            await asyncio.sleep(0)
        assert provider.open_streams == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (provider.open_streams, provider.abandoned) == (0, 1)

    asyncio.run(body())


def test_it_sleeps_before_each_piece_of_text_and_where_the_script_says(monkeypatch):
    slept = []

    async def note(seconds):
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    play(ScriptedProvider(Script(text("abc", size=1), sleep(7), text("d")), delay=0.05))
    assert slept == [0.05, 0.05, 0.05, 7, 0.05]


def test_without_delay_nothing_sleeps(monkeypatch):
    monkeypatch.setattr(scripted.asyncio, "sleep", None)
    assert said(ScriptedProvider(Script(text("abc", size=1)))) == "abc"


def test_a_stream_that_is_closed_early_counts_as_abandoned():
    async def body():
        provider = ScriptedProvider()
        stream = provider.stream(REQUEST)
        await anext(stream)
        assert provider.open_streams == 1
        await stream.aclose()
        assert (provider.open_streams, provider.abandoned) == (0, 1)

    asyncio.run(body())


def test_a_whole_stream_is_not_abandoned():
    provider = ScriptedProvider(Script(text("x"), sleep(0)))
    play(provider)
    assert (provider.calls, provider.open_streams, provider.abandoned) == (1, 0, 0)


def test_the_fast_path_makes_no_objects_per_item():
    async def body():
        provider = ScriptedProvider(chunks=20)
        await drain(provider)
        first, second = await drain(provider), await drain(provider)
        assert all(a is b for a, b in zip(first, second, strict=True))

    asyncio.run(body())


# Golden scripts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", sorted(set(GOLDEN) - {"error_recovery", "rate_limited", "cancelled_run", "crash"})
)
def test_golden_scripts_are_legal_turns(name):
    provider = ScriptedProvider.golden(name)
    for turn in (1, 2):
        assert violations(play(provider, REQUEST._replace(turn=turn))) == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [("error_recovery", ErrorCode.PROVIDER_UNAVAILABLE), ("rate_limited", ErrorCode.PROVIDER_RATE_LIMITED)],
)
def test_golden_scripts_of_trouble_fail_once_and_then_succeed(name, code):
    provider = ScriptedProvider.golden(name)
    with pytest.raises(AsmError) as caught:
        play(provider)
    assert caught.value.code is code
    assert caught.value.retryable
    assert violations(play(provider, REQUEST._replace(attempt=2))) == ()


def test_the_golden_conversation_calls_a_tool_and_then_answers():
    provider = ScriptedProvider.golden("multi_turn", name="mock")
    first = play(provider)
    assert first[-1].stop_reason == "tool_use"
    assert play(provider, REQUEST._replace(turn=2))[-1].stop_reason == "end_turn"
    assert provider.name == "mock"


def test_an_unknown_golden_script_is_refused_with_the_known_names():
    with pytest.raises(AsmError, match="simple_message") as caught:
        ScriptedProvider.golden("simple")
    assert caught.value.code is ErrorCode.NOT_FOUND
