"""Runs under way when everything ends: taken up again by their policies; nothing done is done twice."""

from __future__ import annotations

import asyncio

import pytest

import asm_actors as asm
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.lmdb_store import LmdbStore
from asm_actors.providers.script import Script, stall, text, tool_call, tool_result, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.services import JOURNAL
from asm_actors.testing.system import SimulatedSystem
from supervisors.testing import Gate

pytestmark = pytest.mark.usefixtures("_quiet_logs")

POLICIES = ("resume", "retry", "fail")
CALLS = Script(
    text("Let me see. "),
    tool_call("call_1", "note", {"n": 1}),
    tool_call("call_2", "charge", {"n": 2}),
    usage(10, 5),
)


class World:
    """Systems one after the other on one journal, a provider that stalls where it is told to, and tools that count.

    ``note`` is safe to repeat, ``charge`` is not; both return at once unless `held` names them.
    """

    def __init__(self, store=None, **options):
        self.made = []
        self.held = set()
        self.gate = Gate()
        self.stalls_in = None
        self.last = Script(text("Done."), usage(20, 7))

        @asm.tool(safe_to_repeat=True, timeout=None)
        async def note(n: int) -> str:
            return await self._made("note", n)

        @asm.tool(timeout=None)
        async def charge(n: int) -> str:
            return await self._made("charge", n)

        self.provider = ScriptedProvider(self._script)
        self.sim = SimulatedSystem(
            providers={"mock": self.provider}, tools=[note, charge], store=store, **options
        )

    async def _made(self, name, n):
        self.made.append(name)
        if name in self.held:
            await self.gate.wait()
        return f"{name} {n}"

    def _script(self, request):
        if request.turn == self.stalls_in:
            return Script(text("Well, "), stall())
        return CALLS if request.turn == 1 else self.last

    def start(self, **options):
        session = self.sim.active_session()
        run = self.sim.manager.submit_run(session.id, "Compute", **options)
        self.sim.settle()
        return run

    def go_on(self):
        """Whatever held the run back is gone."""
        self.stalls_in = None
        self.held = set()

    def types(self, run):
        return [kind for kind in self.sim.types_of(run.id) if kind != "message_streamed"]

    def recovered(self, run):
        return [event.data for event in self.sim.events_of(run.id) if event.type == "run_recovered"]


@pytest.fixture(params=["memory", "lmdb"])
def world(request, tmp_path):
    """Makes a `World`; on either store."""
    made = []

    def make(**options):
        store = LmdbStore(tmp_path / "journal", durability="none") if request.param == "lmdb" else None
        made.append(World(store, **options))
        made[-1].sim.__enter__()
        return made[-1]

    yield make
    for each in made:
        each.sim.__exit__(None, None, None)


def at_streaming(w):
    w.stalls_in = 1


def at_second_turn(w):
    w.stalls_in = 2


def at_safe_call(w):
    w.held = {"note"}


def at_unsafe_call(w):
    w.held = {"charge"}


PHASES = {
    "streaming cut": (at_streaming, []),
    "between turns, the next one cut": (at_second_turn, ["note", "charge"]),
    "tool started, safe to repeat": (at_safe_call, ["note", "charge"]),
    "tool started, not safe": (at_unsafe_call, ["note", "charge"]),
}


# --- Every policy in every phase ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_run_follows_its_policy_wherever_it_was(world, phase, policy, how):
    arrange, made = PHASES[phase]
    w = world()
    arrange(w)
    run = w.start(on_restart=policy, on_unknown_outcome="report")
    assert w.made == made
    w.go_on()
    w.sim.kill() if how == "kill" else w.sim.restart()
    w.sim.settle()
    record = w.sim.run(run.id)
    assert record.recoveries == (1 if how == "kill" and policy != "fail" else 0)
    assert w.sim.types_of(run.id).count("run_interrupted") == (how == "stop")
    if policy == "fail":
        assert (record.status, record.error["code"]) == ("failed", "interrupted")
        assert w.made == made
        assert w.recovered(run) == []
    else:
        assert (record.status, record.output["content"]) == ("completed", "Done.")
        (data,) = w.recovered(run)
        assert data["interrupted_by"] == ("crash" if how == "kill" else "stop")
        repeated = {
            "streaming cut": ["note", "charge"],
            "tool started, safe to repeat": ["note"],
        }
        begins_again = policy == "retry" and phase != "tool started, not safe"
        assert data["decision"] == ("retry" if begins_again else "resume")
        assert w.made[len(made) :] == (["note", "charge"] if begins_again else repeated.get(phase, []))
    assert w.sim.types_of(run.id).count("run_started") == 1
    w.sim.check_promises()


