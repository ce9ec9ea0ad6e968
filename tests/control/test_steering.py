"""Input into a running turn: on record, handed over, taken, and not lost by whatever happens then."""

from __future__ import annotations

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import BaseProvider
from asm_actors.providers.script import Script, crash, fail, heed, sleep, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import Tool

STEERING = (("chat", "tool"), ("steering", "sampling"))
LOOK = Tool("look", "Looks", {"type": "object"}, lambda: "seen")
LEFT = {"role": "user", "content": "left"}


class Room:
    """A system with one session and one run that is being answered."""

    def __init__(self, script, *, tools=(), seed=0, provider=None, **options):
        self.provider = ScriptedProvider(script, **options) if provider is None else provider
        self.sim = SimulatedSystem(seed, providers={"mock": self.provider}, tools=tools)

    def __enter__(self):
        self.sim.__enter__()
        self.session = self.sim.active_session()
        self.run_id = self.sim.manager.submit_run(self.session.id, "Which way?").id
        self.sim.settle()
        return self

    def __exit__(self, *exc_info):
        return self.sim.__exit__(*exc_info)

    def steer(self, said="left", **options):
        return self.sim.operations.steer_run(self.run_id, said, **options)

    @property
    def run(self):
        return self.sim.run(self.run_id)

    @property
    def types(self):
        return self.sim.types_of(self.run_id)

    def asked(self, number=-1):
        return list(self.provider.requests[number].messages)

    def finish(self):
        self.sim.advance(100)
        self.sim.check_promises()


def said(request):
    """The user's messages in a request."""
    return [one["content"] for one in request.messages if one["role"] == "user"]


def test_it_is_on_record_before_the_provider_gets_it_and_answered_when_that_has_taken_it():
    with Room(Script(text("You say "), heed(), text("."))) as room:
        seen = []
        room.provider.steer = _watched(room, seen)
        future = room.steer(by="ann")
        assert future.get().id == room.run_id
        assert seen == ["message_sent"]
        room.finish()
        assert room.run.output["content"] == "You say left."
        (sent,) = [event for event in room.sim.events_of(room.run_id) if event.data.get("steered")]
        expected = {"role": "user", "content": "left", "steered": True, "number": 1, "turn": 1, "by": "ann"}
        assert sent.data == expected
        assert room.run.details["steered"] == 1


def _watched(room, seen):
    taking = room.provider.steer

    async def steer(run_id, message):
        seen.append(room.types[-1])
        await taking(run_id, message)

    return steer


def test_several_inputs_arrive_in_the_order_in_which_they_were_given():
    with Room(Script(heed(), heed(), heed())) as room:
        futures = [room.steer(word) for word in ("one ", "two ", "three")]
        room.finish()
        assert [future.get().status for future in futures]
        assert room.run.output["content"] == "one two three"
        assert [
            event.data["number"] for event in room.sim.events_of(room.run_id) if event.data.get("steered")
        ] == [
            1,
            2,
            3,
        ]


@pytest.mark.parametrize(
    "given", ["left", {"prompt": "left"}, {"messages": [LEFT]}, {"messages": [{"content": "left"}]}]
)
def test_an_input_is_one_message_of_the_user_in_any_form(given):
    with Room(Script(heed())) as room:
        room.steer(given)
        room.finish()
        assert room.run.output["content"] == "left"


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        {},
        {"messages": []},
        {"messages": [LEFT, LEFT]},
        {"messages": [{**LEFT, "role": "system"}]},
        7,
    ],
)
def test_anything_else_is_refused_at_once(given):
    with Room(Script(heed())) as room:
        with pytest.raises(AsmError) as caught:
            room.sim.manager.steer_run(room.run_id, given)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR
        assert "left" not in room.types
        room.steer("go on")
        room.finish()


# --- Providers that take none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), ("streaming",)])
def test_a_provider_that_does_not_say_so_gets_none(names):
    offers = tuple((name, "sampling") for name in names)
    with Room(Script(text("Hm. "), sleep(5)), capabilities=offers) as room:
        before = room.types, room.run
        with pytest.raises(AsmError) as caught:
            room.sim.manager.steer_run(room.run_id, "left")
        assert caught.value.code is ErrorCode.CAPABILITY_NOT_SUPPORTED
        assert (room.types, room.run) == before
        room.finish()


@pytest.mark.parametrize("name", ["steering", "incremental_input"])
def test_either_name_of_the_capability_will_do(name):
    with Room(Script(heed()), capabilities=((name, "sampling"),)) as room:
        room.steer()
        room.finish()
        assert room.run.output["content"] == "left"


