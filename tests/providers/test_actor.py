"""A provider's actor between its runs (probes here) and a scripted provider, on the simulation."""

from __future__ import annotations

import asyncio
import logging

import pytest

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers import messages as m
from asm_actors.providers.actor import MAX_HELD
from asm_actors.providers.base import BaseProvider, TurnRequest
from asm_actors.providers.items import Raw, TextDelta, TurnDone, TurnStarted, Usage
from asm_actors.providers.retry import RetryPolicy
from asm_actors.providers.script import Script, crash, fail, raw, sleep, stall, text, usage, wait
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import provider_name
from asm_actors.testing.system import SimulatedSystem
from supervisors import Down
from supervisors.testing import Gate, Probe

pytestmark = pytest.mark.usefixtures("_quiet_logs")
BUSY = AsmError(ErrorCode.PROVIDER_RATE_LIMITED, "busy", retry_after=7.0)
REFUSED = AsmError(ErrorCode.PROVIDER_AUTHENTICATION_FAILED, "no key")


@pytest.fixture
def _quiet_logs(caplog):
    for name in ("pykka", "supervisors.reports", "asm_actors"):
        caplog.set_level(logging.CRITICAL + 1, logger=name)


class Bench:
    """A system whose provider ``mock`` is asked by probes instead of by runs."""

    def __init__(self, sim):
        self.sim = sim
        self.probes = {}

    @property
    def ref(self):
        return self.sim.services.whereis(provider_name("mock"))

    def start(self, run_id="run_1", *, settle=True, attempt=1):
        probe = self.probes[run_id] = Probe(self.sim.dispatcher)
        self.ref.tell(m.StartTurn(probe.ref, TurnRequest("ses_1", run_id, attempt=attempt)))
        if settle:
            self.sim.settle()
        return probe

    def tell(self, message):
        self.ref.tell(message)
        self.sim.settle()

    def statistics(self):
        numbers = self.ref.life.actor.statistics()
        return numbers.in_flight, numbers.started, numbers.failed, numbers.retried


@pytest.fixture
def bench():
    """Makes a bench around a provider; each is stopped after the test."""
    made = []

    def make(provider, *, seed=0, **options):
        sim = SimulatedSystem(seed, providers={"mock": provider}, **options)
        made.append(sim)
        return Bench(sim.__enter__())

    yield make
    for sim in made:
        sim.__exit__(None, None, None)


def kinds(items):
    return [type(item).__name__ for item in items]


def said(probe):
    """All text that a run has heard."""
    return "".join(
        item.text
        for message in probe.messages
        if type(message) is m.TurnItems
        for item in message.items
        if type(item) is TextDelta
    )


# --- Streams and credit --------------------------------------------------------------------------------------------


def test_a_turn_is_told_to_its_run_and_ends_with_its_last_items(bench):
    it = bench(ScriptedProvider(Script(text("Hello"))))
    probe = it.start()
    (message,) = probe.messages
    assert message.is_last
    assert message.error is None
    assert kinds(message.items) == ["TurnStarted", "TextDelta", "MessageDone", "Usage", "TurnDone"]
    assert it.statistics() == (0, 1, 0, 0)


def test_when_the_credit_is_used_up_nothing_is_sent_until_it_is_asked_for(bench):
    gates = [Gate() for _ in range(m.CREDIT + 2)]
    steps = [step for gate in gates for step in (wait(gate), text("x"))]
    it = bench(ScriptedProvider(Script(text("a"), *steps)))
    probe = it.start()
    for gate in gates[:-1]:
        gate.open()
        it.sim.settle()
    sent = "a" + "x" * (m.CREDIT - 1)
    assert said(probe) == sent
    it.tell(m.More("run_1"))
    assert said(probe) == sent + "xx"
    it.tell(m.More("run_1", 2))
    gates[-1].open()
    it.sim.settle()
    assert said(probe) == sent + "xxx"
    assert probe.messages[-1].is_last


def test_a_stream_is_not_read_further_than_what_may_be_held(bench):
    provider = ScriptedProvider(Script(text("x" * 2000, size=1)))
    it = bench(provider)
    probe = it.start()
    assert len(said(probe)) <= m.CREDIT * MAX_HELD
    assert provider.open_streams == 1
    for _ in range(20):
        it.tell(m.More("run_1"))
    assert len(said(probe)) == 2000
    assert probe.messages[-1].is_last
    assert max(len(message.items) for message in probe.messages) <= MAX_HELD + 4


