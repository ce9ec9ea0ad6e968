"""A hundred sessions at once over real HTTP: each gets its own answer, and the journal holds all of it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

import asm_actors as asm
from asm_actors.testing.mock_server import answer, failure

N = 100
KEY = "sk-mock-not-a-key"
LIMITS = asm.Limits(max_parallel_sessions=N, max_parallel_runs=N)


def content_of(name, number):
    return f"This is the answer to {name} {number:03d}, in some pieces. " + f"word{number} " * (number % 7)


def ask_awaited(journal, providers, questions):
    async def one(system, question):
        seen = []
        return await system.sessions.run_once(question, event_callback=seen.append), seen

    async def all_of_them():
        async with asm.AsyncActorSystem.start(journal, providers, LIMITS) as system:
            return await asyncio.gather(*(one(system, question) for question in questions))

    return asyncio.run(all_of_them())


def ask_blocking(journal, providers, questions):
    with asm.ActorSystem.start(journal, providers, LIMITS) as system, ThreadPoolExecutor(N) as pool:

        def one(question):
            seen = []
            return system.sessions.run_once(question, event_callback=seen.append), seen

        return list(pool.map(one, questions))


@pytest.mark.npm
@pytest.mark.parametrize("ask_all", [ask_awaited, ask_blocking])
def test_a_hundred_sessions_at_once_get_their_own_answers(mock_model_server, journal, reopen, story, ask_all):
    name = ask_all.__name__
    questions = [f"{name}-{number:03d}." for number in range(N)]
    answers = [content_of(name, number) for number in range(N)]
    mock_model_server.add(
        *(
            answer(questions[number], answers[number], usage=(number + 1, 2 * number + 1), latency=5)
            for number in range(N)
        )
    )
    claude = asm.AnthropicProvider("claude-test", api_key=KEY, base_url=mock_model_server.base_url)
    outcomes = ask_all(journal, {"claude": claude}, questions)
    assert len({result.session_id for result, _ in outcomes}) == N
    for number, (result, seen) in enumerate(outcomes):
        assert result.output["content"] == answers[number]
        assert result.token_usage == {"input_tokens": number + 1, "output_tokens": 2 * number + 1}
        assert result.callback_failures == 0
        assert [event.type.value for event in seen][-1] == "run_completed"

    store = reopen()
    assert (store.statistics().sessions, store.statistics().runs) == (N, N)
    for number, (result, seen) in enumerate(outcomes):
        told = story(store, result.run_id)
        assert told.run == result.run
        assert told.events == seen
        assert told.data("message_sent")[0]["content"] == questions[number]
        pieces = told.data("message_streamed")
        assert len(pieces) >= len(answers[number]) // 20  # as the server cut it
        assert [data["content"] for data in told.data("message_received")] == [told.streamed]
        assert told.streamed == answers[number]
        assert len(told.ends) == 1
        events = store.read_session(result.session_id)
        assert [event.sequence_number for event in events] == list(range(1, len(events) + 1))
        assert store.session(result.session_id).status is asm.SessionStatus.COMPLETED


def test_a_hundred_streams_are_open_at_once_and_heard_while_they_speak(
    loopback, wire, journal, reopen, story
):
    gate = loopback.Gate()
    begun = wire.head() + wire.sse(wire.message_start(), *wire.text_block(0, "Once upon"))
    rest = wire.sse(*wire.text_block(1, " a time"), *wire.message_end())
    claude = asm.AnthropicProvider(api_key=KEY, base_url=loopback.plan("hundred", begun, gate, rest))

    async def first_piece(sessions):
        session = await sessions.activate_session((await sessions.start_session(agent_id="agent")).id)
        run = await sessions.submit_run(session.id, "Tell me")
        pieces = sessions.stream_session_events(session.id, run_id=run.id, type="message_streamed", limit=1)
        [said] = [piece.data["content"] async for piece in pieces]
        return run.id, said

    async def body():
        async with asm.AsyncActorSystem.start(journal, {"claude": claude}, LIMITS) as system:
            sessions = system.sessions
            heard = await asyncio.gather(*(first_piece(sessions) for _ in range(N)))
            # No answer can be complete before the gate opens.
            assert {text for _, text in heard} == {"Once upon"}
            status = await sessions.status()
            assert (status["active_runs"], status["providers"]) == (N, {"claude": N})
            assert len(system.store.runs(status="running")) == N
            loopback.open(gate)
            results = await asyncio.gather(*(sessions.await_run(run_id) for run_id, _ in heard))
            assert {result.output["content"] for result in results} == {"Once upon a time"}
            status = await sessions.status()
            assert (status["active_runs"], status["providers"]) == (0, {"claude": 0})
            return results

    results = asyncio.run(body())
    store = reopen()
    for result in results:
        told = story(store, result.run_id)
        assert (told.streamed, told.types[-1]) == ("Once upon a time", "run_completed")


@pytest.mark.npm
def test_what_fails_in_some_sessions_leaves_the_others_alone(mock_model_server, serve, reopen, story):
    kinds = ["fine", "limited", "cut", "garbled"]
    runs = {}
    served = serve(mock_model_server.base_url, limits=LIMITS)
    for number in range(10):
        mock_model_server.add(
            answer(f"fine-{number}.", "All is well."),
            failure(
                f"limited-{number}.",
                429,
                "rate_limit_error",
                "slow down",
                retry_after=0.01,
                match={"sequenceIndex": 0},
            ),
            answer(f"limited-{number}.", "All is well.", match={"sequenceIndex": 1}),
            answer(f"cut-{number}.", "All is we" * 20, truncateAfterChunks=5, latency=5),
            answer(f"garbled-{number}.", "x", chaos={"malformedRate": 1}),
        )
    for number in range(10):
        for kind in kinds:
            runs[kind, number] = served.submit(f"{kind}-{number}.")
    errors = {key: served.outcome(run) for key, run in runs.items()}
    served.system.stop()
    store = reopen()
    ends = {
        "fine": (None, "run_completed", 0),
        "limited": (None, "run_completed", 1),
        "cut": (asm.ErrorCode.PROVIDER_UNAVAILABLE, "run_failed", 0),
        "garbled": (asm.ErrorCode.PROVIDER_ERROR, "run_failed", 0),
    }
    for (kind, number), run in runs.items():
        error, told = errors[kind, number], story(store, run.id)
        code = None if error is None else error.code
        assert (code, told.types[-1], told.run.attempt) == ends[kind]
        if code is None:
            assert told.run.output["content"] == told.streamed == "All is well."
