"""What a provider says is kept, and told to its caller, as it can be stored."""

from __future__ import annotations

import pytest

import asm_actors as asm
from asm_actors.providers.items import MessageDone, TextDelta, ToolCallStarted, TurnDone, TurnStarted, Usage
from supervisors.testing import Gate

HALF = "\ud800"  # a lone surrogate, as broken JSON escapes make it


class Says(asm.BaseProvider):
    def __init__(self, *items):
        self.items = items

    async def stream(self, request):
        yield TurnStarted()
        for item in self.items:
            yield item


def ended(*items):
    return Says(*items, MessageDone("fine"), Usage(1, 1), TurnDone())


@pytest.fixture(params=["memory", "lmdb"])
def journal(request, tmp_path):
    return asm.MemoryStore() if request.param == "memory" else tmp_path / "journal"


@pytest.mark.parametrize(
    ("provider", "content"),
    [
        (Says(TextDelta(f"a{HALF}"), MessageDone(f"a{HALF}"), Usage(1, 1), TurnDone()), "a?"),
        (ended(ToolCallStarted("c", "t", {"n": 1 << 80, "o": object()})), "fine"),
        (ended(TextDelta("x"), TextDelta(HALF)), "fine"),
    ],
    ids=["text", "tool input", "one piece of many"],
)
def test_a_run_completes_with_what_can_be_stored_of_its_answer(journal, provider, content):
    with asm.ActorSystem.start(journal, {"p": provider}) as system:
        result = system.sessions.run_once("hi")
        assert result.output["content"] == content
        assert result.output == system.sessions.get_run(result.run_id).output
        assert result.events[-1].type is asm.EventType.RUN_COMPLETED
        assert system.store.verify().is_sound


def test_an_output_made_by_the_provider_itself_is_made_storable(journal):
    provider = Says(MessageDone("x"), Usage(1, 1), TurnDone("end", {"text": HALF, "at": {1, 2}}))
    with asm.ActorSystem.start(journal, {"p": provider}) as system:
        assert system.sessions.run_once("hi").output == {"text": "?", "at": [1, 2]}


def test_a_cancelled_run_keeps_its_partial_answer(journal):
    class Stalls(asm.BaseProvider):
        async def reply(self, request):
            yield HALF
            yield "b"
            await never.wait()

    never = Gate()
    with asm.ActorSystem.start(journal, {"p": Stalls()}) as system:
        sessions = system.sessions
        session = sessions.start_session(agent_id="a")
        sessions.activate_session(session.id)
        run = sessions.submit_run(session.id, "hi")
        never.await_arrival()
        for event in sessions.subscribe(session.id, run_id=run.id):
            if event.data.get("content", "").endswith("b"):
                break
        assert sessions.cancel_run(run.id).output == {"content": "?b", "partial": True}
        assert sessions.get_session(session.id).status is asm.SessionStatus.ACTIVE
