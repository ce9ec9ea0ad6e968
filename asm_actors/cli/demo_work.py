"""What `asm demo` does: a few hundred sessions at once, some cancelled, one crash of a provider. No output here."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from asm_actors.config import Limits
from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import EventType
from asm_actors.providers.anthropic import AnthropicProvider
from asm_actors.providers.base import Provider, TurnRequest
from asm_actors.providers.script import Script, crash, sleep, stall, text, wait
from asm_actors.providers.scripted import ScriptedProvider
from asm_actors.runs.state import RUNS_POOL
from asm_actors.services import PROVIDERS, RUN_SLOTS
from asm_actors.sessions.manager import AsyncSessionManager
from asm_actors.system import AsyncActorSystem
from supervisors import control
from supervisors.slot_pool import GetPoolStatistics

__all__ = ["Demo", "Progress", "Report", "percentile"]

_ANSWER: Final = "Each of these pieces is an event: it was on the disk before anybody saw it. "
_CHUNKS: Final = 20
_PAUSE_S: Final = 0.04
_DEADLINE_S: Final = 30.0
_PAGE: Final = 1000


class _Role(StrEnum):
    """What the provider does in a run; it travels in the run's options."""

    ANSWERS = "answers"
    NEVER_ENDS = "never_ends"
    """It says something and then nothing more, until it is cancelled."""
    CRASHES = "crashes"
    """It takes its provider down."""
    SILENT = "silent"
    """It has said nothing when its provider crashes, so it is tried again."""
    SPEAKING = "speaking"
    """It has said something when its provider crashes, so it fails."""


@frozen
class _Plan:
    role: _Role
    provider: str
    cancel_after: float | None = None


@define
class Progress:
    """How far it is, for a display.

    Attributes:
        total: sessions in all.
        ended: sessions that are over.
        events: events that the live subscriber has seen.
        active_runs: runs that hold a slot.
        waiting_runs: runs that wait for one.
    """

    total: int
    ended: int = 0
    events: int = 0
    active_runs: int = 0
    waiting_runs: int = 0


@frozen
class Report:
    """What came out.

    Attributes:
        journal: where it is.
        sessions: sessions that were started.
        runs: how many runs ended in each status.
        retried: runs that were tried again after the crash.
        provider_restarts: lives that the tree gave to providers beyond their first.
        slots: run slots there were.
        slots_peak: run slots held at once at most.
        events: events that were written.
        events_seen: events that the live subscriber saw, in order and without a gap.
        commits: commits that made them durable, each with a sync of the disk.
        wall_s: seconds from the first session's start to the last one's end.
        session_ms: milliseconds of each session, from its start to its durable end.
        cancel_ms: milliseconds of each cancel.
        a_session: id of some session, for a first look.
    """

    journal: Path
    sessions: int
    runs: dict[str, int]
    retried: int
    provider_restarts: int
    slots: int
    slots_peak: int
    events: int
    events_seen: int
    commits: int
    wall_s: float
    session_ms: list[float] = field(repr=False)
    cancel_ms: list[float] = field(repr=False)
    a_session: str

    def to_map(self) -> dict[str, Any]:
        """Return it as a JSON-ready map, durations as percentiles in milliseconds."""
        return {
            "journal": str(self.journal),
            "sessions": self.sessions,
            "runs": self.runs,
            "retried": self.retried,
            "provider_restarts": self.provider_restarts,
            "slots": self.slots,
            "slots_peak": self.slots_peak,
            "events": self.events,
            "events_seen": self.events_seen,
            "events_per_s": round(self.events / self.wall_s),
            "commits": self.commits,
            "wall_s": round(self.wall_s, 3),
            "session_p50_ms": round(percentile(self.session_ms, 50), 1),
            "session_p99_ms": round(percentile(self.session_ms, 99), 1),
            "cancel_p99_ms": round(percentile(self.cancel_ms, 99), 1),
        }