@pytest.mark.parametrize("seed", range(5))
def test_calls_are_independent_of_each_other(bench, seed):
    gate = Gate()
    scripts = {
        "run_1": Script(text("one"), wait(gate), text("!")),
        "run_2": Script(fail(REFUSED)),
        "run_3": Script(text("three")),
        "run_4": Script(stall()),
    }
    it = bench(ScriptedProvider(lambda request: scripts[request.run_id]), seed=seed)
    probes = [it.start(run_id, settle=False) for run_id in scripts]
    it.sim.settle()
    it.tell(m.CancelTurn("run_4"))
    assert probes[1].messages[-1].error.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    assert said(probes[2]) == "three"
    assert probes[3].messages == [m.TurnStopped(())]
    assert it.statistics()[0] == 1
    gate.open()
    it.tell(m.More("run_1"))
    assert said(probes[0]) == "one!"


def test_more_for_a_call_that_is_over_is_ignored(bench):
    it = bench(ScriptedProvider())
    probe = it.start()
    it.tell(m.More("run_1"))
    it.tell(m.More("nobody"))
    assert len(probe.messages) == 1


# --- Cancel ------------------------------------------------------------------------------------------------------


def test_a_cancelled_turn_closes_its_stream_and_hands_over_what_had_arrived(bench):
    provider = ScriptedProvider(Script(text("Hel"), usage(3, 1), stall()))
    it = bench(provider)
    probe = it.start()
    it.tell(m.CancelTurn("run_1"))
    assert type(probe.messages[-1]) is m.TurnStopped
    assert provider.open_streams == 0
    assert it.statistics()[0] == 0


def test_a_turn_that_is_cancelled_before_its_task_begins_is_stopped_too(bench):
    provider = ScriptedProvider()
    for seed in range(10):
        it = bench(provider, seed=seed)
        probe = it.start(settle=False)
        it.ref.tell(m.CancelTurn("run_1"))
        it.sim.settle()
        last = probe.messages[-1]
        assert type(last) is m.TurnStopped or last.is_last, f"seed {seed}"
        assert it.statistics()[0] == 0
    assert provider.open_streams == 0


def test_every_cancel_finds_an_end_whenever_it_comes(bench):
    provider = ScriptedProvider(Script(text("Hello", size=1), usage(1, 1)))
    for steps in range(30):
        it = bench(provider, seed=steps)
        probe = it.start(settle=False)
        it.sim.steps(steps)
        it.ref.tell(m.CancelTurn("run_1"))
        it.sim.settle()
        ends = [e for e in probe.messages if type(e) is m.TurnStopped or getattr(e, "is_last", False)]
        assert len(ends) == 1, f"{steps} steps"
        assert it.statistics()[0] == 0
    assert provider.open_streams == 0


def test_a_cancel_during_the_pause_before_a_retry_ends_the_pause(bench):
    it = bench(ScriptedProvider(Script(fail(BUSY))))
    probe = it.start()
    assert type(probe.messages[-1]) is m.TurnRetries
    it.tell(m.CancelTurn("run_1"))
    assert probe.messages[-1] == m.TurnStopped(())
    it.sim.advance(60)
    assert type(probe.messages[-1]) is m.TurnStopped


def test_a_cancel_while_the_stream_waits_for_room_hands_over_all_that_is_held(bench):
    it = bench(ScriptedProvider(Script(text("x" * 2000, size=1))))
    probe = it.start()
    it.tell(m.CancelTurn("run_1"))
    assert len(probe.messages[-1].items) == MAX_HELD


class _Stubborn(BaseProvider):
    """Goes on after its cancellation, or fails while it is closed."""

    def __init__(self, error=None):
        self.error = error
        self.n_yielded = 0

    async def stream(self, request):
        yield TurnStarted()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if self.error is not None:
                raise self.error from None
        while True:
            self.n_yielded += 1
            yield TextDelta("more")


def test_a_provider_that_swallows_its_cancellation_is_closed_all_the_same(bench):
    provider = _Stubborn()
    it = bench(provider)
    probe = it.start()
    it.tell(m.CancelTurn("run_1"))
    assert type(probe.messages[-1]) is m.TurnStopped
    assert provider.n_yielded == 1


def test_a_stream_that_fails_while_it_is_closed_is_closed_and_not_tried_again(bench):
    it = bench(_Stubborn(AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "reset by peer")))
    probe = it.start()
    it.tell(m.CancelTurn("run_1"))
    assert type(probe.messages[-1]) is m.TurnStopped
    assert it.statistics() == (0, 1, 0, 0)


def test_a_run_that_dies_has_its_stream_closed(bench):
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    it = bench(provider)
    it.start("run_1").ref.kill()
    other = it.start("run_2")
    it.sim.settle()
    assert provider.open_streams == 1
    assert it.statistics()[0] == 1
    it.tell(m.CancelTurn("run_2"))
    assert type(other.messages[-1]) is m.TurnStopped