def test_the_conversation_is_the_same_as_if_nothing_had_happened(world):
    w = world()
    w.start()
    expected = w.provider.requests[-1].messages
    w.stalls_in = 2
    run = w.start()
    w.go_on()
    w.sim.kill()
    w.sim.settle()
    again = w.provider.requests[-1]
    assert again.run_id == run.id
    assert (again.turn, again.messages) == (2, expected)
    assert w.sim.run(run.id).token_usage == {"input_tokens": 30, "output_tokens": 12}
    assert w.sim.run(run.id).turn_count == 2


def test_what_was_cut_is_told(world):
    w = world()
    w.stalls_in = 2
    run = w.start()
    w.go_on()
    w.sim.kill()
    w.sim.settle()
    (data,) = w.recovered(run)
    assert (data["decision"], data["from_turn"], data["discarded_events"]) == ("resume", 2, 1)
    after = [e for e in w.sim.events_of(run.id) if e.sequence_number > data["discarded_after"]]
    assert [e.type for e in after][:2] == ["message_streamed", "run_recovered"]


def test_a_turn_in_which_the_provider_called_tools_of_its_own_is_not_repeated(world):
    w = world()
    w.last = Script(tool_call("x", "search"), tool_result("x", "search", "found"), stall(), complete=False)
    for turn in (1, 2):
        w.provider._choose = (lambda request: w.last) if turn == 1 else w._script
        run = w.start()
        w.sim.kill()
        w.sim.settle()
        assert w.sim.run(run.id).error["code"] == "interrupted"
        assert "tools of its own" in w.sim.run(run.id).error["message"]
        w.sim.check_promises()


def test_unless_it_is_resumable(world):
    w = world()
    w.provider.resumable = True
    w.last = Script(tool_call("x", "search"), tool_result("x", "search", "found"), stall(), complete=False)
    run = w.start()
    w.last = Script(text("Done."))
    w.sim.kill()
    w.sim.settle()
    assert w.sim.run(run.id).status == "completed"


def test_queued_runs_come_behind_those_that_are_taken_up_in_their_order(world):
    w = world()
    w.stalls_in = 1
    first = w.start()
    others = [w.sim.manager.submit_run(first.session_id, str(n)).id for n in range(3)]
    w.go_on()
    w.sim.kill()
    w.sim.settle()
    order = list(dict.fromkeys(request.run_id for request in w.provider.requests))
    assert order == [first.id, *others]
    assert {w.sim.run(run_id).recoveries for run_id in others} == {0}


# --- Unknown outcomes --------------------------------------------------------------------------------------------


def lost_call(w, **options):
    w.held = {"charge"}
    run = w.start(**options)
    w.go_on()
    w.sim.kill()
    w.sim.settle()
    return run


def test_a_call_whose_outcome_is_unknown_fails_the_run_and_is_never_repeated(world):
    w = world()
    run = lost_call(w)
    error = w.sim.run(run.id).error
    assert error["code"] == "outcome_unknown"
    assert "charge (call_2)" in error["message"]
    assert w.made == ["note", "charge"]
    with pytest.raises(AsmError) as caught:
        w.sim.manager.await_run(run.id)
    assert caught.value.code is ErrorCode.OUTCOME_UNKNOWN
    w.sim.check_promises()


