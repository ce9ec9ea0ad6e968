"""One seeded scenario of sessions that leave memory all the time, while callers want something of them.

Its sessions are told to rest as often as a caller does something, and time is let pass for the sweep as well. So all
that callers do falls before, into and behind an end. A seed is calm, crashes session actors, or has a disk that refuses
to write for a while; what a crash or a disk may cost is little, and a calm seed may cost nothing at all.
"""

from __future__ import annotations

import random
from typing import Any

from attrs import field, frozen

from asm_actors import messages
from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.journal.memory import MemoryStore
from asm_actors.providers.script import Script, sleep, text
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.sessions.resting import Rest
from asm_actors.testing.system import SimulatedSystem
from tests.simulation.world import Injected

TROUBLES = ("calm", "calm", "crashes", "disk")
LINGER_S = 0.2
_GRACE_S = 120.0
"""Simulated seconds in which all that can be answered is answered."""
_COST = frozenset({ErrorCode.INTERRUPTED, ErrorCode.STORAGE_WRITE_FAILED})
"""How an ask may fail because of a crash or a disk."""


@frozen
class Outcome:
    """What came of a seed.

    Attributes:
        seed: Which one.
        trouble: What went wrong in it.
        faults: One sentence per broken promise.
        n_passivated: How often a session left.
        n_revived: How often one came back.
        journal: All events, for comparison.
    """

    seed: int
    trouble: str
    faults: tuple[str, ...]
    n_passivated: int
    n_revived: int
    journal: tuple[Any, ...] = field(repr=False)


class _Store(MemoryStore):
    """A journal in memory that refuses so many commits."""

    def __init__(self) -> None:
        super().__init__()
        self.n_refused = 0

    def commit(self, appends: Any, *, sync: bool = True) -> Any:
        if self.n_refused:
            self.n_refused -= 1
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "no space left in the scenario")
        return super().commit(appends, sync=sync)


