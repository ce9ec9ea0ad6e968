"""The shell of a subscription: reads by cursor, from the shared tail or from the store, when its subscriber asks."""

from __future__ import annotations

import asyncio
from typing import Any

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.messages import Await, Follow, Wake
from asm_actors.journal.store import Store
from asm_actors.journal.subscription import (
    SESSION_ENDS,
    Hurry,
    Page,
    Pull,
    Scope,
    SubscriptionPhase,
    SubscriptionState,
    matches,
)
from asm_actors.journal.tail import Tail
from asm_actors.services import JOURNAL, Services
from supervisors import Actor, Timer

__all__ = ["SubscriptionActor", "SubscriptionStatistics"]

SCAN = 512
"""Events of the tail that one step looks at when few of them are wanted."""
STEPS = 4
"""Steps after which other actors have their turn."""


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


class _GoOn:
    """To itself: read on, others have had their turn."""


class _TimeIsUp:
    """To itself: the pull that waits gets nothing."""

    __slots__ = ("pull",)

    def __init__(self, pull: Pull) -> None:
        self.pull = pull


class _Read:
    """To itself: what the store gave."""

    __slots__ = ("cursor", "error", "events", "is_over", "scanned", "seen")

    def __init__(self, cursor: int, seen: int) -> None:
        self.cursor = cursor
        self.scanned = cursor
        self.seen = seen
        self.events: list[Event] = []
        self.is_over = False
        self.error: AsmError | None = None


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
        # Whether the store was asked once if the session is over: afterwards its end is seen as an event.
        self._knows_end = scope.session_id is None

    def on_start(self) -> None:
        journal = self._services.whereis(JOURNAL)
        if journal is None:
            raise AsmError(ErrorCode.INTERRUPTED, "the journal is being restarted")
        self._journal = journal
        self._tail = journal.life.actor.tail
        journal.tell(Follow(self.actor_ref))

    def on_stop(self) -> None:
        self._state.phase = SubscriptionPhase.CLOSED
        self._refuse(AsmError(ErrorCode.STREAM_CLOSED, "the subscription was closed"))

    def on_failure(self, *exc_info: Any) -> None:
        self._state.phase = SubscriptionPhase.CLOSED
        self._refuse(AsmError.wrap(ErrorCode.INTERNAL_ERROR, exc_info[1], "the subscription crashed"))

    def statistics(self) -> SubscriptionStatistics:
        """Numbers of this moment."""
        state = self._state
        lag = None if state.scope.session_id is not None else self._tail.position - state.cursor
        return SubscriptionStatistics(state.phase, state.cursor, state.n_delivered, lag)

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Pull:
            self._pull(message)
        elif kind is Wake or kind is _GoOn:
            self._read()
        elif kind is _Read:
            self._take(message)
        elif kind is _TimeIsUp:
            if self._state.pull is not None and self._state.pull[0] is message.pull:
                self._answer(self._nothing())
        elif kind is Hurry:
            self._state.is_hurried = True
            self._read()
        else:
            return super().on_receive(message)
        return None

    def _pull(self, pull: Pull) -> None:
        superseded = self._state.asked(pull, self.reply_later())
        if superseded is not None and not superseded.is_done:
            superseded.set(self._nothing())
        self._cancel_timer()
        if pull.timeout is not None and pull.timeout > 0:
            self._timer = self.send_after(pull.timeout, _TimeIsUp(pull))
        self._read()

    # --- Reading -----------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Look on from the cursor, if somebody waits and no read is under way."""
        state = self._state
        for _ in range(STEPS):
            if state.pull is None or state.is_reading:
                return
            seen = self._tail.position
            recent = self._recent()
            if recent is None:
                state.is_reading = True
                self.spawn(self._read_store(state.cursor, seen), name="read")
                return
            scope = state.scope
            scanned = scope.place(recent[-1]) if recent else state.cursor
            is_over = bool(recent) and scope.session_id is not None and recent[-1].type in SESSION_ENDS
            wanted = [event for event in recent if matches(event, scope.filter)]
            page = state.found(wanted, scanned, seen, is_over=is_over or (state.is_over and not recent))
            if page is not None:
                self._answer(page)
                return
            if not recent:
                self._rest(seen)
                return
        self.actor_ref.post(_GoOn())

    def _recent(self) -> list[Event] | None:
        """What the tail has beyond the cursor; None if the store must be asked."""
        state, tail = self._state, self._tail
        assert state.pull is not None
        scope, limit = state.scope, state.pull[0].limit
        if not scope.filter.takes_all:
            limit = max(limit, SCAN)
        if scope.session_id is None:
            return tail.read_all(state.cursor, limit)
        recent = tail.read_session(scope.session_id, state.cursor, limit)
        return recent if recent or self._knows_end else None

    async def _read_store(self, cursor: int, seen: int) -> None:
        state, store = self._state, self._services.store
        assert state.pull is not None
        limit, scope = state.pull[0].limit, state.scope
        read = _Read(cursor, seen)
        try:
            await self.blocking(
                _read_all if scope.session_id is None else _read_session, store, scope, limit, read
            )
        except AsmError as error:
            if error.code is not ErrorCode.SESSION_NOT_FOUND or not scope.may_come:
                read.error = error
        except asyncio.CancelledError:
            state.is_reading = False
            raise
        else:
            self._knows_end = True
        self.actor_ref.post(read)

    def _take(self, read: _Read) -> None:
        state = self._state
        state.is_reading = False
        if state.pull is None:
            # Its time was over while it read: what was found stays beyond the cursor for the next pull.
            return
        if read.error is not None:
            self._refuse(read.error)
            return
        if read.cursor != state.cursor:
            self._read()  # the subscriber has gone back meanwhile: this is not what it waits for
            return
        page = state.found(read.events, read.scanned, self._tail.position, is_over=read.is_over)
        if page is not None:
            self._answer(page)
        elif state.scope.session_id is None and read.cursor < state.cursor < read.seen:
            self._read()  # it looked at a part only
        else:
            self._rest(read.seen)

    def _rest(self, seen: int) -> None:
        """Nothing is there: answer so, or wait for more than there was when the read began."""
        state = self._state
        assert state.pull is not None
        if state.pull[0].timeout == 0 or state.is_hurried:
            self._answer(self._nothing())
        else:
            self._journal.post(Await(self.actor_ref, state.scope.session_id, seen))

    # --- Answers -----------------------------------------------------------------------------------------------

    def _nothing(self) -> Page:
        return Page([], self._state.cursor, self._state.is_over)

    def _take_token(self) -> Any:
        state = self._state
        if state.pull is None:
            return None
        _, token = state.pull
        state.pull = None
        self._cancel_timer()
        return None if token is None or token.is_done else token

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self, page: Page) -> None:
        token = self._take_token()
        if token is not None:
            token.set(page)

    def _refuse(self, error: AsmError) -> None:
        token = self._take_token()
        if token is not None:
            token.set_error(error)


def _read_all(store: Store, scope: Scope, limit: int, read: _Read) -> None:
    page = store.read_all(after=read.cursor, limit=limit, filter=scope.filter)
    read.events, read.scanned = page.events, page.position


def _read_session(store: Store, scope: Scope, limit: int, read: _Read) -> None:
    assert scope.session_id is not None
    # The record first: if it says that the session is over, its last event is among those that are read after it.
    session = store.session(scope.session_id)
    events = read.events = store.read_session(scope.session_id, scope.reading(read.cursor, limit))
    if len(events) >= limit:
        read.scanned = scope.place(events[-1])
    else:
        last = scope.place(events[-1]) if events else 0
        read.scanned = max(read.cursor, session.last_sequence, last)
        read.is_over = session.is_terminal