@pytest.mark.parametrize("restarts", [0, 1, 2])
@pytest.mark.parametrize("decision", ["grant", "deny"])
def test_a_question_survives_restarts_until_it_is_decided(world, decision, restarts):
    w = world()
    run = lost_call(w, on_unknown_outcome="ask")
    for _ in range(restarts):
        w.sim.kill()
        w.sim.settle()
    assert w.sim.run(run.id).status == "awaiting_approval"
    assert w.sim.run(run.id).recoveries == 1
    decide = getattr(w.sim.manager, f"{decision}_approval")
    assert decide(run.id, "call_2", by="ann", reason="I looked").status == "running"
    assert decide(run.id, "call_2").id == run.id
    w.sim.settle()
    assert w.sim.manager.deny_approval(run.id, "call_2").status == "completed"
    assert w.made == ["note", "charge", *(["charge"] if decision == "grant" else [])]
    types = w.types(run)
    assert types.count("tool_approval_requested") == 1
    assert types.count(f"tool_approval_{'granted' if decision == 'grant' else 'denied'}") == 1
    answer = w.provider.requests[-1].messages[-1]
    assert answer["is_error"] is (decision == "deny")
    w.sim.check_promises()


def test_a_run_that_is_to_begin_again_fails_too(world):
    w = world()
    run = lost_call(w, on_restart="retry")
    error = w.sim.run(run.id).error
    assert (error["code"], error["details"]["unknown_tool_calls"]) == ("outcome_unknown", ["call_2"])
    assert w.made == ["note", "charge"]
    w.sim.check_promises()


@pytest.mark.parametrize("restarts", [0, 2])
@pytest.mark.parametrize("decision", ["grant", "deny"])
def test_or_begins_again_only_if_that_is_granted(world, decision, restarts):
    w = world()
    run = lost_call(w, on_restart="retry", on_unknown_outcome="ask")
    for _ in range(restarts):
        w.sim.kill()
        w.sim.settle()
    assert (w.sim.run(run.id).status, w.made) == ("awaiting_approval", ["note", "charge"])
    decide = getattr(w.sim.manager, f"{decision}_approval")
    assert decide(run.id, "call_2").status == ("running" if decision == "grant" else "failed")
    w.sim.settle()
    record = w.sim.run(run.id)
    assert decide(run.id, "call_2") == record
    assert record.recoveries == 1
    if decision == "grant":
        assert (record.status, record.attempt) == ("completed", 1)
        assert w.made == ["note", "charge"] * 2
        assert [data["decision"] for data in w.recovered(run)] == ["ask", "retry"]
    else:
        assert record.error["code"] == "outcome_unknown"
        assert record.error["details"]["unknown_tool_calls"] == ["call_2"]
        assert w.made == ["note", "charge"]
    w.sim.check_promises()


def test_a_grant_to_begin_again_is_good_for_that_alone(world):
    w = world()
    run = lost_call(w, on_restart="retry", on_unknown_outcome="ask")
    w.held = {"charge"}
    w.sim.manager.grant_approval(run.id, "call_2")
    w.sim.settle()
    w.sim.kill()
    w.sim.settle()
    assert (w.sim.run(run.id).status, w.made) == ("awaiting_approval", ["note", "charge"] * 2)
    w.sim.manager.deny_approval(run.id, "call_2")
    assert w.sim.run(run.id).error["code"] == "outcome_unknown"
    w.sim.check_promises()


