"""A run's core that holds: what goes with its last word is what a rebuilt run would read."""

from __future__ import annotations

import pytest

from asm_actors import effects as fx
from asm_actors.runs import state as core_module
from asm_actors.runs.holding import hold, progress_of_state
from asm_actors.runs.messages import RunHolds
from asm_actors.runs.run import RunStatus


def test_its_last_word_holds_its_record_and_how_far_it_had_come(bench):
    core = bench("streaming")
    effects = hold(core.state, (), RunStatus.PAUSED, bench.now, details={"pause": {"by": "me"}})
    (word,) = core.notices(effects, RunHolds)
    assert effects[-1] == fx.Leave()
    assert (word.run.status, word.run.details) == (RunStatus.PAUSED, {"pause": {"by": "me"}})
    assert core.phase == "ended"
    assert core.say("late") == []


def test_before_the_first_turn_it_has_come_to_nothing(bench):
    assert progress_of_state(bench("streaming").state).next_turn == 1


def test_with_calls_that_are_not_answered_it_stands_in_their_turn(bench):
    core = bench("calling")
    far = progress_of_state(core.state)
    assert (far.turn, far.next_turn) == (1, 1)
    assert [call.id for call in far.calls] == ["call_1"]
    assert [message["role"] for message in far.messages] == ["assistant"]
    assert far.calls[0] is not core.state.calls["call_1"]


def test_between_turns_the_answers_are_part_of_the_conversation(bench):
    core = bench("calling")
    core.durable()
    core.tell(core_module.ToolEnded("call_1", "it is there"))
    far = progress_of_state(core.state)
    assert (far.turn, far.next_turn, far.calls) == (1, 2, ())
    assert [message["role"] for message in far.messages] == ["assistant", "tool"]
    assert core.state.request.messages[-2:] == far.messages


@pytest.mark.parametrize("phase", ["calling", "streaming"])
def test_what_comes_after_its_last_word_is_ignored(bench, phase):
    core = bench(phase)
    hold(core.state, (), RunStatus.PAUSED, bench.now)
    assert core.tell(core_module.ToolEnded("call_1", "late")) == []
    assert core.durable() == []