def percentile(values: list[float], percent: float) -> float:
    """Return the nearest-rank percentile; 0.0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class _Flaky:
    """Chooses what the provider that crashes does: it crashes once, when all its first runs are under way."""

    def __init__(self, n_runs: int) -> None:
        self._missing = n_runs
        self._all_here = asyncio.Event()

    def __call__(self, request: TurnRequest) -> Script:
        if request.attempt > 1:
            return Script(text("The provider was restarted, and this is the second try. " + _ANSWER, size=16))
        self._missing -= 1
        if self._missing <= 0:
            self._all_here.set()
        match request.options["role"]:
            case _Role.CRASHES:
                defect = RuntimeError("a defect in the provider")
                return Script(wait(self._all_here), sleep(0.3), crash(defect))
            case _Role.SILENT:
                return Script(stall())
            case _:
                return Script(text("I was saying that "), stall())


def _steady(request: TurnRequest) -> Script:
    pieces = text(_ANSWER * 2, size=-(-len(_ANSWER * 2) // _CHUNKS))
    if request.options["role"] == _Role.NEVER_ENDS:
        return Script(pieces[:5], stall())
    return Script(pieces)


class Demo:
    """One run of the demo.

    Args:
        journal: its directory.
        sessions: how many.
        seed: of everything that is left to chance.
        claude: the real model, to be there beside the two that play scripts; or None.
    """

    def __init__(
        self, journal: Path, sessions: int, seed: int, claude: AnthropicProvider | None = None
    ) -> None:
        self.progress = Progress(sessions)
        self._journal = journal
        self._slots = max(4, sessions * 2 // 3)
        self._plans = _plans(sessions, random.Random(seed))  # noqa: S311 - a demo, not a secret
        flaky = sum(plan.provider == "flaky" for plan in self._plans)
        providers: dict[str, Provider] = {
            "steady": ScriptedProvider(_steady, delay=_PAUSE_S),
            "flaky": ScriptedProvider(_Flaky(flaky)),
        }
        if claude is not None:
            providers["claude"] = claude
        self._system = AsyncActorSystem.start(
            journal,
            providers,
            Limits(max_parallel_sessions=None, max_parallel_runs=self._slots),
            seed=seed,
        )
        self._statuses: Counter[str] = Counter()
        self._seen: Counter[EventType] = Counter()
        self._session_ms: list[float] = []
        self._cancel_ms: list[float] = []
        self._a_session = ""
        self._last: int | None = None
        """Position of the last event, as soon as it is known."""

    async def __aenter__(self) -> Demo:
        await self._system
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *rest: object) -> None:
        await self._system.stop(cancel_runs=exc_type is not None)

    async def work(self) -> Report:
        """Start all sessions at once, and return when they are over."""
        manager, store = self._system.sessions, self._system.store
        first = await asyncio.to_thread(store.last_position)
        watching = asyncio.create_task(self._watch(manager, first))
        counting = asyncio.create_task(self._count(manager))
        began = time.perf_counter()
        try:
            await asyncio.gather(*(self._converse(manager, number) for number in range(len(self._plans))))
            wall = time.perf_counter() - began
            self._last = await asyncio.to_thread(store.last_position)
            await watching
        finally:
            counting.cancel()
            watching.cancel()
            await asyncio.gather(counting, watching, return_exceptions=True)
        await self._take_status(manager)
        statistics = await asyncio.to_thread(store.statistics)
        tree = await control.tree(self._system.root, 0)
        pool = await self._system.services.whereis(RUN_SLOTS).ask(GetPoolStatistics(), block=False)
        return Report(
            journal=self._journal,
            sessions=len(self._plans),
            runs=dict(sorted(self._statuses.items())),
            retried=self._seen[EventType.ERROR_OCCURRED],
            provider_restarts=_restarts(tree.find(PROVIDERS)),
            slots=self._slots,
            slots_peak=pool[RUNS_POOL].peak,
            events=self._last - first,
            events_seen=self.progress.events,
            commits=statistics.commits,
            wall_s=wall,
            session_ms=self._session_ms,
            cancel_ms=self._cancel_ms,
            a_session=self._a_session,
        )

    async def ask_claude(self, question: str, deadline: float, say: Callable[[str], None]) -> None:
        """Have the real model answer, piece by piece.

        Raises:
            AsmError: It did not.
        """

        def heard(event: Any) -> None:
            if event.type is EventType.MESSAGE_STREAMED:
                say(str(event.data.get("content", "")))

        await self._system.sessions.run_once(
            question, provider="claude", event_callback=heard, deadline=deadline, tags=["demo"]
        )

    async def _converse(self, manager: AsyncSessionManager, number: int) -> None:
        """One session from its start to its durable end."""
        plan, began = self._plans[number], time.perf_counter()
        session = await manager.start_session(agent_id="demo", provider=plan.provider, tags=["demo"])
        await manager.activate_session(session.id)
        question = {"prompt": f"Question {number + 1}: what is an event?"}
        options = {"role": plan.role.value}
        run = await manager.submit_run(session.id, question, adapter_opts=options, deadline=_DEADLINE_S)
        if plan.cancel_after is not None:
            await asyncio.sleep(plan.cancel_after)
            asked = time.perf_counter()
            await manager.cancel_run(run.id, reason="demo")
            self._cancel_ms.append((time.perf_counter() - asked) * 1e3)
        try:
            status = (await manager.await_run(run.id)).status.value
            await manager.complete_session(session.id)
            self._a_session = session.id
        except AsmError as error:
            if error.code is ErrorCode.CANCELLED:
                status = "cancelled"
                await manager.cancel_session(session.id, reason="run_cancelled")
            else:
                status = "timeout" if error.code is ErrorCode.TIMEOUT else "failed"
                await manager.fail_session(session.id, error)
        self._statuses[status] += 1
        self._session_ms.append((time.perf_counter() - began) * 1e3)
        self.progress.ended += 1

    async def _watch(self, manager: AsyncSessionManager, after: int) -> None:
        """Follow the whole journal live; positions must come without a gap."""
        async with manager.subscribe(after=after) as subscription:
            expected = after + 1
            while self._last is None or expected <= self._last:
                for event in await subscription.pull(_PAGE, timeout=0.1):
                    if event.position != expected:
                        raise AsmError(
                            ErrorCode.INTERNAL_ERROR, f"position {event.position} came for {expected}"
                        )
                    expected += 1
                    self._seen[event.type] += 1
                    self.progress.events += 1

    async def _count(self, manager: AsyncSessionManager) -> None:
        while True:
            await self._take_status(manager)
            await asyncio.sleep(0.1)

    async def _take_status(self, manager: AsyncSessionManager) -> None:
        status = await manager.status()
        self.progress.active_runs = status["active_runs"]
        self.progress.waiting_runs = status["waiting_runs"]


def _plans(sessions: int, chance: random.Random) -> list[_Plan]:
    """Cast the roles: a tenth meets the crash, about a twentieth is cancelled, the others just talk.

    Those who meet the crash come first, and are fewer than the slots: it waits until all of them are under way.
    """
    n_flaky = max(3, sessions // 10)
    roles = [_Role.CRASHES] + [_Role.SILENT, _Role.SPEAKING] * (n_flaky // 2)
    plans = [_Plan(role, "flaky") for role in roles[:n_flaky]]
    for _ in range(sessions - n_flaky):
        if chance.random() < 0.055:
            plans.append(_Plan(_Role.NEVER_ENDS, "steady", chance.uniform(0.2, 1.2)))
        else:
            plans.append(_Plan(_Role.ANSWERS, "steady"))
    return plans


def _restarts(node: Any) -> int:
    if node is None:
        return 0
    return int(node.restarts) + sum(_restarts(child) for child in node.children)