def test_a_run_whose_model_was_told_does_not_begin_again_at_a_later_crash_either(world):
    w = world()
    w.stalls_in = 2
    w.held = {"charge"}
    run = w.start(on_restart="retry", on_unknown_outcome="report")
    w.held = set()
    for n in (1, 2):
        if n == 2:
            w.go_on()
        w.sim.kill()
        w.sim.settle()
    assert (w.sim.run(run.id).status, w.made) == ("completed", ["note", "charge"])
    assert [data["decision"] for data in w.recovered(run)] == ["resume", "resume"]
    w.sim.check_promises()


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("its policy", "kill"),
        ("its policy", "stop"),
        ("its policy", "crash"),
        *(("its bound", how) for how in ("kill", "crash")),
    ],
)
def test_a_run_that_is_not_taken_up_again_names_the_calls_that_were_under_way(world, end, how):
    w = world(max_recoveries=3 if end == "its policy" else 0)
    w.held = {"charge"}
    run = w.start(on_restart="fail" if end == "its policy" else "resume")
    if how == "crash":
        w.sim.crash(w.sim.run_ref(run.id))
    else:
        w.sim.kill() if how == "kill" else w.sim.restart()
    w.sim.settle()
    (failed,) = [event.data for event in w.sim.events_of(run.id) if event.type == "run_failed"]
    for error in (failed, w.sim.run(run.id).error):
        assert error["details"]["unknown_tool_calls"] == ["call_2"]
    assert w.made == ["note", "charge"]
    w.sim.check_promises()


def test_a_grant_is_good_for_one_call_whatever_happens_next(world):
    w = world()
    run = lost_call(w, on_unknown_outcome="ask")
    w.held = {"charge"}
    w.sim.manager.grant_approval(run.id, "call_2")
    w.sim.settle()
    w.sim.kill()
    w.sim.settle()
    assert w.sim.run(run.id).status == "awaiting_approval"
    w.go_on()
    w.sim.system.run(run.id).ask(asm.messages.GrantApproval(tool_call_id="call_2"))
    w.sim.settle()
    assert w.made == ["note", "charge", "charge", "charge"]
    w.sim.check_promises()


def test_a_decision_that_nobody_asked_for_is_refused(world):
    w = world()
    w.stalls_in = 2
    run = w.start()
    for call_id in ("call_2", "call_9"):
        with pytest.raises(AsmError) as caught:
            w.sim.manager.grant_approval(run.id, call_id)
        assert caught.value.code is ErrorCode.INVALID_OPERATION
    with pytest.raises(AsmError) as caught:
        w.sim.manager.grant_approval("run_none", "call_2")
    assert caught.value.code is ErrorCode.RUN_NOT_FOUND


def test_a_run_that_waits_holds_no_slot_and_can_be_cancelled(world):
    w = world(limits=asm.Limits(max_parallel_runs=1))
    run = lost_call(w, on_unknown_outcome="ask")
    other = w.start()
    assert w.sim.run(other.id).status == "completed"
    assert w.sim.manager.drain(1.0).orphans == (run.id,)
    assert w.sim.manager.cancel_run(run.id).status == "cancelled"
    w.sim.check_promises()


def test_its_deadline_counts_on(world):
    w = world()
    run = lost_call(w, on_unknown_outcome="ask", deadline=100.0)
    w.sim.advance(99)
    assert w.sim.run(run.id).status == "awaiting_approval"
    w.sim.advance(2)
    assert w.sim.run(run.id).status == "timeout"
    w.sim.check_promises()


# --- Bounds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_no_run_is_recovered_for_ever(world, limit):
    w = world(max_recoveries=limit)
    w.stalls_in = 2
    run = w.start()
    for n in range(limit):
        w.sim.kill()
        w.sim.settle()
        assert (w.sim.run(run.id).status, w.sim.run(run.id).recoveries) == ("running", n + 1)
    w.sim.kill()
    w.sim.settle()
    record = w.sim.run(run.id)
    assert (record.status, record.error["code"]) == ("failed", "interrupted")
    assert record.error["details"]["recoveries"] == limit
    assert [data["recovery"] for data in w.recovered(run)] == list(range(1, limit + 1))
    w.sim.check_promises()


def test_stops_in_order_do_not_count(world):
    w = world(max_recoveries=1)
    w.stalls_in = 2
    run = w.start()
    for _ in range(4):
        w.sim.restart()
        w.sim.settle()
    assert (w.sim.run(run.id).status, w.sim.run(run.id).recoveries) == ("running", 0)
    types = w.types(run)
    assert types.count("run_interrupted") == types.count("run_recovered") == 4
    w.go_on()
    w.sim.kill()
    w.sim.settle()
    assert w.sim.run(run.id).status == "completed"