def test_a_run_that_is_dead_already_gets_no_stream(bench):
    provider = ScriptedProvider(Script(stall()))
    it = bench(provider)
    probe = Probe(it.sim.dispatcher)
    probe.ref.kill()
    it.sim.settle()
    it.tell(m.StartTurn(probe.ref, TurnRequest("ses_1", "run_1")))
    assert provider.open_streams == 0
    assert it.statistics()[0] == 0


# --- Failures and retries --------------------------------------------------------------------------------------------


def test_a_retryable_failure_is_tried_again_after_the_time_the_provider_asked_for(bench):
    provider = ScriptedProvider([Script(fail(BUSY)), Script(text("Thanks"))])
    it = bench(provider, retry=RetryPolicy(jitter=0))
    probe = it.start()
    (message,) = probe.messages
    assert (message.error.code, message.attempt, message.delay_s) == (ErrorCode.PROVIDER_RATE_LIMITED, 1, 7.0)
    it.sim.advance(6.9)
    assert provider.calls == 1
    it.sim.advance(0.2)
    assert said(probe) == "Thanks"
    assert [request.attempt for request in provider.requests] == [1, 2]
    assert it.statistics() == (0, 1, 0, 1)


def test_retries_are_spent_and_then_the_error_is_told(bench):
    provider = ScriptedProvider(Script(fail("provider_unavailable", "down")))
    it = bench(provider, retry=RetryPolicy(max_attempts=3, jitter=0))
    probe = it.start()
    it.sim.advance(60)
    assert [type(message).__name__ for message in probe.messages] == [
        "TurnRetries",
        "TurnRetries",
        "TurnItems",
    ]
    assert probe.messages[-1].error.code is ErrorCode.PROVIDER_UNAVAILABLE
    assert provider.calls == 3
    assert it.statistics() == (0, 1, 1, 2)


def test_attempts_of_an_earlier_life_of_the_provider_count(bench):
    provider = ScriptedProvider(Script(fail("provider_unavailable", "down")))
    it = bench(provider, retry=RetryPolicy(max_attempts=3, jitter=0))
    it.start(attempt=3)
    assert provider.calls == 1


def test_what_cannot_be_retried_fails_at_once(bench):
    provider = ScriptedProvider(Script(fail(REFUSED)))
    it = bench(provider)
    assert it.start().messages[-1].error.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    assert provider.calls == 1


@pytest.mark.parametrize(("resumable", "calls"), [(False, 1), (True, 2)])
def test_a_turn_that_has_spoken_is_tried_again_only_if_the_provider_can_resume(bench, resumable, calls):
    script = [Script(text("Hel"), fail("provider_unavailable")), Script(text("Hello"))]
    provider = ScriptedProvider(script, resumable=resumable)
    it = bench(provider)
    it.start()
    it.sim.advance(60)
    assert provider.calls == calls


def test_a_turn_that_has_only_reported_may_be_tried_again(bench):
    provider = ScriptedProvider(
        [Script(raw("warming_up"), usage(1, 0), fail("provider_unavailable")), Script()]
    )
    it = bench(provider)
    probe = it.start()
    it.sim.advance(60)
    assert provider.calls == 2
    assert not any(
        type(item) is Raw for message in probe.messages[1:] for item in getattr(message, "items", ())
    )


def test_a_turn_that_takes_longer_than_the_provider_may_is_a_provider_timeout(bench):
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    provider.timeout = 5.0
    it = bench(provider, retry=RetryPolicy(max_attempts=1))
    probe = it.start()
    it.sim.advance(4.9)
    assert it.statistics()[0] == 1
    it.sim.advance(0.2)
    error = probe.messages[-1].error
    assert error.code is ErrorCode.PROVIDER_TIMEOUT
    assert error.retryable
    assert provider.open_streams == 0


def test_a_timeout_of_the_providers_own_that_it_did_not_turn_into_an_error_is_a_crash(bench):
    provider = ScriptedProvider(Script(crash(TimeoutError("some socket"))))
    provider.timeout = 5.0
    it = bench(provider)
    before = it.ref
    probe = it.start()
    assert not before.is_alive()
    assert probe.messages == []


def test_the_time_of_a_turn_begins_anew_with_each_attempt(bench):
    scripts = [Script(sleep(4), fail("provider_unavailable")), Script(sleep(4), text("Done"))]
    provider = ScriptedProvider(scripts)
    provider.timeout = 5.0
    it = bench(provider, retry=RetryPolicy(jitter=0))
    probe = it.start()
    it.sim.advance(20)
    assert probe.messages[-1].error is None
    assert said(probe) == "Done"


