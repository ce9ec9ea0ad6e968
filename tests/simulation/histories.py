"""A whole system as a random program: sessions that fork, rest and are deleted, named subscribers, upkeep, secrets.

`scenario` has crowds of callers who race; here one caller does one thing at a time, so that what must come of it can be
said exactly, and a program that fails can be made small. Between two things the system does some steps, or none: they
meet it in the middle of its work.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.memory import MemoryStore
from asm_actors.journal.subscriber import SubscriptionActor
from asm_actors.maintenance import live
from asm_actors.maintenance.hands import Alone, AloneSurroundings
from asm_actors.maintenance.imports import import_from
from asm_actors.maintenance.policy import RetentionPolicy
from asm_actors.providers.actor import ProviderActor
from asm_actors.providers.base import TurnRequest, prompt_from_input
from asm_actors.providers.script import Script, fail, sleep, stall, text, tool_call, usage
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.actor import RunActor
from asm_actors.sessions.actor import SessionActor
from asm_actors.testing.promises import journal_faults
from asm_actors.testing.system import SimulatedSystem
from asm_actors.tools.tool import tool
from tests.simulation.consumers import Consumer
from tests.simulation.world import Injected

SECRET = "sk-ant-api03-" + "Zq7" * 12
DAY_S = 86_400.0
PARTS = ("say", "say", "slowly", "call", "whisper", "stall", "refuse")
_CRASHING = (SessionActor, RunActor, SubscriptionActor, ProviderActor)
_WAYS = (
    "pause_session",
    "resume_session",
    "activate_session",
    "complete_session",
    "fail_session",
    "cancel_session",
)

picks = st.integers(0, 1 << 10)


def _play(request: TurnRequest) -> Script:
    part = prompt_from_input(request.input).split()[0]
    if part == "call" and request.turn == 1:
        return Script(text("Let me see. "), tool_call("call_1", "look", {"n": 1}), usage(5, 2))
    return {
        "say": Script(text("It is so. ", size=3), usage(3, 4)),
        "slowly": Script(text("Well, "), sleep(0.3), text("yes.")),
        "call": Script(text("Seen.")),
        "whisper": Script(text(f"The key is {SECRET}, keep it.", size=5)),
        "stall": Script(text("Hm"), stall()),
        "refuse": Script(text("No. "), fail(ErrorCode.PROVIDER_ERROR, "broken")),
    }[part]


@tool(safe_to_repeat=True)
def look(n: int) -> dict[str, Any]:
    """Look at something that holds a secret."""
    return {"n": n, "token": SECRET}


class Histories(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.sim: SimulatedSystem
        self.store = MemoryStore()
        self.sessions: list[str] = []
        self.shared: dict[str, list[str]] = {}
        self.deleted: set[str] = set()
        self.consumers: dict[str, Consumer] = {}
        self.n_scanned = 0
        self.patches = [
            mock.patch.object(live, "REST_TRIES", 2),
            mock.patch.object(live, "REST_PAUSE_S", 0.0),
        ]
        for patch in self.patches:
            patch.start()

    @initialize(seed=picks, linger=st.sampled_from([None, 0.05, 1.0]), slots=st.sampled_from([1, 3, None]))
    def begin(self, seed: int, linger: float | None, slots: int | None) -> None:
        """Start the system."""
        self.sim = SimulatedSystem(
            seed,
            providers={"mock": ScriptedProvider(_play)},
            limits=Limits(max_parallel_runs=slots, max_concurrent_runs=2),
            store=self.store,
            linger=linger,
            tools=[look],
        )
        self.sim._start()
        for _ in range(2):
            self.start_session(is_active=True)
        self.consumers = {"a": Consumer("a", None), "b": Consumer("b", self.sessions[0])}

    def teardown(self) -> None:
        try:
            if hasattr(self, "sim"):
                self.rest()
                self.consumers_miss_nothing()
                self.sim.system.stop(timeout=1.0)
                self.store.open()
                assert journal_faults(self.store, self.holes()) == []
        finally:
            if hasattr(self, "sim"):
                self.sim.dispatcher.close()
            for patch in self.patches:
                patch.stop()

    # --- Small things --------------------------------------------------------------------------------------------

    def session(self, pick: int) -> str:
        """One of the sessions."""
        return self.sessions[pick % len(self.sessions)]

    def attempt(self, work: Callable[[], Any]) -> Any:
        """What something gives, or the error with which it is refused."""
        try:
            return work()
        except AsmError as error:
            return error

    def may_fail(self, answer: Any, *codes: ErrorCode) -> bool:
        """Whether something was refused, as it may be."""
        if not isinstance(answer, AsmError):
            return False
        # Whoever asks while an actor is crashing is told so.
        assert answer.code in (*codes, ErrorCode.INTERRUPTED, ErrorCode.INTERNAL_ERROR), repr(answer)
        return True

    def holes(self) -> int:
        """How many events were erased; that no other is missing is what it checks."""
        report = self.store.verify(replay=False)
        assert report.problems == ()
        return report.holes

    # --- Sessions and runs ---------------------------------------------------------------------------------------

    @rule(is_active=st.booleans())
    def start_session(self, is_active: bool) -> None:
        """A new session."""
        session = self.attempt(lambda: self.sim.manager.start_session(agent_id="agent", tags=["t"]))
        if self.may_fail(session):
            return
        self.sessions.append(session.id)
        if is_active:
            self.may_fail(self.attempt(lambda: self.sim.manager.activate_session(session.id)))

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, part=st.sampled_from(PARTS))
    def work(self, pick: int, part: str) -> None:
        """A run in a session that has nothing against it, and some time for it."""
        name = self.session(pick)
        self.may_fail(
            self.attempt(lambda: self.sim.manager.activate_session(name)),
            ErrorCode.INVALID_TRANSITION,
            ErrorCode.INVALID_OPERATION,
            ErrorCode.SESSION_NOT_FOUND,
        )
        self.submit(pick, part, 1)
        self.sim.advance(0.1)

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, part=st.sampled_from(PARTS), wanted=st.integers(1, 3))
    def submit(self, pick: int, part: str, wanted: int) -> None:
        """Runs that are not waited for; what they are asked holds a secret."""
        name = self.session(pick)
        for k in range(wanted):
            answer = self.sim.operations.submit_run(name, f"{part} {k} with {SECRET}")
            self.sim.dispatcher.step()
            if name in self.deleted:
                self.sim.settle()
                assert self.sim.error_of(answer) is not None, f"{name} is deleted, and took a run"

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, which=picks)
    def cancel(self, pick: int, which: int) -> None:
        """Cancel a run: then it is over."""
        runs = self.store.open_runs(self.session(pick)) if self.store.has_session(self.session(pick)) else []
        if runs:
            run = self.attempt(lambda: self.sim.manager.cancel_run(runs[which % len(runs)].id))
            if not self.may_fail(run):
                assert self.store.run(run.id).is_terminal

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, way=st.sampled_from(_WAYS))
    def change(self, pick: int, way: str) -> None:
        """Change the status of a session."""
        answer = self.attempt(lambda: getattr(self.sim.manager, way)(self.session(pick)))
        self.may_fail(
            answer, ErrorCode.INVALID_TRANSITION, ErrorCode.INVALID_OPERATION, ErrorCode.SESSION_NOT_FOUND
        )

    # --- Forks ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sessions)
    @rule(pick=picks, back=st.integers(0, 12))
    def fork(self, pick: int, back: int) -> None:
        """Fork a session, at its end or before it: the fork begins with what there was up to there."""
        parent = self.session(pick)
        before = self.store.read_session(parent) if self.store.has_session(parent) else []
        at = max(1, self.store.head(parent) - back) if before else 1
        answer = self.attempt(lambda: self.sim.manager.fork_session(parent, at))
        if self.may_fail(answer, ErrorCode.INVALID_OPERATION, ErrorCode.SESSION_NOT_FOUND):
            return
        assert (answer.parent_session_id, answer.forked_at) == (parent, at)
        self.sessions.append(answer.id)
        self.shared[answer.id] = [event.id for event in before if (event.sequence_number or 0) <= at]
        assert not self.may_fail(self.attempt(lambda: self.sim.manager.activate_session(answer.id)))

    @invariant()
    def forks_keep_what_they_share(self) -> None:
        """Whatever becomes of their parents."""
        for name, ids in self.shared.items():
            if self.store.has_session(name):
                found = [event.id for event in self.store.read_session(name)]
                assert found[: len(ids)] == ids, f"{name} has lost what it shares"

    # --- Deleting ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        """Delete a session softly: it is hidden then, and does nothing any more."""
        name = self.session(pick)
        answer = self.attempt(lambda: self.sim.manager.delete_session(name))
        if not self.may_fail(answer, ErrorCode.INVALID_OPERATION, ErrorCode.SESSION_NOT_FOUND):
            self.deleted.add(name)
            assert name not in [session.id for session in self.sim.manager.list_sessions()]
            assert self.store.open_runs(name) == []

    @precondition(lambda self: self.sessions)
    @rule(pick=picks)
    def delete_for_good(self, pick: int) -> None:
        """Delete a session for good, unless it is at work or others share its history."""
        name = self.session(pick)
        parents = [one for one in self.sessions if self.store.forks_of(one)]
        if parents and pick % 2:
            name = parents[pick // 2 % len(parents)]
        had_forks = self.store.forks_of(name)
        answer = self.attempt(lambda: self.sim.system.maintenance.delete_for_good(name))
        if self.may_fail(answer, ErrorCode.INVALID_OPERATION, ErrorCode.SESSION_NOT_FOUND):
            return
        assert not had_forks
        assert not self.store.has_session(name)
        self.deleted.add(name)

    # --- Upkeep --------------------------------------------------------------------------------------------------

    @rule(bound=st.sampled_from([None, 1, 8]), days=st.sampled_from([None, 1, 30]))
    def carry_a_policy_out(self, bound: int | None, days: int | None) -> None:
        """Prune, hide and delete what is old, while the system goes on."""
        policy = RetentionPolicy(
            max_completed_session_age_days=days,
            max_events_per_session=bound,
            hard_delete_after_days=1,
            exempt_tags=(),
            batch_size=2,
        )
        report = self.attempt(lambda: self.sim.system.maintenance.execute(policy))
        if not self.may_fail(report):
            self.deleted |= {
                name
                for name in self.sessions
                if not self.store.has_session(name) or self.store.session(name).deleted_us is not None
            }

    @rule(what=st.sampled_from(["compact", "export", "rest"]))
    def look_after(self, what: str) -> None:
        """Something that costs time, and changes nothing that is seen."""
        getattr(self, what)()

    def compact(self) -> None:
        """Rewrite the journal in between."""
        self.may_fail(self.attempt(self.sim.system.maintenance.compact))

    def export(self) -> None:
        """What is exported while work goes on can be brought into another journal."""
        text_of = io.StringIO()
        report = self.attempt(lambda: self.sim.system.maintenance.export(text_of))
        if self.may_fail(report):
            return
        assert SECRET not in text_of.getvalue()
        other = MemoryStore()
        other.open()
        found = import_from(Alone(other), io.StringIO(text_of.getvalue()), AloneSurroundings())
        assert (found.sessions, found.events) == (report.sessions, report.events)
        assert other.verify().problems == ()
        assert len(other.sessions(include_deleted=True)) == len(self.store.sessions(include_deleted=True))

    # --- Named subscribers ---------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(["a", "b"]),
        limit=st.sampled_from([1, 3, 50]),
        ack=st.sampled_from(["none", "all", "durable", "one"]),
    )
    def consume(self, name: str, limit: int, ack: str) -> None:
        """Take some events, and acknowledge all, one, or none of them."""
        consumer = self.consumers[name]
        if not consumer.is_open:
            consumer.open(self.sim)
        consumer.take(self.sim, limit, ack)

    @rule(name=st.sampled_from(["a", "b"]))
    def leave(self, name: str) -> None:
        """A consumer goes away without a word."""
        self.consumers[name].leave()

    def consumers_miss_nothing(self) -> None:
        """Whoever reads on to the end has got everything that is there."""
        for consumer in self.consumers.values():
            consumer.read_on(self.sim)
            consumer.check(self.store)

    # --- Time and trouble ----------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 40))
    def some_steps(self, count: int) -> None:
        """The system does a little."""
        self.sim.steps(count)

    @rule(seconds=st.sampled_from([0.01, 0.1, 2.0, 60.0, 2 * DAY_S]))
    def pass_time(self, seconds: float) -> None:
        """Time passes; sessions without work leave memory."""
        if seconds > DAY_S:
            # Not timer by timer, of which a day has very many.
            self.sim.clock.advance(seconds)
            self.sim.settle()
        else:
            self.sim.advance(seconds)

    @rule(kind=st.sampled_from(_CRASHING), which=picks)
    def crash(self, kind: type[Any], which: int) -> None:
        """An actor crashes before its next message."""
        found = [
            life.ref
            for life in self.sim.dispatcher.lives
            if type(life.actor) is kind and life.ref is not None and life.ref.is_alive()
        ]
        if found:
            self.sim.dispatcher.crash(found[which % len(found)], Injected(f"of {kind.__name__}"))

    @rule(how=st.sampled_from(["kill", "kill", "stop", "drain", "cancel"]))
    def end_the_process(self, how: str) -> None:
        """The process ends, in order or not, and another one begins."""
        for consumer in self.consumers.values():
            consumer.lose(is_orderly=how != "kill")
        self.sim.dispatcher.failures.clear()
        if how == "kill":
            self.sim.kill()
        else:
            options: dict[str, Any] = {"timeout": 1.0}
            self.sim.restart(**options, drain=how == "drain", cancel_runs=how == "cancel")

    # --- What must hold ------------------------------------------------------------------------------------------

    @invariant()
    def the_journal_keeps_its_promises(self) -> None:
        """At every instant."""
        if hasattr(self, "sim"):
            assert journal_faults(self.store, self.holes()) == []

    @invariant()
    def no_secret_reaches_the_journal(self) -> None:
        """Neither in events nor in records."""
        for event in self.store.read_all(after=self.n_scanned, limit=1 << 30, scan_limit=1 << 30).events:
            assert SECRET not in str(event), event
        self.n_scanned = self.store.last_position()
        for record in (*self.store.sessions(include_deleted=True), *self.store.runs()):
            assert SECRET not in str(record), record

    def rest(self) -> None:
        """Long after anything failed all agree: actors, records and events."""
        self.sim.advance(90.0)
        self.sim.dispatcher.failures.clear()
        self.sim.check_promises(self.holes())
        assert self.store.verify().problems == ()
        told = self.sim.system.maintenance.health_check(deep=True)
        gone = [one.name for one in self.consumers.values() if one.session_id in self.deleted]
        assert all(any(f"subscription {name} " in one for name in gone) for one in told), told
