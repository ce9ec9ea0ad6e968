"""The shell of a subscription: reads by cursor, from the shared tail or from the store, when its subscriber asks."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import frozen

from asm_actors.errors import AsmError
from asm_actors.events import Event
from asm_actors.journal.messages import Await, Follow, Unfollow, Wake
from asm_actors.journal.subscription import Pull, Scope, SubscriptionPhase, SubscriptionState, matches
from asm_actors.journal.tail import Tail
from asm_actors.services import JOURNAL, Services
from supervisors import Actor, Timer

__all__ = ["SubscriptionActor", "SubscriptionStatistics"]


@frozen
class SubscriptionStatistics:
    """A subscription at one moment.

    Attributes:
        phase: Where it stands.
        cursor: Last sequence number (of one session) or position (of the journal) handed over.
        delivered: Events handed over.
        lag: Events of the journal beyond the cursor, for one that follows the whole journal; else None.
    """

    phase: SubscriptionPhase
    cursor: int
    delivered: int
    lag: int | None


class _TimeIsUp:
    """To itself: the pull that waits gets nothing."""

    __slots__ = ("pull",)

    def __init__(self, pull: Pull) -> None:
        self.pull = pull


class _Read:
    """To itself: what the store gave."""

    __slots__ = ("error", "events", "scanned", "seen")

    def __init__(self, events: list[Event], scanned: int, seen: int, error: AsmError | None = None) -> None:
        self.events = events
        self.scanned = scanned
        self.seen = seen
        self.error = error


class SubscriptionActor(Actor):
    """See the module.

    Args:
        services: The system's.
        scope: What is followed.
        cursor: The place after which it begins.
    """

    def __init__(self, services: Services, scope: Scope, cursor: int) -> None:
        super().__init__()
        self._services = services
        self._state = SubscriptionState(scope, cursor)
        self._journal: Any = None
        self._tail: Tail
        self._timer: Timer | None = None

    def on_start(self) -> None:
        self._journal = self._services.whereis(JOURNAL)
        self._tail = self._journal.life.actor.tail
        self._journal.tell(Follow())

    def on_stop(self) -> None:
        self._state.phase = SubscriptionPhase.CLOSED
        self._answer([])
        self._journal.post(Unfollow(self.actor_ref))

    def on_failure(self, *exc_info: Any) -> None:
        if self._state.pull is not None:
            _, token = self._state.pull
            self._state.pull = None
            if token is not None:
                token.set_error(exc_info[1])
        self._journal.post(Unfollow(self.actor_ref))

    def statistics(self) -> SubscriptionStatistics:
        """Numbers of this moment."""
        state = self._state
        lag = None if state.scope.session_id is not None else self._tail.position - state.cursor
        return SubscriptionStatistics(state.phase, state.cursor, state.n_delivered, lag)

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Pull:
            self._pull(message)
        elif kind is Wake:
            if self._state.pull is not None and not self._state.is_reading:
                self._read()
        elif kind is _Read:
            self._take(message)
        elif kind is _TimeIsUp:
            if self._state.pull is not None and self._state.pull[0] is message.pull:
                self._answer([])
        else:
            return super().on_receive(message)
        return None

    def _pull(self, pull: Pull) -> None:
        reading = self._state.asked(pull, self.reply_later())
        if pull.timeout is not None and pull.timeout > 0:
            self._timer = self.send_after(pull.timeout, _TimeIsUp(pull))
        if reading:
            self._read()

    def _read(self) -> None:
        state, tail = self._state, self._tail
        assert state.pull is not None
        limit, scope = state.pull[0].limit, state.scope
        state.is_reading = True
        if scope.session_id is None:
            recent = tail.read_all(state.cursor, limit)
        else:
            recent = tail.read_session(scope.session_id, state.cursor, limit)
        if recent is None:
            self.spawn(self._read_store(scope, state.cursor, limit), name="read")
            return
        scanned = state.cursor
        if recent:
            last = recent[-1]
            scanned = (last.position if scope.session_id is None else last.sequence_number) or 0
        wanted = [event for event in recent if matches(event, scope.filter)]
        self._take(_Read(wanted, scanned, tail.position), again=bool(recent))

    async def _read_store(self, scope: Scope, cursor: int, limit: int) -> None:
        seen, store = self._tail.position, self._services.store
        wanted = scope.reading(cursor, limit)
        try:
            if scope.session_id is None:
                call = self.blocking(lambda: store.read_all(after=cursor, limit=limit, filter=scope.filter))
                page = await call
                read = _Read(page.events, page.position, seen)
            else:
                session_id = scope.session_id
                events = await self.blocking(lambda: store.read_session(session_id, wanted))
                read = _Read(events, cursor, seen)
        except AsmError as error:
            read = _Read([], cursor, seen, error)
        except asyncio.CancelledError:
            self._state.is_reading = False
            raise
        self.actor_ref.post(read)

    def _take(self, read: _Read, *, again: bool = False) -> None:
        state = self._state
        if read.error is not None:
            state.is_reading = False
            if state.pull is not None:
                token = self._take_token()
                if token is not None:
                    token.set_error(read.error)
            return
        moved = read.scanned > state.cursor
        if state.pull is None:
            # Its time was over while it read: what was found stays beyond the cursor for the next pull.
            state.is_reading = False
            return
        events = state.found(read.events, read.scanned, self._tail.position)
        if events is not None:
            self._answer(events)
        elif again or moved:
            # Nothing that is wanted so far, and more to look at.
            self._read()
        elif state.pull[0].timeout == 0:
            self._answer([])
        else:
            self._journal.post(Await(self.actor_ref, state.scope.session_id, read.seen))

    def _take_token(self) -> Any:
        assert self._state.pull is not None
        _, token = self._state.pull
        self._state.pull = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return token

    def _answer(self, events: list[Event]) -> None:
        if self._state.pull is not None:
            token = self._take_token()
            if token is not None:
                token.set(events)