def test_one_that_claims_it_and_cannot_refuses_and_the_record_says_so():
    class Boaster(BaseProvider):
        offers = (("steering", "sampling"),)

        async def reply(self, request):
            yield "Wait. "
            await stall_for(5)

    from asyncio import sleep as stall_for

    with Room(None, provider=Boaster()) as room:
        future = room.steer()
        room.finish()
        assert room.sim.error_of(future).code is ErrorCode.CAPABILITY_NOT_SUPPORTED
        refused = [
            event.data for event in room.sim.events_of(room.run_id) if event.data.get("source") == "steered"
        ]
        assert [(one["number"], one["error_code"]) for one in refused] == [(1, "capability_not_supported")]
        assert room.sim.manager.transcript(room.session.id).messages[-1].content == "Wait. "
        assert [one.role for one in room.sim.manager.transcript(room.session.id).messages] == [
            "user",
            "assistant",
        ]


# --- Too late ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", range(12))
def test_what_the_turn_is_over_for_goes_into_the_next_one(steps):
    def script(request):
        return Script(text("Hm."), tool_call("call_1", "look")) if request.turn == 1 else Script(text("Ok."))

    with Room(script, tools=[LOOK], delay=1.0, capabilities=STEERING, seed=steps) as room:
        room.sim.dispatcher.clock.advance(1)
        room.sim.steps(steps)
        future = room.steer()
        room.finish()
        error, last = room.sim.error_of(future), room.asked()
        assert (LEFT in last) == (error is None)
        assert error is None or error.code is ErrorCode.INVALID_OPERATION
        if error is None:
            # What the answers of tools follow is the message that calls them.
            at = next(n for n, one in enumerate(last) if one["role"] == "tool")
            assert last[at - 1]["role"] == "assistant"


@pytest.mark.parametrize("steps", range(14))
def test_without_a_next_turn_it_is_refused_and_no_part_of_the_conversation(steps):
    with Room(Script(text("Hm.")), delay=1.0, capabilities=STEERING, seed=steps) as room:
        room.sim.dispatcher.clock.advance(1)
        room.sim.steps(steps)
        future = room.steer()
        room.finish()
        error = room.sim.error_of(future)
        taken = [run_id for run_id, _ in room.provider.steered]
        messages = [one.content for one in room.sim.manager.transcript(room.session.id).messages]
        assert ("left" in messages) == (error is None)
        assert error is None or error.code is ErrorCode.INVALID_OPERATION
        assert error is not None or taken


def test_a_cancel_refuses_what_is_on_its_way():
    class Slow(ScriptedProvider):
        async def steer(self, run_id, message):
            await stall_for(100)

    from asyncio import sleep as stall_for

    with Room(None, provider=Slow(Script(text("Hm. "), stall()), capabilities=STEERING)) as room:
        future = room.steer()
        room.sim.settle()
        room.sim.manager.cancel_run(room.run_id)
        assert room.sim.error_of(future).code is ErrorCode.INVALID_OPERATION
        assert room.types[-2:] == ["error_occurred", "run_cancelled"]
        room.finish()


# --- The turn is asked for again -----------------------------------------------------------------------------------


def until_told(*more):
    """Heeds input once; a turn that has it already answers."""

    def script(request):
        return Script(text("Left it is.")) if "left" in said(request) else Script(heed(says=False), *more)

    return script


@pytest.mark.parametrize(
    "ending",
    [fail(ErrorCode.PROVIDER_UNAVAILABLE, "busy"), crash()],
    ids=["failed attempt", "crash of the provider"],
)
def test_a_further_attempt_is_asked_with_it(ending):
    with Room(until_told(ending), capabilities=STEERING) as room:
        assert room.steer().get().id == room.run_id
        room.finish()
        assert room.run.output["content"] == "Left it is."
        assert said(room.provider.requests[-1]) == ["Which way?", "left"]


