"""The contract suite on the providers there are, and the suite itself on providers that break it."""

from __future__ import annotations

import asyncio
import threading

import pytest
from attrs import evolve

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import BaseProvider, prompt_from_input
from asm_actors.providers.items import (
    MessageDone,
    Raw,
    TextDelta,
    ToolCallEnded,
    ToolCallStarted,
    TurnDone,
    TurnStarted,
    Usage,
)
from asm_actors.providers.script import Script, fail, stall, text, tool_call
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.providers.scripted_memory import RememberingProvider
from asm_actors.testing.provider_contract import ProviderContract, violations


class TestScripted(ProviderContract):
    def make_provider(self):
        return ScriptedProvider()

    def make_slow_provider(self):
        return ScriptedProvider(Script(text("one"), stall()))

    def make_failing_provider(self):
        return ScriptedProvider(Script(text("one"), fail("provider_rate_limited", retry_after=1.0)))


class TestScriptedThatKeepsToHints(TestScripted):
    def make_provider(self):
        script = Script(tool_call("c1", "contract_allowed"), tool_call("c2", "contract_denied"))
        return ScriptedProvider(script, honours=["allowed_tools", "denied_tools", "max_tokens"])


class TestScriptedWithTools(TestScripted):
    def make_provider(self):
        return ScriptedProvider.golden("tool_use")


class TestRemembering(TestScripted):
    def make_provider(self):
        return RememberingProvider()


class TestBase(ProviderContract):
    def make_provider(self):
        class Echo(BaseProvider):
            async def reply(self, request):
                for word in prompt_from_input(request.input).split():
                    await asyncio.sleep(0)
                    yield word

        return Echo()

    def make_failing_provider(self):
        return BaseProvider()


class TestAnthropic(ProviderContract):
    """Over real HTTP, against the loopback server."""

    @pytest.fixture(autouse=True)
    def _server(self, loopback, wire):
        refused = b'{"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}'
        self.good = loopback.plan("contract", wire.whole("Hello ", "there"))
        self.slow = loopback.plan(
            "contract-slow", wire.head() + wire.sse(wire.message_start()), loopback.Hold()
        )
        self.bad = loopback.plan("contract-bad", wire.response(429, refused, retry_after="1"))

    def _provider(self, base_url):
        return AnthropicProvider(api_key="sk-test", base_url=base_url)

    def make_provider(self):
        return self._provider(self.good)

    def make_slow_provider(self):
        return self._provider(self.slow)

    def make_failing_provider(self):
        return self._provider(self.bad)

    def make_unusable_provider(self):
        return AnthropicProvider(api_key="", base_url=self.good)

    @pytest.fixture(autouse=True)
    def _no_key(self, monkeypatch):
        monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)


# The rules for items ------------------------------------------------------------------------------------------

OPEN, SAID, USED, DONE = TurnStarted(), MessageDone("x"), Usage(1, 2), TurnDone()
CALL = ToolCallStarted("c", "t")


def test_a_legal_turn_violates_nothing():
    assert (
        violations([Raw("early"), OPEN, TextDelta("x"), CALL, ToolCallEnded("c", "t"), SAID, USED, DONE])
        == ()
    )
    assert violations([OPEN, CALL, SAID, USED, TurnDone("tool_use")]) == ()


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([], "does not open"),
        ([SAID, USED, DONE], "does not open"),
        ([SAID, OPEN, USED, DONE], "does not open"),
        ([OPEN, OPEN, SAID, USED, DONE], "opens more than once"),
        ([OPEN, SAID, USED], "TurnDone is not the last"),
        ([OPEN, SAID, USED, DONE, Raw("late")], "TurnDone is not the last"),
        ([OPEN, SAID, USED, DONE, DONE], "closes more than once"),
        ([OPEN, SAID, DONE], "states no Usage"),
        ([OPEN, USED, DONE], "completes no message"),
        ([OPEN, TextDelta(""), SAID, USED, DONE], "a delta is empty"),
        ([OPEN, CALL, CALL, SAID, USED, DONE], "starts twice"),
        ([OPEN, ToolCallEnded("c", "t"), CALL, SAID, USED, DONE], "ends before it starts"),
        ([OPEN, CALL, ToolCallEnded("c", "t"), ToolCallEnded("c", "t"), SAID, USED, DONE], "ends twice"),
        ([OPEN, SAID, USED, TurnDone("tool_use")], "no tool call is open"),
        ([OPEN, Usage(-1, 2), SAID, DONE], "less than nothing"),
        ([OPEN, Usage(1, 5), Usage(1, 4), SAID, DONE], "shrink"),
        ([OPEN, "text", SAID, USED, DONE], "is no item"),
    ],
)
def test_each_broken_rule_is_named(items, complaint):
    assert any(complaint in violation for violation in violations(items))


# The suite finds faults ---------------------------------------------------------------------------------------


class NoUsage(BaseProvider):
    async def stream(self, request):
        yield TurnStarted()
        yield MessageDone("x")
        yield TurnDone()