class ColdScenario:
    """See the module.

    Args:
        seed: Chooses everything.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"cold/{seed}")
        self.trouble = self.rng.choice(TROUBLES)
        self.store = _Store()
        script = Script(text("a"), sleep(0.05), text("b"))
        self.sim = SimulatedSystem(
            seed,
            providers={"mock": ScriptedProvider(script)},
            # Each run of a session waits for the one before: their starts tell the order of their submissions.
            limits=Limits(
                max_parallel_sessions=self.rng.choice((1, 2, None)),
                max_concurrent_runs=1,
                max_queued_runs=1_000,
            ),
            store=self.store,
            patience=0.5,
            linger=LINGER_S,
        )
        self.faults: list[str] = []
        self.asked: list[tuple[str, Any]] = []
        self.submitted: dict[str, list[Any]] = {}
        self.created: list[str] = []
        self.told_to_cancel: set[str] = set()
        self.executed: set[str] = set()
        self.subscriptions: list[tuple[str, Any]] = []

    def run(self) -> Outcome:
        """Play it, and check it."""
        with self.sim as sim:
            self._prepare()
            for _ in range(self.rng.randint(15, 40)):
                self._disturb()
                self._act()
                self._pass_time()
            self.store.n_refused = 0
            sim.advance(_GRACE_S)
            self._check_answers()
            self._check_order()
            self._check_told()
            self._check_subscriptions()
            sim.dispatcher.failures.clear()  # the crashes that were injected
            sim.check_promises()
            left = sim.services.directory.on_the_way
            if left and self.trouble == "calm":
                self.faults.append(f"these are on the way for ever: {left}")
            found = sim.manager.status()["sessions"]
            journal = tuple(event.to_map() for event in sim.store.read_all(limit=10_000).events)
        return Outcome(
            self.seed, self.trouble, tuple(self.faults), found["passivated"], found["revived"], journal
        )

    def _prepare(self) -> None:
        self.sessions = [self.sim.manager.start_session(agent_id="agent").id for _ in range(2)]
        limit = self.sim.limits.max_parallel_sessions or 2
        for session_id in self.sessions[:limit]:
            self.sim.manager.activate_session(session_id)
        for session_id in self.sessions:
            self.submitted[session_id] = []
            self.created += [self.sim.manager.start_run(session_id, "later").id for _ in range(4)]

    # --- What happens --------------------------------------------------------------------------------------------

    def _disturb(self) -> None:
        rng = self.rng
        for session_id in self.sessions:
            ref = self.sim.session_ref(session_id)
            if ref is None:
                continue
            if rng.random() < 0.6:
                ref.tell(Rest(at_once=True))
            if self.trouble == "crashes" and rng.random() < 0.1:
                self.sim.steps(rng.randrange(8))
                if ref.is_alive():
                    self.sim.dispatcher.crash(ref, Injected("of a session"))
        if self.trouble == "disk" and rng.random() < 0.1:
            self.store.n_refused = rng.choice((1, 2, 30))
        self.sim.steps(rng.randrange(12))

    def _pass_time(self) -> None:
        chance = self.rng.random()
        if chance < 0.6:
            self.sim.steps(self.rng.randrange(30))
        else:
            self.sim.advance(self.rng.choice((0.02, 0.1, 2 * LINGER_S, 5 * LINGER_S)))

    def _act(self) -> None:
        rng = self.rng
        session_id = rng.choice(self.sessions)
        what = rng.choice(
            ("ask", "ask", "tell", "submit", "submit", "cancel", "await", "execute", "subscribe", "pause")
        )
        getattr(self, f"_{what}")(session_id)

    def _note(self, what: str, future: Any) -> Any:
        self.asked.append((what, future))
        return future

    def _ask(self, session_id: str) -> None:
        self._note("get_session", self.sim.system.session(session_id).ask(messages.GetSession(), block=False))
        self._note("status", self.sim.operations.status(session_id))

    def _tell(self, session_id: str) -> None:
        run_id = self.rng.choice(self.created)
        if run_id not in self.executed:
            self.told_to_cancel.add(run_id)
            self.sim.system.run(run_id).tell(messages.CancelRun(reason="told"))

    def _submit(self, session_id: str) -> None:
        for _ in range(self.rng.randint(1, 3)):
            future = self.sim.operations.submit_run(session_id, "Hi")
            self.submitted[session_id].append(self._note("submit_run", future))

    def _cancel(self, session_id: str) -> None:
        run_id = self.rng.choice(self.created)
        self._note("cancel_run", self.sim.operations.cancel_run(run_id))

    def _await(self, session_id: str) -> None:
        run_id = self.rng.choice(self.created)
        self._note("await_run", self.sim.operations.await_run(run_id))
        self._note("cancel_run", self.sim.operations.cancel_run(run_id))

    def _execute(self, session_id: str) -> None:
        run_id = self.rng.choice(self.created)
        if run_id not in self.told_to_cancel:
            self.executed.add(run_id)
            self._note("execute_run", self.sim.operations.execute_run(run_id))

    def _subscribe(self, session_id: str) -> None:
        if len(self.subscriptions) < 3:
            self.subscriptions.append((session_id, self.sim.manager.subscribe(session_id)))

    def _pause(self, session_id: str) -> None:
        handle = self.sim.system.session(session_id)
        handle.tell(messages.PauseSession())
        self._note("resume_session", self.sim.operations.resume_session(session_id))

    # --- What must hold ------------------------------------------------------------------------------------------

    def _error(self, future: Any) -> AsmError | None:
        try:
            future.get()
        except AsmError as error:
            return error
        return None

    def _check_answers(self) -> None:
        for what, future in self.asked:
            if not future.is_available:
                # A run of a paused session, or of one without a slot, may rightly wait.
                if what != "execute_run":
                    self.faults.append(f"{what} was never answered")
                continue
            error = self._error(future)
            if error is not None and error.code in _COST and self.trouble == "calm":
                self.faults.append(f"{what} cost an answer: {error}")

    def _check_order(self) -> None:
        for session_id, futures in self.submitted.items():
            made = [future.get().id for future in futures if future.is_available and not self._error(future)]
            started = [
                event.run_id
                for event in self.sim.events(session_id)
                if event.type is EventType.RUN_STARTED and event.run_id in set(made)
            ]
            if started != [run_id for run_id in made if run_id in set(started)]:
                self.faults.append(f"runs of {session_id} were submitted as {made} and started as {started}")
            if (
                self.sim.session(session_id).status == "active"
                and self.sim.limits.max_parallel_sessions is None
            ):
                left = [run_id for run_id in made if not self.sim.run(run_id).is_terminal]
                if left:
                    self.faults.append(f"runs of {session_id} never ended: {left}")

    def _check_told(self) -> None:
        if self.trouble != "calm":
            return  # what was told to a life that crashed is gone with it
        for run_id in sorted(self.told_to_cancel):
            if self.sim.run(run_id).status == "pending":
                self.faults.append(f"CancelRun was told to {run_id} and is lost")

    def _check_subscriptions(self) -> None:
        for session_id, subscription in self.subscriptions:
            events = self.sim.events(session_id)
            reader = iter(subscription)
            if [next(reader) for _ in events] != events:
                self.faults.append(f"a subscriber of {session_id} saw something else than the journal has")
            subscription.close()


def play(seed: int) -> Outcome:
    """Play the scenario of a seed."""
    return ColdScenario(seed).run()