def test_a_run_that_waits_in_line_when_it_is_stopped_again_is_not_said_to_have_crashed(world):
    w = world(limits=asm.Limits(max_parallel_runs=1))
    w.stalls_in = 1
    blocker, run = w.start(), w.start()
    w.sim.manager.cancel_run(blocker.id)
    w.sim.settle()
    blocker = w.start()
    for _ in range(2):
        w.sim.restart()
        w.sim.settle()
    assert [w.sim.run(one.id).recoveries for one in (blocker, run)] == [0, 0]


@pytest.mark.parametrize("policy", ["resume", "retry"])
@pytest.mark.parametrize("steps", range(0, 120, 4))
def test_killed_at_any_moment_again_and_again_no_unsafe_call_is_made_twice(steps, policy):
    w = World(max_recoveries=100)
    with w.sim:
        session = w.sim.active_session()
        options = {"on_restart": policy, "on_unknown_outcome": "report"}
        w.sim.operations.submit_run(session.id, "Compute", id="run_mine", **options)
        for _ in range(4):
            w.sim.steps(steps)
            w.sim.kill()
        w.sim.settle()
        n_ended = 0
        if w.sim.store.has_run("run_mine"):
            assert w.sim.run("run_mine").status == "completed"
            ends = [e for e in w.sim.events_of("run_mine") if e.type == "tool_call_completed"]
            n_ended = sum(event.data["tool_name"] == "charge" for event in ends)
        # A run that is begun again may repeat what has its end on record, and nothing else.
        assert w.made.count("charge") <= (1 if policy == "resume" else 1 + n_ended)
        w.sim.check_promises()


# --- In a living process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["run", "session", "journal"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_crash_of_an_actor_is_survived_like_that_of_a_process(world, phase, what):
    arrange, made = PHASES[phase]
    w = world()
    arrange(w)
    run = w.start(on_unknown_outcome="report")
    waiting = w.sim.operations.await_run(run.id)
    w.sim.settle()
    w.go_on()
    refs = {
        "run": w.sim.run_ref(run.id),
        "session": w.sim.session_ref(run.session_id),
        "journal": w.sim.services.whereis(JOURNAL),
    }
    w.sim.crash(refs[what])
    w.sim.advance(5)
    record = w.sim.run(run.id)
    assert (record.status, record.recoveries) == ("completed", 1)
    assert w.made.count("charge") == 1
    assert len(w.made) == len(made) + (phase == "tool started, safe to repeat") + 2 * (
        phase == "streaming cut"
    )
    if what == "run":
        assert waiting.get().output["content"] == "Done."
    else:
        assert w.sim.error_of(waiting).code is ErrorCode.INTERRUPTED
    assert "injected" in w.recovered(run)[0]["reason"] or what == "journal"
    w.sim.check_promises()


def test_a_run_whose_actor_crashes_again_and_again_ends_with_its_error(world):
    w = world()
    w.stalls_in = 2
    run = w.start()
    waiting = w.sim.operations.await_run(run.id)
    for n in range(4):
        assert w.sim.run(run.id).recoveries == n
        w.sim.crash(w.sim.run_ref(run.id))
        w.sim.settle()
    error = w.sim.error_of(waiting)
    assert error.code is ErrorCode.INTERNAL_ERROR
    assert "injected" in error.message
    assert w.sim.run(run.id).error["details"]["recoveries"] == 3
    assert w.made == ["note", "charge"]
    w.sim.check_promises()


def test_a_cancel_that_meets_a_crash_ends_the_run(world):
    w = world()
    w.stalls_in = 2
    run = w.start()
    w.sim.crash(w.sim.run_ref(run.id))
    cancelled = w.sim.operations.cancel_run(run.id)
    w.sim.settle()
    assert cancelled.get().status in ("cancelled", "failed")
    assert w.provider.open_streams == 0
    w.sim.check_promises()


