"""A consumer of a named subscription, and what it relies on: nothing is skipped, nothing acknowledged comes again."""

from __future__ import annotations

from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.store import Store
from asm_actors.testing.system import SimulatedSystem

_ENDS = frozenset(
    {ErrorCode.STREAM_CLOSED, ErrorCode.INTERRUPTED, ErrorCode.SESSION_NOT_FOUND, ErrorCode.INTERNAL_ERROR}
)


class Consumer:
    """See the module.

    Args:
        name: Of the subscription.
        session_id: Which session it follows; None for all.

    Attributes:
        seen: The places of all events it was given.
        acked: Up to where it acknowledged, at most.
        durable: Up to where this is on the disk for certain.
    """

    def __init__(self, name: str, session_id: str | None) -> None:
        self.name = name
        self.session_id = session_id
        self.seen: set[int] = set()
        self.acked = self.durable = 0
        self._told = 0  # what it acknowledged in this process
        self.is_gone = False
        self._subscription: Any = None
        self._last: int | None = None
        self._store: Store

    @property
    def is_open(self) -> bool:
        """Whether it has its name open."""
        return self._subscription is not None

    def place(self, event: Event) -> int:
        """Where an event stands in what is followed."""
        return (event.position if self.session_id is None else event.sequence_number) or 0

    def wanted(self, store: Store) -> list[int]:
        """The places of all events that are there."""
        if self.session_id is None:
            found = store.read_all(limit=1 << 30, scan_limit=1 << 30).events
        else:
            found = store.read_session(self.session_id) if store.has_session(self.session_id) else []
        return [self.place(event) for event in found]

    def open(self, sim: SimulatedSystem) -> None:
        """Open the name; one that has it open already loses it."""
        if self.is_gone:
            return
        self.leave()
        try:
            self._subscription = sim.manager.subscribe(self.session_id, name=self.name)
        except AsmError as error:
            self._refused(error)
        self._last = None

    def take(self, sim: SimulatedSystem, limit: int, ack: str) -> int:
        """Take some events; how many came."""
        if self._subscription is None:
            return 0
        there = self.wanted(sim.store)
        try:
            events = self._subscription.pull(limit, 0)
            self._check_next(events, there)
            self.seen.update(map(self.place, events))
            if events and ack != "none":
                last = events[0] if ack == "one" else events[-1]
                self._told = max(self._told, self.place(last))
                self.acked = max(self.acked, self._told)
                self._subscription.ack(last, durable=ack == "durable")
                if ack == "durable":
                    self.durable = max(self.durable, self.place(last))
        except AsmError as error:
            self._refused(error)
            return 0
        return len(events)

    def _check_next(self, events: list[Event], there: list[int]) -> None:
        """What came follows what came before it, with nothing left out that was there."""
        for event in events:
            place = self.place(event)
            if self._last is None:
                assert place > self.durable, f"{self.name}: {place} was acknowledged, up to {self.durable}"
                skipped = [one for one in there if self.acked < one < place]
            else:
                assert place > self._last, f"{self.name}: {place} after {self._last}"
                skipped = [one for one in there if self._last < one < place]
            assert not skipped, f"{self.name}: {place} came, and {skipped} was skipped"
            self._last = place

    def _refused(self, error: AsmError) -> None:
        assert error.code in _ENDS, repr(error)
        self.leave()
        if error.code is ErrorCode.SESSION_NOT_FOUND:
            self.is_gone = True

    def leave(self) -> None:
        """Go away."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None

    def lose(self, *, is_orderly: bool) -> None:
        """The process ends. One that ends in order keeps what was acknowledged."""
        self._subscription = None
        if is_orderly:
            self.durable = max(self.durable, self._told)
        self._told = 0

    def read_on(self, sim: SimulatedSystem) -> None:
        """Read to the end."""
        self.open(sim)
        while self.take(sim, 50, "all"):
            pass

    def check(self, store: Store) -> None:
        """It has got everything that is there."""
        if not self.is_gone:
            missed = sorted(set(self.wanted(store)) - self.seen)
            assert not missed, f"{self.name} never got {missed}"
