"""What every provider must keep, as a test suite to inherit from.

Works with pytest, or by calling the methods: there are no plugins, each test runs its own event loop::

    class TestEcho(ProviderContract):
        def make_provider(self):
            return Echo()

Three more hooks make providers that are slow, fail, or cannot work. A suite that does not override one of them has
no test for it: nothing is skipped. The rules for items are told in ``asm_actors.providers.items``;
:func:`violations` checks them on any list.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any, Final

from asm_actors.capabilities.manifest import Manifest
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import Provider, TurnRequest
from asm_actors.providers.items import (
    ITEM_TYPES,
    Item,
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
from asm_actors.transcripts.continuation import can_continue_natively

__all__ = ["ProviderContract", "violations"]


def violations(items: Sequence[Item]) -> tuple[str, ...]:
    """Return what is wrong with the items of one successful turn, in words; empty if nothing is."""
    found: list[str] = [f"{item!r} is no item" for item in items if not isinstance(item, ITEM_TYPES)]
    kinds = [type(item) for item in items if not isinstance(item, Raw)]
    if not kinds or kinds[0] is not TurnStarted:
        found.append("it does not open with TurnStarted")
    if kinds.count(TurnStarted) > 1:
        found.append("it opens more than once")
    if not items or not isinstance(items[-1], TurnDone):
        found.append("TurnDone is not the last item")
    if kinds.count(TurnDone) > 1:
        found.append("it closes more than once")
    if Usage not in kinds:
        found.append("it states no Usage")
    if MessageDone not in kinds:
        found.append("it completes no message")
    if any(isinstance(item, TextDelta | ThinkingDelta) and not item.text for item in items):
        found.append("a delta is empty")
    return (*found, *_tool_violations(items), *_usage_violations(items))


def _tool_violations(items: Sequence[Item]) -> list[str]:
    found: list[str] = []
    started: set[str] = set()
    ended: set[str] = set()
    for item in items:
        if isinstance(item, ToolCallStarted):
            if item.id in started:
                found.append(f"tool call {item.id} starts twice")
            started.add(item.id)
        elif isinstance(item, ToolCallEnded):
            if item.id not in started:
                found.append(f"tool call {item.id} ends before it starts")
            if item.id in ended:
                found.append(f"tool call {item.id} ends twice")
            ended.add(item.id)
    last = items[-1] if items else None
    if isinstance(last, TurnDone) and last.stop_reason == "tool_use" and not started - ended:
        found.append("it stops for tool_use, and no tool call is open")
    return found


def _usage_violations(items: Sequence[Item]) -> list[str]:
    totals = [item for item in items if isinstance(item, Usage)]
    found = [f"{total} counts less than nothing" for total in totals if min(total) < 0]
    if any(later.output_tokens < earlier.output_tokens for earlier, later in pairwise(totals)):
        found.append("output tokens are totals, and they shrink")
    return found


# Hook -> the test that needs it.
_TEST_OF: Final = {
    "make_slow_provider": "test_a_stream_that_hangs_is_cancelled_in_time",
    "make_failing_provider": "test_failures_are_errors_with_codes",
    "make_unusable_provider": "test_check_of_an_unusable_provider_says_why_with_a_code",
}


_HINTS: Final[dict[str, Any]] = {
    "allowed_tools": ["contract_allowed"],
    "denied_tools": ["contract_denied"],
    "max_tokens": 64,
    "max_turns": 1,
}
_HOST_TOOLS: Final = tuple(
    {
        "name": name,
        "description": "A tool of the suite.",
        "input_schema": {"type": "object", "properties": {}},
    }
    for name in ("contract_allowed", "contract_denied")
)
_SCHEMA: Final = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


class ProviderContract:
    """The suite. Override :meth:`make_provider`, and the other hooks where the provider can do what they say."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for hook, test in _TEST_OF.items():
            if getattr(cls, hook) is getattr(ProviderContract, hook):
                setattr(cls, test, None)  # no test framework collects what cannot be called
            elif getattr(cls, test) is None:
                setattr(cls, test, getattr(ProviderContract, test))  # a base lacked the hook

    cancel_within = 2.0
    """Seconds a stream may take to end once it is given up."""

    turn_within = 10.0
    """Seconds one ordinary turn may take."""

    cancel_points = 12
    """At how many different moments streams are given up."""

    def make_provider(self) -> Provider:
        """Return a fresh provider whose next turns succeed."""
        raise NotImplementedError

    def make_request(self, number: int = 0) -> TurnRequest:
        """Return a request that :meth:`make_provider`'s answers; ``number`` tells several apart."""
        return TurnRequest(
            session_id=f"ses_{number:032x}",
            run_id=f"run_{number:032x}",
            agent_id="contract",
            messages=({"role": "user", "content": f"Hello {number}"},),
            input={"prompt": f"Hello {number}"},
        )

    def make_slow_provider(self) -> Provider:
        """Return a provider whose next turn never ends of itself."""
        raise NotImplementedError

    def make_failing_provider(self) -> Provider:
        """Return a provider whose next turn fails as turns do."""
        raise NotImplementedError

    def make_unusable_provider(self) -> Provider:
        """Return a provider that cannot work as configured."""
        raise NotImplementedError

    # The tests ----------------------------------------------------------------------------------------------

    def test_it_is_a_provider(self) -> None:
        provider = self.make_provider()
        assert isinstance(provider, Provider)
        assert isinstance(provider.resumable, bool)
        assert provider.timeout is None or provider.timeout > 0
        provider.name = "renamed"
        assert provider.name == "renamed"

    def test_manifest_is_valid_and_survives_the_wire(self) -> None:
        manifest = self.make_provider().capabilities()
        assert isinstance(manifest, Manifest)
        assert manifest.capabilities, "a provider can do something"
        assert Manifest.from_map(manifest.to_map()) == manifest

    def test_check_is_a_plain_function_without_side_effects(self) -> None:
        provider = self.make_provider()
        before = threading.active_count()
        for _ in range(3):
            assert provider.check() is None  # type: ignore[func-returns-value]
        assert threading.active_count() == before, "check started a thread"

    def test_check_of_an_unusable_provider_says_why_with_a_code(self) -> None:
        error = _error_of(self.make_unusable_provider().check)
        assert error.message, "the error says what to do"

    def test_a_turn_yields_items_in_legal_order(self) -> None:
        async def check(provider: Provider) -> None:
            items = await self._turn(provider, self.make_request())
            assert violations(items) == (), items

        self._run(self.make_provider, check)

    def test_text_deltas_add_up_to_the_message(self) -> None:
        async def check(provider: Provider) -> None:
            items = await self._turn(provider, self.make_request())
            said = "".join(item.text for item in items if isinstance(item, TextDelta))
            whole = "".join(item.content for item in items if isinstance(item, MessageDone))
            assert not said or said.strip() == whole.strip()

        self._run(self.make_provider, check)

    def test_one_provider_answers_turn_after_turn(self) -> None:
        async def check(provider: Provider) -> None:
            for number in range(3):
                assert violations(await self._turn(provider, self.make_request(number))) == ()

        self._run(self.make_provider, check)

    def test_concurrent_streams_are_independent(self) -> None:
        async def check(provider: Provider) -> None:
            alone = _shape(await self._turn(provider, self.make_request()))
            turns = (self._turn(provider, self.make_request(number)) for number in range(8))
            for items in await asyncio.gather(*turns):
                assert violations(items) == ()
                assert _shape(items) == alone

        self._run(self.make_provider, check)

    def test_a_stream_may_be_closed_after_any_item(self) -> None:
        async def check(provider: Provider) -> None:
            whole = await self._turn(provider, self.make_request())
            for count in range(min(len(whole), self.cancel_points)):
                stream = provider.stream(self.make_request())
                for _ in range(count):
                    await anext(stream)
                await self._promptly(stream.aclose())
            assert violations(await self._turn(provider, self.make_request())) == (), "it works afterwards"

        self._run(self.make_provider, check)

    def test_a_stream_may_be_cancelled_at_any_await(self) -> None:
        async def check(provider: Provider) -> None:
            for turns_of_the_loop in range(self.cancel_points):
                task = asyncio.create_task(self._turn(provider, self.make_request()))
                for _ in range(turns_of_the_loop):
                    await asyncio.sleep(0)
                task.cancel()
                await self._promptly(asyncio.wait([task]))
                assert task.cancelled() or task.exception() is None
            assert violations(await self._turn(provider, self.make_request())) == (), "it works afterwards"

        self._run(self.make_provider, check)

    def test_a_stream_that_hangs_is_cancelled_in_time(self) -> None:
        async def check(provider: Provider) -> None:
            begun = asyncio.Event()

            async def consume() -> None:
                async with aclosing(provider.stream(self.make_request())) as stream:
                    async for _ in stream:
                        begun.set()

            task = asyncio.create_task(consume())
            async with asyncio.timeout(self.turn_within):
                await begun.wait()
            task.cancel()
            await self._promptly(asyncio.wait([task]))
            assert task.cancelled()

        self._run(self.make_slow_provider, check)

    def test_failures_are_errors_with_codes(self) -> None:
        async def check(provider: Provider) -> None:
            items, error = await self._failure(provider, self.make_request())
            assert isinstance(error.code, ErrorCode)
            assert AsmError.from_map(error.to_map()) == error
            assert error.retry_after is None or error.retry_after >= 0
            assert TurnDone not in map(type, items), "a turn that failed was closed"

        self._run(self.make_failing_provider, check)

    def test_it_goes_on_with_the_conversation_that_it_named(self) -> None:
        """Of a provider that declares ``native_continuation``; any other need not name its conversations."""

        async def check(provider: Provider) -> None:
            if not can_continue_natively(provider.capabilities()):
                return
            first = await self._turn(provider, self.make_request())
            (name,) = [item.provider_session_id for item in first if isinstance(item, TurnStarted)]
            assert name, "it names its conversation"
            request = self.make_request(1)._replace(session_id=self.make_request().session_id)
            then = await self._turn(provider, request._replace(provider_session_id=name))
            assert violations(then) == (), then
            (again,) = [item.provider_session_id for item in then if isinstance(item, TurnStarted)]
            assert again, "it names the conversation with which it went on"
            unknown = request._replace(provider_session_id=f"{name}-which-is-not-there")
            items, error = await self._failure(provider, unknown)
            assert error.code is ErrorCode.NOT_FOUND, (
                "what it does not know is told, so that it can be told all"
            )
            assert not items, "and nothing is said"

        self._run(self.make_provider, check)

    def test_hints_that_it_says_it_keeps_to_are_kept_to(self) -> None:
        async def check(provider: Provider) -> None:
            honours = provider.capabilities().config.get("honours", [])
            assert set(honours) <= set(_HINTS), "hints are those that policies give"
            options = {name: _HINTS[name] for name in honours}
            request = self.make_request()._replace(tools=_HOST_TOOLS, options=options)
            items = await self._turn(provider, request)
            assert violations(items) == (), items
            called = [item.name for item in items if isinstance(item, ToolCallStarted)]
            if "denied_tools" in honours:
                assert "contract_denied" not in called
            if "allowed_tools" in honours:
                assert set(called) <= {"contract_allowed"}

        self._run(self.make_provider, check)

    def test_a_shape_and_a_permission_mode_are_taken_or_ignored(self) -> None:
        async def check(provider: Provider) -> None:
            request = self.make_request()._replace(output_schema=_SCHEMA, permission_mode="plan")
            assert violations(await self._turn(provider, request)) == ()

        self._run(self.make_provider, check)

    def test_opening_and_closing_twice_is_once_and_it_may_be_opened_again(self) -> None:
        async def check(provider: Provider) -> None:
            await provider.open()
            assert violations(await self._turn(provider, self.make_request())) == ()
            await provider.aclose()
            await provider.aclose()
            await provider.open()
            assert violations(await self._turn(provider, self.make_request())) == ()

        self._run(self.make_provider, check)

    # How they run -------------------------------------------------------------------------------------------

    def _run(self, make: Callable[[], Provider], check: Callable[[Provider], Awaitable[None]]) -> None:
        async def body() -> None:
            provider = make()
            async with _opened(provider):
                await check(provider)
            await self._no_task_is_left()

        asyncio.run(body())

    async def _turn(self, provider: Provider, request: TurnRequest) -> list[Item]:
        async with asyncio.timeout(self.turn_within), aclosing(provider.stream(request)) as stream:
            return [item async for item in stream]

    async def _failure(self, provider: Provider, request: TurnRequest) -> tuple[list[Item], AsmError]:
        items: list[Item] = []
        async with asyncio.timeout(self.turn_within), aclosing(provider.stream(request)) as stream:
            while True:
                try:
                    items.append(await anext(stream))
                except AsmError as error:
                    return items, error
                except StopAsyncIteration:
                    raise AssertionError("the turn did not fail") from None

    async def _promptly(self, work: Awaitable[Any]) -> None:
        async with asyncio.timeout(self.cancel_within):
            await work

    async def _no_task_is_left(self) -> None:
        # The loop closes forgotten generators in tasks of its own; they need a few turns, and no time.
        for _ in range(100):
            if len(asyncio.all_tasks()) == 1:
                return
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        raise AssertionError(f"tasks are left: {left}")


@asynccontextmanager
async def _opened(provider: Provider) -> AsyncGenerator[None, None]:
    await provider.open()
    try:
        yield
    finally:
        await provider.aclose()


def _shape(items: Sequence[Item]) -> list[str]:
    """Return the kinds of the items; how often a delta is cut is the network's business."""
    kinds = [type(item).__name__ for item in items if not isinstance(item, Usage | Raw)]
    return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


def _error_of(function: Callable[[], object]) -> AsmError:
    try:
        function()
    except AsmError as error:
        return error
    raise AssertionError("no AsmError was raised")
