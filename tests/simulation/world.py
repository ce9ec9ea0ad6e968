"""What all parts of one scenario share: the journal that watches, the log of what was done, the faults that were found.

A scenario is a seed. From it come the schedule of the simulation and, by named generators of their own, the choices of
every caller, subscriber and fault: so the same seed does the same, step by step.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.journal.memory import MemoryStore
from asm_actors.runs.result import RunResult
from asm_actors.runs.run import Run, RunStatus
from asm_actors.sessions.session import Session
from supervisors import ManualClock
from supervisors.testing import Gate

SPOKEN_ENDS = frozenset({ErrorCode.CANCELLED, ErrorCode.TIMEOUT})
"""Codes with which nothing but a run's end is told to those who wait for it."""
STOPPED = frozenset({RunStatus.CANCELLED, RunStatus.TIMEOUT})
"""Ends before which the provider's stream has been closed."""


class Injected(Exception):  # noqa: N818 - it is not an error of anybody
    """A crash that the scenario made."""


class Log:
    """What was done and seen, in order; text is made of it only if somebody wants to read it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.entries: list[tuple[float, str, str, tuple[Any, ...]]] = []

    def note(self, who: str, what: str, *details: Any) -> None:
        """Add an entry."""
        self.entries.append((self.clock.monotonic(), who, what, details))

    def lines(self) -> list[str]:
        """One line per entry: time, actor, action."""
        return [
            f"{when:9.4f}  {who:<12} {what} {' '.join(map(_short, details))}".rstrip()
            for when, who, what, details in self.entries
        ]


def _short(detail: Any) -> str:
    text = f"[{detail.code}] {detail.message}" if isinstance(detail, AsmError) else str(detail)
    return (text if len(text) <= 160 else text[:157] + "...").replace("0" * 20, "…")


class WatchedStore(MemoryStore):
    """A journal in memory that can be slow or refuse to write, and that knows all it ever took.

    Attributes:
        statuses: By id of a session or run, each status its committed records ever had.
        refuses_until: Until then, on the clock, commits fail.
        delay_s: How long a commit takes.
        lies: Whether a commit that fails is taken all the same, as when only its acknowledgement is lost.
    """

    def __init__(self, clock: ManualClock, fault: Callable[[str], None]) -> None:
        super().__init__()
        self._clock = clock
        self._fault = fault
        self.statuses: dict[str, set[str]] = {}
        self.over: set[str] = set()
        self.refuses_until = 0.0
        self.delay_s = 0.0
        self.lies = False
        self.streaming: Callable[[str], bool] = lambda _run_id: False

    def commit(self, appends: Any, *, sync: bool = True) -> Any:
        # Whoever waits for the disk waits in a step of its own: what that changes is that time has passed.
        self._clock.advance(self.delay_s)
        fails = self._clock.monotonic() < self.refuses_until
        if fails and not self.lies:
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "no space left in the scenario")
        answers = super().commit(appends, sync=sync)
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, AsmError):
                continue
            if append.session is not None:
                self.statuses.setdefault(append.session_id, set()).add(append.session.status)
            for run in append.runs:
                self._took_run(run)
        if fails:
            raise AsmError(ErrorCode.STORAGE_WRITE_FAILED, "the scenario's disk does not answer")
        return answers

    def _took_run(self, run: Run) -> None:
        if run.id in self.over:
            self._fault(f"a record of {run.id}, which is over, was written again as {run.status}")
        self.statuses.setdefault(run.id, set()).add(run.status)
        if run.is_terminal:
            self.over.add(run.id)
            if run.status in STOPPED and self.streaming(run.id):
                self._fault(f"{run.id} is journalled as {run.status} while its stream is open")


class World:
    """See the module.

    Attributes:
        log: What was done and seen.
        faults: One sentence per broken promise.
        sessions, runs: Ids that callers may speak of.
        waiting: What was asked and not answered yet, by number.
        heard: By run, the events that a callback heard.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.clock = ManualClock()
        self.log = Log(self.clock)
        self.faults: list[str] = []
        self.store = WatchedStore(self.clock, self.fault)
        self.gates = [Gate() for _ in range(3)]
        self.sessions: list[str] = []
        self.runs: list[str] = []
        self.submitted: set[str] = set()
        self.chosen: Counter[str] = Counter()
        self.keys: dict[Any, str] = {}
        self.waiting: dict[int, tuple[str, str, Any]] = {}
        self.sim: Any = None
        self.heard: dict[Any, list[Any]] = {}
        self.n_asked = 0

    def random(self, name: str) -> random.Random:
        """A generator of its own for one part of the scenario."""
        return random.Random(f"{self.seed}/{name}")

    def fault(self, text: str) -> None:
        """Note a broken promise."""
        self.log.note("!!!", text)
        self.faults.append(text)

    # --- Asking --------------------------------------------------------------------------------------------------

    async def ask(
        self, who: str, what: str, *args: Any, patience: float | None = None, **options: Any
    ) -> Any:
        """Call an operation by its name and wait for the answer; None if it was refused, or came too late."""
        number = self.n_asked = self.n_asked + 1
        self.log.note(who, f"{what} #{number}", *args, *(f"{key}={value}" for key, value in options.items()))
        try:
            future = getattr(self.sim.operations, what)(*args, **options)
        except AsmError as error:
            self.log.note(who, f"  #{number} refused:", error)
            return None
        return await self.follow(who, what, number, future, args, patience)

    async def follow(
        self, who: str, what: str, number: int, future: Any, args: tuple[Any, ...], patience: float | None
    ) -> Any:
        """Wait for the answer to what was asked, checking it at the moment when it is there."""
        self.waiting[number] = (who, what, args)
        future.add_done_callback(lambda done: self._answered(who, what, number, done, args))
        try:
            async with asyncio.timeout(patience):
                return await future
        except AsmError:
            return None
        except TimeoutError:
            self.log.note(who, f"  #{number} waits no longer")
            return None
        except Exception:  # noted when it was answered
            return None

    def _answered(self, who: str, what: str, number: int, future: Any, args: tuple[Any, ...]) -> None:
        self.waiting.pop(number, None)
        if not future.is_done:
            return  # a read: it reads when it is asked
        try:
            value = future.get()
        except AsmError as error:
            self.log.note(who, f"  #{number} refused:", error)
            is_end = what in ("await_run", "execute_run") and error.code in SPOKEN_ENDS
            if is_end and args[0] not in self.store.over:
                self.fault(f"{what} told that {args[0]} is over ({error.code}) before the journal knew")
            return
        except Exception as error:
            self.fault(f"#{number} {what} by {who} was answered with {error!r}, which is no AsmError")
            return
        self.log.note(who, f"  #{number} answered:", type(value).__name__, getattr(value, "status", ""))
        self._check_durable(what, value)

    def _check_durable(self, what: str, value: Any) -> None:
        store = self.store
        if isinstance(value, Session | Run):
            if value.status not in store.statuses.get(value.id, ()):
                self.fault(f"{what} told that {value.id} is {value.status} before the journal knew")
        elif isinstance(value, RunResult) and RunStatus.COMPLETED not in store.statuses.get(value.run_id, ()):
            self.fault(f"{what} told the result of {value.run_id} before the journal knew")
        if isinstance(value, Session) and value.last_sequence > store.head(value.id):
            self.fault(
                f"{what} told of event {value.last_sequence} of {value.id}; there are {store.head(value.id)}"
            )
        if what == "cancel_run" and isinstance(value, Run):
            if not value.is_terminal:
                self.fault(f"cancel_run returned {value.id} as {value.status}")
            elif value.status is RunStatus.CANCELLED and store.streaming(value.id):
                self.fault(f"cancel_run returned, and the stream of {value.id} is open")

    def one_of(self, key: Any, found: str) -> None:
        """Check that all who used one idempotency key got the same thing."""
        if self.keys.setdefault(key, found) != found:
            self.fault(f"the key {key} stands for {self.keys[key]} and for {found}")

    def chose(self, name: str) -> None:
        """Check that an id which callers chose was given once."""
        self.chosen[name] += 1
        if self.chosen[name] > 1:
            self.fault(f"the id {name} was given {self.chosen[name]} times")


async def guarded(world: World, name: str, work: Awaitable[None]) -> None:
    """Await a part of the scenario; what it raises is a fault."""
    try:
        await work
    except Exception as error:
        import traceback

        world.fault(f"{name} failed with {error!r}: {traceback.format_exc(limit=-3)}")
