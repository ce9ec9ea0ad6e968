"""The subscribers of a scenario: they pull at random, stall, give up in the middle, and come again at their cursor."""

from __future__ import annotations

import asyncio
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event, EventType
from asm_actors.journal.follow import AsyncSubscription
from asm_actors.journal.store import EventFilter
from asm_actors.journal.subscription import Scope, matches
from tests.simulation.world import World

_FILTERS: tuple[Any, ...] = (
    None,
    None,
    (EventType.RUN_STARTED, EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_CANCELLED),
    (EventType.SESSION_STARTED, EventType.SESSION_COMPLETED),
    (EventType.MESSAGE_STREAMED,),
)
_ENDS = frozenset(
    {ErrorCode.STREAM_CLOSED, ErrorCode.INTERRUPTED, ErrorCode.INVALID_OPERATION, ErrorCode.INTERNAL_ERROR}
)
_MOST_LIVES = 40


class Reader:
    """One subscriber; its memory outlives systems.

    Attributes:
        seen: All events it was given.
        scope: What it follows; of a session it chooses when there is one.
        is_over: Set when no more is to be expected.
    """

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.rng = world.random(name)
        self.of_session = self.rng.random() < 0.6
        self.filter = EventFilter(types=self.rng.choice(_FILTERS))
        self.scope: Scope | None = None if self.of_session else Scope(None, self.filter)
        self.cursor = 0
        self.seen: list[Event] = []
        self.is_over = False

    async def work(self) -> None:
        """Follow until told that it is over."""
        for _ in range(_MOST_LIVES):
            if self.is_over:
                return
            await self._choose()
            if self.scope is not None and not await self._follow():
                return
            await asyncio.sleep(self.rng.choice((0.0, 0.01, 0.3, 1.0)))

    async def _choose(self) -> None:
        if self.scope is None and self.world.sessions:
            self.scope = Scope(self.rng.choice(self.world.sessions), self.filter)
            self.world.log.note(self.name, "follows", self.scope.session_id)

    def _subscribe(self) -> AsyncSubscription:
        assert self.scope is not None
        return AsyncSubscription(self.world.sim.services, self.scope, self.cursor, None)

    async def _follow(self) -> bool:
        """One subscription's life; return whether there may be another one."""
        rng = self.rng
        subscription = self._subscribe()
        try:
            for _ in range(rng.randint(1, 6)):
                await self._pull_once(subscription)
                if self.is_over:
                    return False
                await asyncio.sleep(rng.choice((0.0, 0.0, 0.0, 0.05, 0.7)))
        except AsmError as error:
            self.world.log.note(self.name, "closed:", error)
            if error.code not in _ENDS:
                self.world.fault(f"{self.name} was ended with {error!r}")
            return self.world.sim.system.is_running
        finally:
            subscription.close()
            self.cursor = subscription.cursor
        return True

    async def _pull_once(self, subscription: AsyncSubscription) -> None:
        rng = self.rng
        limit, timeout = rng.choice((1, 2, 3, 10, 256)), rng.choice((0, 0, 0.01, 0.5, 2.0))
        if rng.random() < 0.1:
            # Given up while it waits: what it would have got must come again.
            try:
                async with asyncio.timeout(rng.choice((0.0, 0.005, 0.1))):
                    self._take(await subscription.pull(limit, timeout), limit)
            except TimeoutError:
                subscription.close()
                raise AsmError(ErrorCode.STREAM_CLOSED, "given up") from None
        else:
            self._take(await subscription.pull(limit, timeout), limit)

    def _take(self, events: list[Event], limit: int) -> None:
        world = self.world
        if len(events) > limit:
            world.fault(f"{self.name} asked for {limit} events and got {len(events)}")
        if events and (events[-1].position or 0) > world.store.last_position():
            world.fault(f"{self.name} saw position {events[-1].position} before it was durable")
        self.seen += events

    # --- Afterwards ----------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Read what is left, until there is nothing more."""
        await self._choose()
        if self.scope is None:
            return
        subscription = self._subscribe()
        try:
            while events := await subscription.pull(7, 0):
                self._take(events, 7)
        finally:
            subscription.close()
            self.cursor = subscription.cursor

    def check(self) -> None:
        """Compare what was seen with what the journal holds."""
        if self.scope is None:
            return
        store = self.world.store
        if self.scope.session_id is None:
            all_events = store.read_all(limit=100_000, scan_limit=100_000).events
        else:
            all_events = store.read_session(self.scope.session_id)
        wanted = [event for event in all_events if matches(event, self.filter)]
        if self.seen != wanted:
            places = [[event.position for event in events] for events in (self.seen, wanted)]
            self.world.fault(f"{self.name} ({self.scope}) saw {places[0]}, the journal has {places[1]}")