class Deaf(ScriptedProvider):
    """Takes a second try to be cancelled."""

    async def stream(self, request):
        yield TurnStarted()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            await asyncio.get_running_loop().create_future()


class Littering(ScriptedProvider):
    async def stream(self, request):
        self.litter = asyncio.create_task(asyncio.Event().wait())
        async for item in super().stream(request):
            yield item


class Shared(BaseProvider):
    """Mixes up its concurrent streams."""

    pieces: list[str]

    def __init__(self):
        self.pieces = []

    async def reply(self, request):
        self.pieces[:] = ["a", "b"]
        while self.pieces:
            await asyncio.sleep(0)
            if not self.pieces:
                return
            yield self.pieces.pop()


class Boasting(ScriptedProvider):
    """Says that it keeps to what it does not keep to."""

    def capabilities(self):
        return evolve(super().capabilities(), config={"honours": ["denied_tools"]})


class Starting(BaseProvider):
    def __init__(self):
        self.gate = threading.Event()
        self.threads = []

    def check(self):
        self.threads.append(threading.Thread(target=self.gate.wait))
        self.threads[-1].start()


class Naked(BaseProvider):
    async def stream(self, request):
        yield TurnStarted()
        raise ValueError("no code")


class Silent(BaseProvider):
    def check(self):
        raise AsmError(ErrorCode.PROVIDER_ERROR, "")


class OpensOnce(ScriptedProvider):
    closed = False

    async def open(self):
        if self.closed:
            raise RuntimeError("closed for good")

    async def aclose(self):
        self.closed = True


def suite(provider, **hooks):
    class Suite(ProviderContract):
        cancel_within = turn_within = 0.05
        cancel_points = 3

        def make_provider(self):
            return provider()

        def make_slow_provider(self):
            return provider()

        def make_failing_provider(self):
            return provider()

        def make_unusable_provider(self):
            return provider()

    return Suite()


@pytest.mark.parametrize(
    ("test", "provider"),
    [
        ("test_a_turn_yields_items_in_legal_order", NoUsage),
        ("test_one_provider_answers_turn_after_turn", NoUsage),
        ("test_a_stream_that_hangs_is_cancelled_in_time", Deaf),
        ("test_a_stream_that_hangs_is_cancelled_in_time", ScriptedProvider),
        ("test_a_turn_yields_items_in_legal_order", Littering),
        ("test_a_stream_may_be_closed_after_any_item", Littering),
        ("test_concurrent_streams_are_independent", Shared),
        (
            "test_hints_that_it_says_it_keeps_to_are_kept_to",
            lambda: Boasting(Script(tool_call("c1", "contract_denied"))),
        ),
        ("test_failures_are_errors_with_codes", Naked),
        ("test_failures_are_errors_with_codes", ScriptedProvider),
        ("test_check_of_an_unusable_provider_says_why_with_a_code", ScriptedProvider),
        ("test_check_of_an_unusable_provider_says_why_with_a_code", Silent),
        ("test_opening_and_closing_twice_is_once_and_it_may_be_opened_again", OpensOnce),
    ],
)
def test_the_suite_finds_the_fault_of(test, provider):
    with pytest.raises((AssertionError, TimeoutError, ValueError, RuntimeError)):
        getattr(suite(provider), test)()


def test_the_suite_finds_a_check_that_starts_threads():
    provider = Starting()
    try:
        with pytest.raises(AssertionError, match="started a thread"):
            suite(lambda: provider).test_check_is_a_plain_function_without_side_effects()
    finally:
        provider.gate.set()
        for thread in provider.threads:
            thread.join(5)


TEST_OF_HOOK = {
    "make_slow_provider": "test_a_stream_that_hangs_is_cancelled_in_time",
    "make_failing_provider": "test_failures_are_errors_with_codes",
    "make_unusable_provider": "test_check_of_an_unusable_provider_says_why_with_a_code",
}


def collected_of(kind):
    """What pytest and unittest collect of a suite."""
    return {name for name in dir(kind) if name.startswith("test_") and callable(getattr(kind, name))}


def test_a_hook_that_is_not_given_has_no_test_and_nothing_is_skipped():
    class Plain(ProviderContract):
        pass

    assert collected_of(ProviderContract) - collected_of(Plain) == set(TEST_OF_HOOK.values())
    with pytest.raises(NotImplementedError):
        Plain().make_provider()


@pytest.mark.parametrize("hook", TEST_OF_HOOK)
def test_a_hook_that_is_given_brings_its_test_also_over_a_suite_without_it(hook):
    class Plain(ProviderContract):
        pass

    class Given(Plain):
        locals()[hook] = lambda self: ScriptedProvider()

    class Heir(Given):
        pass

    for kind in (Given, Heir):
        assert collected_of(kind) - collected_of(Plain) == {TEST_OF_HOOK[hook]}
        with pytest.raises(NotImplementedError):
            kind().make_provider()
