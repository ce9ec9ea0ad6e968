"""The providers of a scenario: they play what the run's prompt names, and tell which streams are open."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.providers.base import TurnRequest, prompt_from_input
from asm_actors.providers.items import TextDelta
from asm_actors.providers.script import Script, crash, fail, sleep, stall, text, tool_result, usage, wait
from asm_actors.providers.scripted import ScriptedProvider
from tests.simulation.world import STOPPED, Injected, World

PARTS = (
    ("stream", 10),
    ("slow", 5),
    ("gate", 4),
    ("stall", 3),
    ("mute", 1),
    ("retry", 3),
    ("retry_late", 2),
    ("refuse", 2),
    ("break", 2),
    ("crash", 1),
    ("crash_late", 1),
    ("crash_always", 1),
    ("tool", 2),
    ("flood", 1),
)
"""What a run's provider can be asked to play, and how often it is."""


def draw_part(rng: random.Random) -> str:
    """Choose what a run plays, with its number."""
    return f"{rng.choices([name for name, _ in PARTS], [weight for _, weight in PARTS])[0]} {rng.randrange(1, 9)}"


class Player(ScriptedProvider):
    """Plays the part which the prompt names.

    Attributes:
        streaming: Open streams by run.
        max_open: How many were open at once at most.
    """

    def __init__(self, world: World, name: str) -> None:
        rng = world.random(f"provider {name}")
        super().__init__(self._part, name=name, resumable=rng.random() < 0.2)
        self._world = world
        self._rng = rng
        self._slow_close = rng.random() < 0.3
        self._slow_open = rng.random() < 0.3
        self.timeout = rng.choice((None, None, 4.0))
        self.streaming: Counter[str] = Counter()
        self.n_closed = 0

    async def open(self) -> None:
        if self._slow_open:
            await asyncio.sleep(self._rng.choice((0.0, 0.01, 0.3)))
        if self._rng.random() < 0.1:
            raise AsmError(ErrorCode.PROVIDER_UNAVAILABLE, "not open yet", retryable=True)

    async def aclose(self) -> None:
        self.n_closed += 1
        await asyncio.sleep(0)

    async def stream(self, request: TurnRequest) -> AsyncGenerator[Any, None]:
        run_id = request.run_id
        if STOPPED & self._world.store.statuses.get(run_id, set()):
            self._world.fault(f"a stream was opened for {run_id}, which was stopped")
        self.streaming[run_id] += 1
        inner = super().stream(request)
        try:
            async for item in inner:
                yield item
        finally:
            try:
                await inner.aclose()
                if self._slow_close:
                    await asyncio.sleep(0.05)
            finally:
                self.streaming[run_id] -= 1
                if not self.streaming[run_id]:
                    del self.streaming[run_id]

    def _part(self, request: TurnRequest) -> Script:
        name, number = prompt_from_input(request.input).split()
        return _SCRIPTS[name](int(number), request.attempt, self._world)


def _chunks(count: int) -> tuple[TextDelta, ...]:
    return tuple(TextDelta(f"{index} ") for index in range(count))


def _slow(number: int, attempt: int, world: World) -> Script:
    steps: list[Any] = []
    for chunk in _chunks(number):
        steps += [chunk, sleep(0.02 * number)]
    return Script(*steps)


def _retry(number: int, attempt: int, world: World) -> Script:
    if attempt > 1 + number % 2:
        return Script(_chunks(number))
    wait_s = 0.5 * number if number % 3 else None
    return Script(fail(ErrorCode.PROVIDER_RATE_LIMITED, "later", retry_after=wait_s))


_SCRIPTS: dict[str, Any] = {
    "stream": lambda n, attempt, world: Script(_chunks(n), usage(3, n)),
    "slow": _slow,
    "gate": lambda n, attempt, world: Script(_chunks(n), wait(world.gates[n % 3]), _chunks(2)),
    "stall": lambda n, attempt, world: Script(_chunks(n), usage(1, n), stall()),
    "mute": lambda n, attempt, world: Script(stall()),
    "retry": _retry,
    "retry_late": lambda n, attempt, world: Script(_chunks(n), fail(ErrorCode.PROVIDER_UNAVAILABLE, "gone")),
    "refuse": lambda n, attempt, world: Script(fail(ErrorCode.PROVIDER_AUTHENTICATION_FAILED, "no")),
    "break": lambda n, attempt, world: Script(_chunks(n), fail(ErrorCode.PROVIDER_ERROR, "broken")),
    "crash": lambda n, attempt, world: (
        Script(crash(Injected("before a word"))) if attempt == 1 else Script(_chunks(n))
    ),
    "crash_late": lambda n, attempt, world: Script(_chunks(n), crash(Injected("in the middle"))),
    "crash_always": lambda n, attempt, world: Script(sleep(0.01 * n), crash(Injected("as always"))),
    "tool": lambda n, attempt, world: Script(
        _chunks(n), tool_result("call_1", "look", {"n": n}), text("Seen.")
    ),
    "flood": lambda n, attempt, world: Script(_chunks(80 * n)),
}
