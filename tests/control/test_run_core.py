"""A run's core that is to stand still, and that gets input: every phase, as a table, without actors."""

from __future__ import annotations

import copy

import pytest

from asm_actors import effects as fx
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import messages as p
from asm_actors.providers.base import TurnRequest
from asm_actors.providers.items import MessageDone, TextDelta, ToolCallStarted, TurnDone, TurnStarted, Usage
from asm_actors.runs import state as core
from asm_actors.runs.control import MAX_STEERING
from asm_actors.runs.messages import (
    CancelRun,
    Durable,
    HoldRun,
    ReleaseRun,
    RunAppends,
    RunHolds,
    RunStandsBack,
    RunSteered,
    RunSteers,
    Steering,
    SteeringDurable,
)
from asm_actors.runs.run import Run
from asm_actors.runs.turn import Turn
from asm_actors.tools.tool import Tool, tools_by_name

NOW = 1_767_225_600_000_000
GONE = AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "the provider crashed")
LOOK = Tool("look", "Looks", {"type": "object"}, lambda: None)
LEFT = {"role": "user", "content": "left"}


class Core:
    """One run's core, brought to a phase; `tell` returns what is told to whom."""

    def __init__(self, phase="waiting"):
        run = Run.new(id="run_1", now=NOW, session_id="ses_1", input="Hello")
        request = TurnRequest("ses_1", "run_1", messages=({"role": "user", "content": "Hello"},))
        self.state = core.RunState(run, request, "mock", None, tools=tools_by_name([LOOK]))
        self.state.turn = Turn(host_tools=self.state.tools)
        getattr(self, f"_to_{phase}")()
        assert self.state.phase.value == phase

    def _to_waiting(self):
        core.begin(self.state)

    def _to_streaming(self):
        self.tell(core.SlotTaken())

    def _to_recovering(self):
        self.state.run = self.state.run.with_status("running", NOW)
        self.tell(core.SlotTaken())

    def _to_preparing(self):
        self.state.run = self.state.run.replace(options={"continuation": "auto"})
        self.tell(core.SlotTaken())

    def _to_parked(self):
        self._to_streaming()
        self.tell(core.ProviderGone(GONE))

    def _to_calling(self):
        self._to_streaming()
        self.call()
        self.tell(Durable(self.state.n_pending))

    def _to_stopping(self):
        self._to_streaming()
        self.tell(CancelRun("enough"))

    def _to_ended(self):
        self._to_streaming()
        self.finish()

    def tell(self, message):
        return core.step(self.state, message, NOW + 1)

    def finish(self):
        return self.tell(p.TurnItems((TurnStarted(), Usage(1, 1), MessageDone("Hi"), TurnDone()), True))

    def call(self):
        items = (
            TextDelta("Hm."),
            ToolCallStarted("call_1", "look"),
            MessageDone("Hm."),
            TurnDone("tool_use"),
        )
        return self.tell(p.TurnItems(items, True))

    def steer(self, key=1, on_record=True):
        effects = self.tell(Steering(key, LEFT, "ann"))
        number = self.state.run.details["steered"]
        return effects + (self.tell(SteeringDurable(number)) if on_record else [])


def told(effects):
    """The notices to the session."""
    return [effect.message for effect in effects if type(effect) is fx.ToSession]


def only(effects, kind):
    (found,) = [one for one in told(effects) if type(one) is kind]
    return found


# --- To stand still --------------------------------------------------------------------------------------------------

# phase -> whether it leaves at once, how it stands, and whether it remembers.
HOLDING = {
    "waiting": (RunStandsBack, False),
    "parked": (RunHolds, False),
    "recovering": (None, True),
    "preparing": (None, True),
    "streaming": (None, True),
    "calling": (None, True),
    "stopping": (None, False),
    "ended": (None, False),
}


@pytest.mark.parametrize("phase", HOLDING)
def test_it_holds_at_once_or_remembers_or_is_about_to_end(phase):
    run = Core(phase)
    last_word, remembers = HOLDING[phase]
    effects = run.tell(HoldRun())
    assert run.state.is_to_hold is remembers
    if last_word is None:
        assert effects == []
        return
    assert type(told(effects)[-1]) is last_word
    assert effects[-1] == fx.Leave()
    assert run.state.phase is core.Phase.ENDED


@pytest.mark.parametrize("phase", HOLDING)
def test_a_release_takes_it_back(phase):
    run = Core(phase)
    before = copy.deepcopy(run.state)
    if run.tell(HoldRun()) == []:
        assert run.tell(ReleaseRun()) == []
        assert run.state == before


def test_a_recovered_run_in_line_for_a_slot_holds_with_how_far_it_had_come():
    run = Core()
    run.state.run = run.state.run.with_status("running", NOW)
    run.state.past = ({"role": "assistant", "content": "Hm."},)
    run.state.request = run.state.request._replace(turn=2)
    held = only(run.tell(HoldRun()), RunHolds)
    assert (held.progress.turn, held.progress.messages, held.progress.calls) == (1, run.state.past, ())
    assert held.run.status == "paused"