@pytest.mark.parametrize("how", ["attempt", "provider", "process", "run"])
def test_it_is_in_the_conversation_once_however_often_its_turn_is_asked_for(how):
    def script(request):
        if request.turn > 1:
            return Script(text("Ok."))
        if "left" in said(request) and request.attempt < 3:
            return Script(fail(ErrorCode.PROVIDER_UNAVAILABLE, "busy"))
        if "left" in said(request):
            return Script(text("Hm."), tool_call("call_1", "look"))
        return Script(
            heed(says=False), {"attempt": fail(ErrorCode.PROVIDER_UNAVAILABLE, "busy")}.get(how, stall())
        )

    with Room(script, tools=[LOOK], capabilities=STEERING) as room:
        room.steer().get()
        room.sim.settle()
        if how == "provider":
            room.sim.crash(room.sim.services.whereis(("provider", "mock")))
        elif how == "process":
            room.sim.kill()
        elif how == "run":
            room.sim.crash(room.sim.run_ref(room.run_id))
        room.finish()
        assert room.run.status == "completed"
        assert [one["role"] for one in room.asked()] == ["user", "user", "assistant", "tool"]
        told = room.sim.manager.transcript(room.session.id).messages
        assert [one.content for one in told if one.role == "user"] == ["Which way?", "left"]


def test_what_comes_between_two_attempts_goes_with_the_next_one():
    def script(request):
        return (
            Script(text("Ok."))
            if request.attempt > 1
            else Script(fail(ErrorCode.PROVIDER_UNAVAILABLE, "busy"))
        )

    with Room(script, capabilities=STEERING) as room:
        assert "error_occurred" in room.types
        future = room.steer()
        room.finish()
        assert room.sim.error_of(future) is None
        assert said(room.provider.requests[-1]) == ["Which way?", "left"]


@pytest.mark.parametrize("on_restart", ["resume", "retry"])
@pytest.mark.parametrize("victim", ["process", "session", "run"])
def test_a_later_life_is_asked_with_it(victim, on_restart):
    with Room(until_told(stall()), capabilities=STEERING) as room:
        other = room.sim.manager.submit_run(room.sim.active_session().id, "Which way?", on_restart=on_restart)
        room.run_id = other.id
        room.sim.settle()
        room.steer().get()
        if victim == "process":
            room.sim.kill()
        else:
            ref = room.sim.run_ref(other.id) if victim == "run" else room.sim.session_ref(other.session_id)
            room.sim.crash(ref)
        room.sim.advance(1)
        assert room.run.output["content"] == "Left it is."
        assert said(room.provider.requests[-1]) == ["Which way?", "left"]
        room.sim.check_promises()


@pytest.mark.parametrize("steps", range(0, 24, 2))
def test_killed_at_any_moment_it_is_on_record_and_asked_or_neither(steps):
    with Room(until_told(stall()), capabilities=STEERING, seed=steps) as room:
        room.steer()
        room.sim.steps(steps)
        room.sim.kill()
        room.sim.settle()
        is_on_record = any(event.data.get("steered") for event in room.sim.events_of(room.run_id))
        assert ("left" in said(room.provider.requests[-1])) == is_on_record
        room.sim.check_promises()


def test_in_the_next_turn_it_stands_before_the_answer_that_was_going_on():
    def script(request):
        if request.turn == 1:
            return Script(text("Hm. "), heed(says=False), tool_call("call_1", "look"))
        return Script(text("Ok."))

    with Room(script, tools=[LOOK], capabilities=STEERING) as room:
        room.steer()
        room.finish()
        roles = [one["role"] for one in room.asked()]
        assert roles == ["user", "user", "assistant", "tool"]
        live = room.asked()
        told = room.sim.manager.transcript(room.session.id).messages
        assert [one.content for one in told][:3] == ["Which way?", "left", "Hm. "]
    assert live[1] == LEFT


def test_a_pause_keeps_it():
    def script(request):
        if request.turn == 1:
            return Script(heed(says=False), tool_call("call_1", "look"))
        return Script(text("Ok."))

    with Room(script, tools=[LOOK], capabilities=STEERING) as room:
        room.sim.manager.pause_run(room.run_id)
        room.steer()
        room.sim.settle()
        assert room.run.status == "paused"
        room.sim.kill()
        room.sim.settle()
        room.sim.manager.resume_run(room.run_id)
        room.finish()
        assert [one["role"] for one in room.asked()] == ["user", "user", "assistant", "tool"]


def test_a_provider_that_raises_something_else_over_it_has_crashed():
    class Clumsy(ScriptedProvider):
        async def steer(self, run_id, message):
            raise RuntimeError("oops")

    with Room(None, provider=Clumsy(until_told(stall()), capabilities=STEERING)) as room:
        future = room.steer()
        room.finish()
        assert room.sim.error_of(future) is None  # the turn that was asked for again has it
        assert room.run.output["content"] == "Left it is."