# --- Opening and closing ---------------------------------------------------------------------------------------------


class _Opening(BaseProvider):
    """Counts its openings and closings; fails or crashes at some of them."""

    def __init__(self, *failures, close_error=None):
        self.failures = list(failures)
        self.close_error = close_error
        self.opened = self.closed = 0
        self.gate = None

    async def open(self):
        self.opened += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)

    async def aclose(self):
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error

    async def stream(self, request):
        yield TurnStarted()
        yield TextDelta("Hi")
        yield Usage(1, 1)
        yield TurnDone()


def test_a_provider_is_opened_once_by_whoever_needs_it_first(bench):
    provider = _Opening()
    provider.gate = Gate()
    it = bench(provider)
    probes = [it.start(f"run_{n}") for n in range(3)]
    assert [len(probe) for probe in probes] == [0, 0, 0]
    provider.gate.open()
    it.sim.settle()
    it.start("run_4")
    assert [said(probe) for probe in it.probes.values()] == ["Hi"] * 4
    assert provider.opened == 1


def test_a_provider_that_cannot_be_opened_fails_the_turn_and_is_tried_by_the_next_one(bench):
    provider = _Opening(REFUSED)
    it = bench(provider)
    assert it.start("run_1").messages[-1].error.code is ErrorCode.PROVIDER_AUTHENTICATION_FAILED
    assert said(it.start("run_2")) == "Hi"
    assert provider.opened == 2


def test_an_opening_that_may_be_tried_again_is(bench):
    provider = _Opening(AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "later"))
    it = bench(provider)
    probe = it.start()
    it.sim.advance(5)
    assert said(probe) == "Hi"


def test_a_turn_that_is_cancelled_while_the_provider_opens_does_not_disturb_the_others(bench):
    provider = _Opening()
    provider.gate = Gate()
    it = bench(provider)
    first, second = it.start("run_1"), it.start("run_2")
    it.tell(m.CancelTurn("run_1"))
    assert first.messages == [m.TurnStopped(())]
    provider.gate.open()
    it.sim.settle()
    assert said(second) == "Hi"


def test_an_opening_that_crashes_crashes_the_actor_which_is_started_again(bench):
    provider = _Opening(RuntimeError("a defect"))
    it = bench(provider)
    before = it.ref
    it.start("run_1", settle=False)
    it.start("run_2", settle=False)
    it.sim.advance(1)
    assert it.ref is not None
    assert it.ref is not before
    assert said(it.start("run_3")) == "Hi"


def test_at_the_end_the_streams_are_closed_first_and_then_the_provider(bench):
    provider = ScriptedProvider(Script(text("Hel"), stall()))
    it = bench(provider)
    it.start()
    open_at_close = []
    provider.aclose = lambda: _note(open_at_close, provider.open_streams)
    it.sim.system.stop()
    assert open_at_close == [0]


async def _note(into, value):
    into.append(value)


def test_a_provider_that_cannot_be_closed_does_not_keep_the_system_from_stopping(bench, caplog):
    caplog.set_level(logging.ERROR, logger="pykka")
    it = bench(_Opening(close_error=RuntimeError("will not close")))
    it.start()
    it.sim.system.stop()
    assert "will not close" in caplog.text


# --- Crashes -----------------------------------------------------------------------------------------------------


def test_what_a_provider_raises_without_meaning_to_crashes_it_and_closes_all_its_streams(bench):
    scripts = {"run_1": Script(text("Hel"), stall()), "run_2": Script(crash())}
    provider = ScriptedProvider(lambda request: scripts[request.run_id])
    it = bench(provider)
    before = it.ref
    it.start("run_1")
    it.start("run_2")
    assert not before.is_alive()
    assert provider.open_streams == 0
    it.sim.advance(1)
    scripts["run_3"] = Script(text("Back"))
    assert said(it.start("run_3")) == "Back"


def test_a_turn_that_is_asked_for_while_the_provider_closes_is_not_begun(bench):
    gate = Gate()
    provider = ScriptedProvider(Script(stall()))
    it = bench(provider)
    provider.aclose = gate.wait
    ref = it.ref
    ref.stop(block=False)
    it.sim.settle()
    assert ref.is_alive()
    it.start()
    assert provider.calls == 0
    gate.open()
    it.sim.settle()
    assert not ref.is_alive()


def test_nobody_hears_of_an_end_of_a_provider_twice(bench):
    it = bench(ScriptedProvider(Script(text("Hi"))))
    probe = it.start()
    it.ref.kill()
    it.sim.settle()
    assert not any(type(message) is Down for message in probe.messages)
