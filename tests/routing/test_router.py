"""A router at work, without a system: which target answers, and when another one is asked."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest

from asm_actors.errors import AsmError, ErrorCode, ResourceError, ValidationError
from asm_actors.providers.items import MessageDone, Raw, TextDelta, TurnDone, TurnStarted, Usage
from asm_actors.providers.script import (
    Script,
    crash,
    done,
    fail,
    raw,
    sleep,
    stall,
    text,
    tool_call,
    usage,
    wait,
)
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.routing.breaker import BreakerState, CircuitBreaker
from asm_actors.routing.router import Router
from asm_actors.testing.provider_contract import violations

DOWN = Script(fail("provider_unavailable", "down"))
BROKEN = Script(fail("provider_error", "broken"))
BAD_REQUEST = Script(fail("validation_error", "malformed"))


@pytest.fixture
def route(bench):
    def make(targets, **options):
        return Router(targets, clock=bench.clock, **options)

    return make


def routing_of(items):
    return next(item for item in items if isinstance(item, TurnDone)).metadata["routing"]


# --- The order ------------------------------------------------------------------------------------------------


def test_the_first_target_answers_and_the_policy_says_which_is_first(bench, route, says):
    router = route({"a": says("a"), "b": says("b")})
    assert bench.answer(router) == "a"
    assert bench.answer(router, prefer=["b"]) == "b"
    assert bench.answer(router, exclude=["a"]) == "b"
    assert bench.answer(router, strategy="weighted", weights={"b": 2}) == "b"
    assert bench.answer(route({"a": says("a"), "b": says("b")}, policy={"prefer": ["b"]})) == "b"


def test_the_same_seed_shares_the_load_in_the_same_way(bench, says):
    def answers(seed):
        policy = {"strategy": "random", "weights": {"a": 3}}
        router = Router({"a": says("a"), "b": says("b")}, policy=policy, seed=seed)
        return [bench.answer(router) for _ in range(30)]

    assert answers(5) == answers(5)
    assert set(answers(5)) == {"a", "b"}


def test_only_targets_with_the_required_capabilities_are_asked(bench, route, says):
    router = route(
        {"a": says("a", capabilities=[("chat", "sampling")]), "b": says("b", capabilities=[("bash", "tool")])}
    )
    assert bench.answer(router, required_capabilities=["tool"]) == "b"
    assert bench.answer(router, required_capabilities=[{"type": "tool", "name": "bash"}]) == "b"
    error = bench.error(router, required_capabilities=["prompt"])
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
    assert "a: incapable: prompt" in error.message


def test_a_target_that_cannot_work_is_passed_over(bench, route, says):
    class Keyless(ScriptedProvider):
        def check(self):
            raise AsmError(ErrorCode.PROVIDER_AUTHENTICATION_FAILED, "no key")

    router = route({"a": Keyless(), "b": says("b")})
    router.check()
    items, _ = bench.turn(router)
    assert routing_of(items)["passed_over"] == {"a": "unusable: [provider_authentication_failed] no key"}
    with pytest.raises(AsmError, match="no key") as caught:
        route({"a": Keyless(), "b": Keyless()}).check()
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.PROVIDER_UNAVAILABLE, False)
    with pytest.raises(AsmError) as caught:
        route({"a": Keyless()}).check()
    assert caught.value.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED


# --- Failover -------------------------------------------------------------------------------------------------


def test_a_failure_that_may_be_retried_goes_to_the_next_target(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b")})
    items, error = bench.turn(router)
    assert error is None
    assert violations(items) == ()
    assert items[0] == Raw(
        "routing_failover",
        {
            "error_code": "provider_unavailable",
            "error_message": "down",
            "routed_provider": "b",
            "routing_attempt": 2,
            "routing_candidates": ["a", "b"],
            "failover_from": "a",
            "failover_reason": "provider_unavailable",
        },
    )
    assert routing_of(items) == {
        "routed_provider": "b",
        "routing_attempt": 2,
        "routing_candidates": ["a", "b"],
        "failover_from": "a",
        "failover_reason": "provider_unavailable",
        "attempts": [
            {"provider": "a", "error_code": "provider_unavailable", "error_message": "down"},
            {"provider": "b"},
        ],
    }
    assert router.statistics().failovers == 1


def test_an_answer_at_once_tells_its_way_too(bench, route, says):
    items, _ = bench.turn(route({"a": says("a"), "b": says("b")}))
    assert routing_of(items) == {
        "routed_provider": "a",
        "routing_attempt": 1,
        "routing_candidates": ["a", "b"],
        "attempts": [{"provider": "a"}],
    }


@pytest.mark.parametrize("script", [BROKEN, BAD_REQUEST, Script(fail("provider_authentication_failed"))])
def test_any_other_failure_is_the_turn_s_at_once(bench, route, says, script):
    spare = says("b")
    router = route({"a": says("a", script), "b": spare})
    error = bench.error(router)
    assert error.code == script.steps[-1].error.code
    assert error.details["routing"]["attempts"][0]["provider"] == "a"
    assert spare.calls == 0


def test_nothing_is_asked_again_once_something_was_said(bench, route, says):
    spare = says("b")
    router = route({"a": says("a", Script(text("Hel"), fail("provider_unavailable"))), "b": spare})
    items, error = bench.turn(router)
    assert [type(item) for item in items] == [TurnStarted, TextDelta]
    assert error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert spare.calls == 0


def test_an_opening_is_nothing_said_and_is_told_once(bench, route, says):
    opened = Script(raw("warming"), usage(7, 0), fail("provider_timeout"))
    items, error = bench.turn(route({"a": says("a", opened), "b": says("b")}))
    assert error is None
    assert [type(item) for item in items] == [Raw, Raw, TurnStarted, TextDelta, MessageDone, Usage, TurnDone]
    assert [item.type for item in items[:2]] == ["warming", "routing_failover"]
    assert items[-2] == Usage(10, 20)


def test_an_opening_is_not_held_back_where_nobody_else_could_answer(bench, route):
    slow = ScriptedProvider(Script(usage(1, 0), stall()))

    async def first(router):
        async with aclosing(router.stream(bench.request())) as stream:
            return await anext(stream)

    assert type(asyncio.run(first(route({"a": slow})))) is TurnStarted


@pytest.mark.parametrize(("attempts", "asked"), [(1, "a"), (2, "ab"), (3, "abc"), (9, "abcd")])
def test_so_many_targets_are_asked_each_once(bench, route, says, attempts, asked):
    targets = {name: says(name, DOWN) for name in "abcd"}
    error = bench.error(route(targets), max_attempts=attempts)
    assert "".join(name for name, target in targets.items() if target.calls) == asked
    assert all(target.calls <= 1 for target in targets.values())
    assert [tried["provider"] for tried in error.details["routing"]["attempts"]] == list(asked)


def test_a_crash_of_a_target_is_an_error_that_goes_to_the_next_one(bench, route, says, caplog):
    router = route({"a": says("a", Script(crash())), "b": says("b")})
    items, error = bench.turn(router)
    assert error is None
    assert routing_of(items)["failover_reason"] == "provider_error"
    assert "target a crashed" in caplog.text
    error = bench.error(route({"a": says("a", Script(crash()))}))
    assert (error.code, error.retryable) == (ErrorCode.PROVIDER_ERROR, True)


def test_a_stream_without_an_end_is_an_error(bench, route, says):
    error = bench.error(route({"a": says("a", Script(TurnStarted(), complete=False)), "b": says("b")}))
    assert error.code is ErrorCode.PROVIDER_ERROR
    assert "in the middle of the turn" in error.message


# --- Health ---------------------------------------------------------------------------------------------------


def test_a_target_that_failed_is_left_alone_for_the_cooldown(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b")})
    assert bench.answer(router) == "b"
    bench.pass_time(29.0)
    items, _ = bench.turn(router)
    assert routing_of(items)["passed_over"] == {"a": "unhealthy: provider_unavailable 1 times in a row"}
    bench.pass_time(1.0)
    assert bench.answer(router) == "a"
    assert router.statistics().target("a").failures == 0


def test_a_target_says_itself_for_how_long(bench, route, says):
    busy = Script(fail("provider_rate_limited", retry_after=120.0))
    router = route({"a": says("a", busy), "b": says("b")})
    bench.answer(router)
    bench.pass_time(119.0)
    assert bench.answer(router) == "b"
    bench.pass_time(1.0)
    assert bench.answer(router) == "a"


def test_with_nobody_left_the_error_says_when_somebody_will_be(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b", DOWN)}, policy={"exclude": ["b"]})
    first = bench.error(router)
    assert (first.message, first.retry_after) == ("down", 30.0)
    bench.pass_time(10.0)
    error = bench.error(router)
    assert error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert (error.retryable, error.retry_after) == (True, 20.0)
    assert error.details["routing"]["verdicts"]["b"] == "excluded"
    json.dumps(error.to_map())


def test_an_error_asks_for_no_wait_where_another_target_is_ready(bench, route, says):
    busy = Script(fail("provider_rate_limited", retry_after=120.0))
    error = bench.error(route({"a": says("a", busy), "b": says("b")}), max_attempts=1)
    assert (error.code, error.retry_after) == (ErrorCode.PROVIDER_RATE_LIMITED, None)


def test_a_request_that_is_malformed_is_not_the_target_s_fault(bench, route, says):
    router = route({"a": says("a", BAD_REQUEST)}, breaker=True)
    bench.error(router)
    found = router.statistics().target("a")
    assert (found.failed, found.given_up, found.failures, found.is_healthy) == (0, 1, 0, True)
    assert bench.answer(router) == "a"


def test_failures_that_are_not_retried_count_as_well(bench, route, says):
    router = route({"a": says("a", BROKEN)})
    bench.error(router)
    assert router.statistics().target("a").failures == 1


# --- Breaker --------------------------------------------------------------------------------------------------


def test_a_breaker_opens_half_opens_and_closes(bench, route, says):
    flapping = says("a", DOWN, DOWN, DOWN)
    rules = {"failure_threshold": 2, "cooldown": 60.0}
    router = route({"a": flapping, "b": says("b")}, cooldown=0, breaker=CircuitBreaker(**rules))

    def state():
        return router.statistics().target("a").breaker

    assert [bench.answer(router), state()] == ["b", BreakerState.CLOSED]
    assert [bench.answer(router), state()] == ["b", BreakerState.OPEN]
    bench.pass_time(59.0)
    items, _ = bench.turn(router)
    assert routing_of(items)["passed_over"] == {"a": "refused: open"}
    assert flapping.calls == 2
    bench.pass_time(1.0)
    assert state() is BreakerState.HALF_OPEN
    assert [bench.answer(router), state(), flapping.calls] == ["b", BreakerState.OPEN, 3]
    bench.pass_time(60.0)
    assert [bench.answer(router), state()] == ["a", BreakerState.CLOSED]


def test_a_probe_that_is_cancelled_makes_room_for_the_next(bench, route, says):
    target = says("a", DOWN, Script(text("x"), stall()))
    router = route({"a": target}, cooldown=0, breaker=CircuitBreaker(failure_threshold=1, cooldown=60.0))
    bench.error(router)
    bench.pass_time(60.0)

    async def probe():
        async with aclosing(router.stream(bench.request())) as stream:
            await anext(stream)
            _, error = await bench.collect(router, bench.request())
            return error

    assert "refused: half_open" in asyncio.run(probe()).message
    assert target.abandoned == 1
    assert bench.answer(router) == "a"


# --- Stickiness -----------------------------------------------------------------------------------------------


def test_a_session_stays_with_the_target_it_had_last(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b")}, sticky=True, sticky_ttl=100.0)
    assert bench.answer(router, session="s1") == "b"
    bench.pass_time(60.0)
    assert bench.answer(router, session="s2") == "a"
    assert bench.answer(router, session="s1") == "b"
    assert router.statistics().sticky_sessions == 2
    bench.pass_time(100.0)
    assert bench.answer(router, session="s1") == "a"


def test_stickiness_is_asked_for_by_its_id(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b")})
    assert bench.answer(router, sticky_session_id="k") == "b"
    bench.pass_time(60.0)
    assert bench.answer(router, sticky_session_id="k", session="other") == "b"
    assert bench.answer(router) == "a"
    assert bench.answer(router, sticky_session_id="k", exclude=["b"]) == "a"


def test_a_sticky_target_that_is_ill_is_passed_over(bench, route, says):
    router = route({"a": says("a", Script(text("a")), DOWN), "b": says("b")}, sticky=True)
    assert [bench.answer(router) for _ in range(3)] == ["a", "b", "b"]


def test_a_run_stays_with_its_target_between_its_turns(bench, route, says):
    calls = Script(tool_call("c1", "look"))
    router = route({"a": says("a", DOWN), "b": says("b", calls)})
    bench.turn(router, bench.request(run="r"))
    bench.pass_time(60.0)
    assert bench.answer(router, bench.request(run="r", turn=2)) == "b"
    assert bench.answer(router, bench.request(run="r", turn=3)) == "a"


# --- Time, cancel, concurrency --------------------------------------------------------------------------------


def test_a_target_that_takes_too_long_is_given_up_for_the_next(bench, says):
    slow = says("a", Script(stall()))
    router = Router({"a": {"provider": slow, "timeout": 0.01}, "b": says("b")})
    assert bench.answer(router) == "b"
    assert (slow.open_streams, slow.abandoned) == (0, 1)
    assert router.statistics().target("a").error is ErrorCode.PROVIDER_TIMEOUT


def test_a_provider_s_own_timeout_is_kept(bench, says):
    slow = says("a", Script(stall()))
    slow.timeout = 0.01
    assert bench.answer(Router({"a": slow, "b": says("b")})) == "b"


def test_time_that_the_reader_takes_cancels_nobody_but_the_stream(says, bench):
    router = Router(
        {"a": {"provider": says("a", Script(text("one"), sleep(0), text("two"))), "timeout": 0.01}}
    )

    async def reads_slowly():
        async with aclosing(router.stream(bench.request())) as stream:
            await anext(stream)
            await asyncio.sleep(0.03)
            with pytest.raises(AsmError) as caught:
                await anext(stream)
        return caught.value.code, asyncio.current_task().cancelling()

    assert asyncio.run(reads_slowly()) == (ErrorCode.PROVIDER_TIMEOUT, 0)


def test_a_cancel_closes_the_target_s_stream_and_blames_nobody(bench, route, says):
    target = says("a", Script(text("x"), stall()))
    router = route({"a": target, "b": says("b")}, breaker=True)

    async def cancelled():
        task = asyncio.create_task(bench.collect(router, bench.request(run="r")))
        for _ in range(20):
            await asyncio.sleep(0)
        assert router.statistics().active_runs == {"r": "a"}
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(cancelled())
    found = router.statistics()
    assert (target.open_streams, found.active_runs) == (0, {})
    assert (found.target("a").given_up, found.target("a").failures, found.target("a").in_flight) == (1, 0, 0)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_a_stream_that_is_closed_has_closed_the_target_s(bench, says, timeout):
    target = says("a", Script(text("x"), stall()))
    router = Router({"a": {"provider": target, "timeout": timeout}})

    async def closed():
        stream = router.stream(bench.request())
        await anext(stream)
        assert target.open_streams == 1
        await stream.aclose()
        return target.open_streams

    assert asyncio.run(closed()) == 0


def test_a_target_that_cannot_close_its_stream_turns_no_cancel_into_an_error(bench, caplog):
    class Clumsy(ScriptedProvider):
        async def stream(self, request):
            try:
                yield TurnStarted()
                await asyncio.sleep(3600)
            finally:
                raise RuntimeError("stuck")

    router = Router({"a": Clumsy(), "b": ScriptedProvider()}, policy={"max_attempts": 1})

    async def closed():
        stream = router.stream(bench.request())
        await anext(stream)
        await stream.aclose()

    asyncio.run(closed())
    assert "could not close its stream" in caplog.text
    assert router.statistics().target("a").failures == 0


def test_the_last_target_s_error_keeps_its_cause_and_is_not_changed(bench, route):
    raised = AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "mine", details={"own": 1})

    class Raises(ScriptedProvider):
        async def stream(self, request):
            raise raised
            yield

    error = bench.error(route({"a": Raises()}))
    assert error.__cause__ is raised
    assert (raised.details, raised.retry_after) == ({"own": 1}, None)
    assert set(error.details) == {"own", "routing"}


def test_streams_at_once_do_not_hinder_each_other(bench, route, says):
    gate = asyncio.Event()

    def scripts(request):
        return Script(wait(gate), text("late")) if request.run_id == "slow" else Script(text("now"))

    router = route({"a": ScriptedProvider(scripts)})

    async def both():
        slow = asyncio.create_task(bench.collect(router, bench.request(run="slow")))
        await asyncio.sleep(0)
        items, error = await bench.collect(router, bench.request())
        assert error is None
        assert not slow.done()
        gate.set()
        return items, (await slow)[0]

    now, late = asyncio.run(both())
    assert [items[1].text for items in (now, late)] == ["now", "late"]


def test_a_target_is_opened_once_also_if_many_need_it_at_once(bench, says):
    class Slow(ScriptedProvider):
        opened = 0

        async def open(self):
            self.opened += 1
            await asyncio.sleep(0)

    target = Slow()
    router = Router({"a": target})

    async def many():
        return await asyncio.gather(*(bench.collect(router, bench.request()) for _ in range(5)))

    assert [error for _, error in asyncio.run(many())] == [None] * 5
    assert target.opened == 1


def test_a_target_that_cannot_be_opened_is_a_failure_of_it_alone(bench, route, says):
    class Closed(ScriptedProvider):
        async def open(self):
            raise AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "closed")

    router = route({"a": Closed(), "b": says("b")})
    asyncio.run(router.open())
    assert bench.answer(router) == "b"
    assert router.statistics().target("a").failures == 1


def test_whoever_opens_a_target_may_be_cancelled(bench):
    class Slow(ScriptedProvider):
        opened = 0

        async def open(self):
            self.opened += 1
            await asyncio.sleep(0.01)

    target = Slow()
    router = Router({"a": target})

    async def two():
        first = asyncio.create_task(bench.collect(router, bench.request()))
        second = asyncio.create_task(bench.collect(router, bench.request()))
        await asyncio.sleep(0)
        first.cancel()
        return (await second)[1]

    assert asyncio.run(two()) is None
    assert target.opened == 2


# --- Nested, and changed --------------------------------------------------------------------------------------


def test_a_router_in_a_router(bench, route, says):
    inner = route({"x": says("x", DOWN, capabilities=[("bash", "tool")]), "y": says("y", DOWN)})
    outer = route({"inner": inner, "b": says("b")})
    assert {"bash", "chat"} <= {found.name for found in outer.capabilities().capabilities}
    items, error = bench.turn(outer)
    assert error is None
    assert violations(items) == ()
    assert [item.type for item in items if isinstance(item, Raw)] == ["routing_failover"] * 2
    first, second = routing_of(items)["attempts"]
    assert (first["provider"], second["provider"]) == ("inner", "b")
    bench.pass_time(30.0)
    items, _ = bench.turn(outer)
    way = routing_of(items)
    assert (way["routed_provider"], way["attempts"][0]["routing"]["routed_provider"]) == ("inner", "x")
    json.dumps(way)


def test_hints_reach_routers_and_no_other_targets(bench, route, says):
    plain = says("x")
    outer = route({"inner": route({"x": plain, "y": says("y")}), "b": says("b")})
    assert bench.answer(outer, prefer=["y"]) == "y"
    assert bench.answer(outer) == "x"
    assert "routing" not in plain.requests[-1].options


def test_options_of_a_target_stand_below_those_of_a_request(bench, says):
    plain = says("x")
    router = Router({"x": {"provider": plain, "options": {"model": "m", "max_tokens": 5}}})
    request = bench.request()._replace(options={"model": "n", "routing": {}})
    bench.answer(router, request)
    assert plain.requests[-1].options == {"model": "n", "max_tokens": 5}


def test_targets_come_and_go(bench, route, says):
    router = route({"a": says("a", DOWN)}, sticky=True)
    bench.error(router)
    with pytest.raises(ResourceError):
        router.add("a", says("a"))
    router.add("b", says("b", resumable=True))
    assert bench.answer(router) == "b"
    router.remove("a")
    assert router.resumable
    router.add("a", says("a"))
    assert not router.resumable
    assert router.statistics().target("a").started == 0
    router.remove("b")
    assert bench.answer(router) == "a"
    router.remove("a")
    with pytest.raises(ResourceError):
        router.remove("a")
    error = bench.error(router)
    assert (error.retryable, "no target" in error.message) == (False, True)
    with pytest.raises(AsmError):
        router.check()


def test_a_target_that_is_taken_out_answers_to_the_end_and_is_closed_with_the_router(bench, route):
    class Watched(ScriptedProvider):
        closed = 0

        async def aclose(self):
            self.closed += 1

    target = Watched(chunks=3)
    router = route({"a": target, "b": Watched()})

    async def work():
        async with aclosing(router.stream(bench.request())) as stream:
            await anext(stream)
            router.remove("a")
            items = [item async for item in stream]
        await router.aclose()
        return items

    assert type(asyncio.run(work())[-1]) is TurnDone
    assert target.closed == 1


def test_secrets_of_the_targets_are_those_of_the_router(says):
    class Keyed(ScriptedProvider):
        def secrets(self):
            return ("sk-one",)

    assert list(Router({"r": Router({"a": Keyed()}), "b": says("b")}).secrets()) == ["sk-one"]


def test_the_statistics_are_values(bench, route, says):
    router = route({"a": says("a", DOWN), "b": says("b")}, breaker=True)
    bench.answer(router)
    found = router.statistics()
    assert (found.target("a").started, found.target("a").failed, found.target("a").ready_in) == (1, 1, 30.0)
    assert (found.target("b").succeeded, found.target("b").is_healthy) == (1, True)
    assert json.loads(json.dumps(found.to_map()))["targets"][0]["breaker"] == "closed"
    with pytest.raises(KeyError):
        found.target("c")
    assert Router({"a": says("a")}).statistics().target("a").breaker is None


def test_without_a_clock_the_loop_s_time_counts(bench, says):
    router = Router({"a": says("a", DOWN)}, cooldown=3600)
    assert 3599 < bench.error(router).retry_after <= 3600


@pytest.mark.parametrize(
    ("targets", "options"),
    [
        ({}, {}),
        (["a"], {}),
        ({"": None}, {}),
        ({"a": "claude"}, {}),
        ({"a": {"options": {}}}, {}),
        ({"a": {"provider": ScriptedProvider(), "weight": 1}}, {}),
        ({"a": {"provider": ScriptedProvider(), "timeout": 0}}, {}),
        ({"a": {"provider": ScriptedProvider(), "options": []}}, {}),
        ({"a": ScriptedProvider()}, {"policy": {"x": 1}}),
        ({"a": ScriptedProvider()}, {"policy": "prefer"}),
        ({"a": ScriptedProvider()}, {"cooldown": -1}),
        ({"a": ScriptedProvider()}, {"sticky_ttl": "1"}),
        ({"a": ScriptedProvider()}, {"breaker": 5}),
        ({"a": ScriptedProvider()}, {"timeout": 0}),
        ({"a": ScriptedProvider()}, {"name": ""}),
        ({"a": ScriptedProvider()}, {"seed": []}),
        ({"a": ScriptedProvider()}, {"seed": "x"}),
    ],
)
def test_malformed_arguments_are_refused(targets, options):
    with pytest.raises(ValidationError):
        Router(targets, **options)


def test_a_router_is_no_target_of_itself(says):
    router = Router({"a": says("a")})
    with pytest.raises(ValidationError):
        router.add("b", router)


def test_an_answer_that_names_its_stop_reason_keeps_it(bench, route):
    router = route({"a": ScriptedProvider(Script(text("x"), done("max_tokens", metadata={"id": 7})))})
    items, _ = bench.turn(router)
    assert (items[-1].stop_reason, items[-1].metadata["id"]) == ("max_tokens", 7)