def test_after_a_turn_it_holds_before_its_calls_and_they_are_not_begun():
    run = Core("streaming")
    run.tell(HoldRun())
    held = only(run.call(), RunHolds)
    assert [draft.type for draft in held.drafts][-1] == "turn_completed"
    assert [(call.id, call.attempt, call.answer) for call in held.progress.calls] == [("call_1", 0, None)]


def test_after_its_calls_it_holds_before_the_next_turn():
    run = Core("calling")
    run.tell(HoldRun())
    effects = run.tell(core.ToolEnded("call_1", "seen"))
    assert [type(one) for one in told(effects)] == [RunAppends, RunHolds]
    held = only(effects, RunHolds)
    assert held.progress.turn == 1
    assert [one["role"] for one in held.progress.messages] == ["assistant", "tool"]


@pytest.mark.parametrize("phase", ["recovering", "preparing"])
def test_before_its_first_turn_it_holds_without_asking(phase):
    run = Core(phase)
    run.tell(HoldRun())
    effects = run.tell(Durable(0) if phase == "recovering" else core.Prepared())
    assert only(effects, RunHolds).progress.turn == 0
    assert not any(type(effect) is fx.ToProvider for effect in effects)


def test_a_turn_that_ends_the_run_ends_it_all_the_same():
    run = Core("streaming")
    run.tell(HoldRun())
    assert only(run.finish(), core.RunEnded).run.status == "completed"


# --- Input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in HOLDING if phase not in ("streaming", "ended")])
def test_where_no_turn_is_answered_input_is_refused_and_nothing_changes(phase):
    run = Core(phase)
    before = copy.deepcopy(run.state)
    refused = only(run.tell(Steering(7, LEFT, None)), RunSteered)
    assert (refused.key, refused.error.code, refused.drafts) == (7, ErrorCode.INVALID_OPERATION, ())
    assert run.state == before


def test_it_is_put_on_record_first_then_handed_over_then_answered():
    run = Core("streaming")
    effects = run.steer(key=7, on_record=False)
    steers = only(effects, RunSteers)
    assert len(effects) == 1
    assert steers.run.details == {"steered": 1}
    handed = run.tell(SteeringDurable(1))
    assert [effect.message for effect in handed] == [p.SteerTurn(None, "run_1", 1, LEFT)]
    assert told(run.tell(p.TurnSteered(1))) == [RunSteered("run_1", 7)]
    assert run.tell(p.TurnSteered(1)) == []


def test_what_the_provider_refuses_is_told_and_belongs_to_nothing():
    run = Core("streaming")
    run.steer(key=7)
    refused = only(run.tell(p.TurnSteered(1, GONE)), RunSteered)
    assert refused.error is GONE
    assert [(one.type.value, one.data["source"], one.data["number"]) for one in refused.drafts] == [
        ("error_occurred", "steered", 1)
    ]
    run.call()
    assert [one["role"] for one in run.state.request.messages] == ["user", "assistant"]


def test_too_many_at_once_are_refused():
    run = Core("streaming")
    for key in range(MAX_STEERING):
        run.steer(key, on_record=False)
    refused = only(run.tell(Steering(99, LEFT, None)), RunSteered)
    assert refused.error.code is ErrorCode.OVERLOADED


@pytest.mark.parametrize("on_record", [False, True])
def test_at_a_turn_boundary_all_of_it_is_taken_along(on_record):
    run = Core("streaming")
    run.steer(key=7, on_record=on_record)
    assert RunSteered("run_1", 7) in told(run.call())
    assert [one["role"] for one in run.state.request.messages] == ["user", "user", "assistant"]
    assert run.state.past[0] == LEFT
    assert run.tell(SteeringDurable(1)) == []
    assert run.tell(p.TurnSteered(1, GONE)) == []


def test_when_the_run_ends_what_nobody_took_is_on_record_before_its_end():
    run = Core("streaming")
    run.steer(key=7)
    ended = only(run.finish(), core.RunEnded)
    assert [draft.type.value for draft in ended.drafts][-2:] == ["error_occurred", "run_completed"]
    assert ended.drafts[-2].data["number"] == 1


def test_a_further_attempt_keeps_it_in_the_turn_and_a_new_request_takes_it_along():
    run = Core("streaming")
    run.steer(key=7)
    run.tell(p.TurnRetries(GONE, 1, 0.5))
    assert [one["content"] for one in run.state.turn.said] == ["left"]
    run.tell(core.ProviderGone(GONE))
    effects = run.tell(core.ProviderBack())
    assert told(effects) == [RunSteered("run_1", 7)]
    (asked,) = [effect.message.request for effect in effects if type(effect) is fx.ToProvider]
    assert [one["content"] for one in asked.messages] == ["Hello", "left"]
    assert run.state.turn.said == []