class SlowToClose(ScriptedProvider):
    """Its streams take a second to close; `closing` counts those that are at it."""

    closing = 0

    async def stream(self, request):
        try:
            async for item in super().stream(request):
                yield item
        finally:
            self.closing += 1
            await asyncio.sleep(1.0)
            self.closing -= 1


@pytest.mark.parametrize("what", ["run", "session"])
@pytest.mark.parametrize("steps", range(0, 40, 4))
def test_a_cancel_after_a_crash_waits_for_the_stream_of_the_life_before(what, steps):
    provider = SlowToClose(Script(text("Hel"), stall()))
    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "x")
        sim.settle()
        sim.crash(sim.run_ref(run.id) if what == "run" else sim.session_ref(session.id))
        sim.steps(steps)
        cancelled = sim.operations.cancel_run(run.id)
        sim.settle()
        assert not cancelled.is_available or provider.closing == 0 or sim.run(run.id).status == "failed"
        sim.advance(5)
        assert cancelled.get().status in ("cancelled", "failed")
        assert (provider.closing, provider.open_streams) == (0, 0)
        sim.check_promises()


def test_a_turn_is_asked_again_when_the_stream_of_the_life_before_is_closed():
    provider = SlowToClose([Script(text("Hel"), stall()), Script(text("Hello"))])
    with SimulatedSystem(providers={"mock": provider}) as sim:
        session = sim.active_session()
        run = sim.manager.submit_run(session.id, "x")
        sim.settle()
        sim.crash(sim.run_ref(run.id))
        sim.settle()
        assert (provider.calls, provider.closing) == (1, 1)
        sim.advance(3)
        assert sim.run(run.id).output["content"] == "Hello"
        sim.check_promises()


# --- Idempotency keys --------------------------------------------------------------------------------------------


def test_a_key_gives_the_same_session_and_run_across_restarts_and_under_races(world):
    w = world()
    sessions = {
        w.sim.manager.start_session(agent_id="a", idempotency_key="k").id,
        *(
            future.get().id
            for future in [w.sim.operations.start_session(agent_id="a", idempotency_key="k")] * 3
        ),
    }
    assert len(sessions) == 1
    (session_id,) = sessions
    w.sim.manager.activate_session(session_id)
    made = [w.sim.operations.submit_run(session_id, "x", idempotency_key="r") for _ in range(5)]
    w.sim.settle()
    (run_id,) = {future.get().id for future in made}
    w.sim.kill()
    assert w.sim.manager.start_session(agent_id="a", idempotency_key="k").id == session_id
    assert w.sim.manager.submit_run(session_id, "other", idempotency_key="r").id == run_id
    assert w.sim.manager.start_run(session_id, "other", idempotency_key="r").id == run_id
    assert len(w.sim.store.runs(session_id)) == 1
    w.sim.check_promises()


@pytest.mark.parametrize("killed", [False, True])
def test_submitting_with_the_key_of_a_run_that_was_only_created_puts_it_in_line(world, killed):
    w = world()
    session = w.sim.active_session()
    created = w.sim.manager.start_run(session.id, "x", idempotency_key="r")
    if killed:
        w.sim.kill()
    futures = [w.sim.operations.submit_run(session.id, "x", idempotency_key="r") for _ in range(3)]
    w.sim.settle()
    assert {future.get().id for future in futures} == {created.id}
    assert all(future.get().options["submitted"] for future in futures)
    assert w.sim.run(created.id).status == "completed"
    assert w.made == ["note", "charge"]
    assert w.sim.manager.submit_run(session.id, "x", idempotency_key="r").status == "completed"
    w.sim.check_promises()


def test_that_too_is_refused_where_a_run_cannot_be_executed(world):
    w = world()
    session = w.sim.manager.start_session(agent_id="a")
    created = w.sim.manager.start_run(session.id, "x", idempotency_key="r")
    with pytest.raises(AsmError) as caught:
        w.sim.manager.submit_run(session.id, "x", idempotency_key="r")
    assert caught.value.code is ErrorCode.INVALID_OPERATION
    assert w.sim.run(created.id).status == "pending"
