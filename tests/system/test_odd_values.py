"""Values that callers make themselves: what is malformed is refused with an error that says so, whatever it is."""

from __future__ import annotations

import logging

import attrs
import pytest

import asm_actors as asm
from asm_actors import AsmError, ErrorCode
from asm_actors.providers.script import Script, crash, text, tool_call
from asm_actors.sessions.options import session_options
from asm_actors.testing.system import SimulatedSystem


class Unspeakable:
    def __repr__(self):
        raise RuntimeError("it cannot be shown")


def deep():
    found = []
    for _ in range(5_000):
        found = [found]
    return found


ODD = (Unspeakable(), deep(), object(), b"x")


def function() -> None:
    """Do nothing."""


def a_tool(**fields):
    made = {"name": "t", "description": "", "input_schema": {"type": "object"}, "function": function}
    return asm.Tool(**(made | fields))


def a_command(**fields):
    return asm.Command(**({"argv": ["true"]} | fields))


def started(**options):
    with asm.ActorSystem.start(asm.MemoryStore(), {"mock": asm.ScriptedProvider()}, **options):
        pass


MADE = {
    "Policy.approval_timeout": (
        lambda value: asm.Policy(approval_timeout=value),
        [0, -1, True, "x", float("inf"), float("nan"), *ODD],
    ),
    "Tool.input_schema": (lambda value: a_tool(input_schema=value), [None, [], "x", *ODD]),
    "tools of a start": (lambda value: started(tools=[value]), [None, 5, "x", *ODD]),
    "Command.env": (lambda value: a_command(env=value), [(1,), (("a",),), ("ab",), {"a": 1}, *ODD]),
    "Command.stdin": (lambda value: a_command(stdin=value), ["\ud800", 5, Unspeakable()]),
    "Command.argv": (lambda value: a_command(argv=value), [["\ud800"], ["a\0"], [5], *ODD[:3]]),
    "Command.timeout": (lambda value: a_command(timeout=value), [0, -1, "x", float("nan"), 10**400, *ODD]),
    "open_workspace": (asm.open_workspace, [None, 5, "x", {"path": 5}, {"nope": 1}, *ODD]),
    "AnthropicProvider.max_tokens": (
        lambda value: asm.AnthropicProvider(max_tokens=value),
        [None, 0, 1.5, True, "x", 10**400, *ODD],
    ),
    "AnthropicProvider.timeout": (
        lambda value: asm.AnthropicProvider(timeout=value),
        [0, -1, "x", float("nan"), *ODD],
    ),
    "AnthropicProvider.idle_timeout": (
        lambda value: asm.AnthropicProvider(idle_timeout=value),
        [0, "x", *ODD],
    ),
    "AnthropicProvider.thinking": (lambda value: asm.AnthropicProvider(thinking=value), [5, "x", *ODD]),
    "AnthropicProvider.model": (asm.AnthropicProvider, [5, *ODD]),
    "AnthropicProvider.api_key": (lambda value: asm.AnthropicProvider(api_key=value), [5, *ODD]),
    "AnthropicProvider.default_headers": (
        lambda value: asm.AnthropicProvider(default_headers=value),
        [True, 5, "x", [None], {"a": 1}, *ODD],
    ),
    "RetryPolicy.max_attempts": (lambda value: asm.RetryPolicy(max_attempts=value), [0, "x", *ODD]),
    "RetryPolicy.initial": (lambda value: asm.RetryPolicy(initial=value), [-1, None, *ODD]),
    "ScriptedProvider.script": (
        asm.ScriptedProvider,
        [5, "x", [], [5], {}, object(), b"x", deep(), Unspeakable()],
    ),
    "ScriptedProvider.chunks": (lambda value: asm.ScriptedProvider(chunks=value), [1.5, True, -1, [5], *ODD]),
    "ScriptedProvider.delay": (lambda value: asm.ScriptedProvider(delay=value), [None, "x", -1, *ODD]),
    "ScriptedProvider.by": (lambda value: asm.ScriptedProvider(by=value), [None, "x", *ODD]),
    "ScriptedProvider.capabilities": (
        lambda value: asm.ScriptedProvider(capabilities=value),
        [5, "x", ["x"], [("a",)], [5], *ODD],
    ),
    "ScriptedProvider.honours": (lambda value: asm.ScriptedProvider(honours=value), [5, "x", ["x"], *ODD]),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_malformed_is_a_validation_error(name):
    make, odd = MADE[name]
    for value in odd:
        with pytest.raises(AsmError) as caught:
            make(value)
        assert caught.value.code is ErrorCode.VALIDATION_ERROR, caught.value


def test_a_time_that_no_clock_will_see_is_as_good_as_none():
    century = 100 * 365.25 * 86_400
    assert asm.Policy(approval_timeout=10**300).approval_timeout == century
    assert asm.AnthropicProvider(timeout=1e300).timeout == century
    for timeout in (2**63, 1e12, 1e300):
        assert asm.Exec().run(["true"], timeout=timeout).exit_code == 0


def test_a_workspace_can_be_opened_with_a_map(tmp_path):
    opened = asm.open_workspace({"path": str(tmp_path), "strategy": "hash"})
    assert (opened.path, opened.backend) == (str(tmp_path.resolve()), "hash")


# --- What others raise ------------------------------------------------------------------------------------------


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("it cannot be shown")

    __repr__ = __str__


@attrs.frozen
class Choosy:
    n: int

    def __attrs_post_init__(self) -> None:
        raise UnspeakableError


def test_a_provider_that_crashes_by_what_cannot_be_shown_is_started_again(caplog):
    caplog.set_level(logging.CRITICAL + 1)
    scripts = [Script(crash(UnspeakableError())), Script(text("Hello"))]
    provider = asm.ScriptedProvider(scripts, resumable=True)
    with SimulatedSystem(providers={"mock": provider}) as sim:
        assert sim.manager.run_once("Hi").output["content"] == "Hello"


def test_an_argument_whose_class_refuses_it_in_such_a_way_is_the_models_fault():
    @asm.tool
    def choose(one: Choosy) -> None:
        """Choose."""

    scripts = [Script(tool_call("c", "choose", {"one": {"n": 1}})), Script(text("Done."))]
    provider = asm.ScriptedProvider(scripts, by="turn")
    with SimulatedSystem(providers={"mock": provider}, tools=[choose]) as sim:
        result = sim.manager.run_once("Hi")
        assert result.output["content"] == "Done."
        (failed,) = [event for event in result.events if event.type == "tool_call_failed"]
        assert "one: UnspeakableError" in failed.data["error"]["message"]


def test_arguments_of_a_scripted_call_that_are_no_map_are_refused_where_it_is_written():
    with pytest.raises(AsmError) as caught:
        tool_call("call_1", "look", [1])
    assert caught.value.code is ErrorCode.VALIDATION_ERROR


def test_what_a_second_run_does_is_named_by_a_text():
    class Odd:
        def __eq__(self, other):
            raise RuntimeError

        __hash__ = None

    with pytest.raises(AsmError) as caught:
        session_options({"second_run": Odd()})
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
