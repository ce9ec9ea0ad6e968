"""The shell of a subscription: reads by cursor, from the shared tail or from the store, when its subscriber asks."""

from __future__ import annotations

import asyncio
from typing import Any

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.messages import Await, Follow, Wake
from asm_actors.journal.session_facts import SessionFacts
from asm_actors.journal.store import Store
from asm_actors.journal.subscription import (
    SESSION_ENDS,
    Hurry,
    Page,
    Pull,
    Scope,
    SubscriptionPhase,
    SubscriptionState,
    SubscriptionStatistics,
    matches,
)
from asm_actors.journal.tail import Tail
from asm_actors.services import JOURNAL, Services
from supervisors import Actor, Timer

__all__ = ["SubscriptionActor"]

SCAN = 512
"""Events of the tail that one step looks at when few of them are wanted."""
MOST_SCANNED = 4_096
"""Most events of one step if their sessions' records must be known: those of all of them are kept at hand."""
STEPS = 4
"""Steps after which other actors have their turn."""


class _GoOn:
    """To itself: read on, others have had their turn."""


class _TimeIsUp:
    """To itself: the pull that waits gets nothing."""

    __slots__ = ("pull",)

    def __init__(self, pull: Pull) -> None:
        self.pull = pull


class _Read:
    """To itself: what the store gave."""

    __slots__ = ("cursor", "end", "error", "events", "facts", "is_over", "scanned", "seen")

    def __init__(self, cursor: int, seen: int) -> None:
        self.cursor = cursor
        self.scanned = cursor
        self.seen = seen
        self.events: list[Event] = []
        self.facts: dict[str, bool] = {}
        self.end: int | None = None
        self.is_over = False
        self.error: AsmError | None = None


class _Learned:
    """To itself: which sessions are wanted, of those that the newest events are of."""

    __slots__ = ("error", "facts", "needed")

    def __init__(self, needed: list[str]) -> None:
        self.needed = needed
        self.facts: dict[str, bool] = {}
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
        self._facts = SessionFacts(scope) if scope.chooses_sessions else None
        self._takes_all = scope.takes_all
        self._journal: Any = None
        self._tail: Tail
        self._timer: Timer | None = None
        # The pull whose time was over while the store was read for it.
        self._overdue: Pull | None = None
        # Whether the store was asked once if the session is over: afterwards its end is seen as an event.
        self._knows_end = scope.session_id is None

    def on_start(self) -> None:
        journal = self._services.whereis(JOURNAL)
        if journal is None:
            raise AsmError(ErrorCode.INTERRUPTED, "the journal is being restarted")
        self._journal = journal
        self._tail = journal.life.actor.tail
        journal.tell(Follow(self.actor_ref, self._state.scope.session_id))

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
        return SubscriptionStatistics(state.phase, state.cursor, state.n_delivered, lag, state.n_skipped)

    def on_receive(self, message: Any) -> Any:
        kind = type(message)
        if kind is Pull:
            self._pull(message)
        elif kind is Wake or kind is _GoOn:
            self._read()
        elif kind is _Read:
            self._take(message)
        elif kind is _Learned:
            self._learned(message)
        elif kind is _TimeIsUp:
            if self._state.pull is not None and self._state.pull[0] is message.pull:
                if self._state.is_reading:
                    self._overdue = message.pull  # what is there already is worth the end of this read
                else:
                    self._answer(self._nothing())
        elif kind is Hurry:
            self._state.is_hurried = True
            self._read()
        else:
            return super().on_receive(message)
        return None

    def _pull(self, pull: Pull) -> None:
        superseded = self._state.asked(pull, self.reply_later(), self.now())
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
            if self._facts is not None:
                unknown = self._facts.unknown(wanted)
                if unknown:
                    state.is_reading = True
                    needed = list(dict.fromkeys(event.session_id for event in wanted))
                    self.spawn(self._learn(unknown, _Learned(needed)), name="learn")
                    return
                wanted = self._facts.wanted(wanted)
            page = state.found(wanted, scanned, seen, is_over=is_over or (state.is_over and not recent))
            if page is not None:
                self._answer(page)
                return
            if not recent:
                self._rest(seen)
                return
        self.actor_ref.post(_GoOn())

    async def _learn(self, unknown: list[str], learned: _Learned) -> None:
        """Look up the sessions of new events; those of old ones are looked up where they are read."""
        assert self._facts is not None
        try:
            learned.facts = await self.blocking(self._facts.read, self._services.store, unknown)
        except AsmError as error:
            learned.error = error
        self.actor_ref.post(learned)

    def _learned(self, learned: _Learned) -> None:
        assert self._facts is not None
        self._state.is_reading = False
        if learned.error is not None:
            self._refuse(learned.error)
            return
        self._facts.learn(learned.facts, learned.needed)
        self._read()

    def _recent(self) -> list[Event] | None:
        """What the tail has beyond the cursor; None if the store must be asked."""
        state, tail = self._state, self._tail
        assert state.pull is not None
        scope, limit = state.scope, self._limit()
        if scope.session_id is None:
            state.skip(tail.position)
            return tail.read_all(state.cursor, limit)
        if state.pull[0].max_lag is not None:
            state.skip(tail.head(scope.session_id) or 0)
        recent = tail.read_session(scope.session_id, state.cursor, limit)
        return recent if recent or self._knows_end else None

    def _limit(self) -> int:
        """How many events one step looks at."""
        state = self._state
        assert state.pull is not None
        limit = state.pull[0].limit
        if self._takes_all:
            return limit
        return max(limit, SCAN) if self._facts is None else min(max(limit, SCAN), MOST_SCANNED)

    async def _read_store(self, cursor: int, seen: int) -> None:
        state, store = self._state, self._services.store
        assert state.pull is not None
        pull, scope = state.pull[0], state.scope
        read = _Read(cursor, seen)
        try:
            if scope.session_id is not None:
                await self.blocking(_read_session, store, scope, pull, read)
            else:
                limit = pull.limit if self._facts is None else self._limit()
                await self.blocking(_read_all, store, scope, limit, self._facts, read)
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
        if read.end is not None:
            state.skip(read.end)
        if self._facts is not None:
            self._facts.learn(read.facts, [event.session_id for event in read.events])
            read.events = self._facts.wanted(read.events)
        page = state.found(read.events, read.scanned, self._tail.position, is_over=read.is_over)
        if page is not None:
            self._answer(page)
        elif state.scope.session_id is None and read.cursor < state.cursor < read.seen:
            # It looked at a part only. Who does not wait at all gets its answer at the end.
            is_overdue = state.pull[0] is self._overdue
            if is_overdue or (state.pull[0].timeout != 0 and not state.is_hurried and self._has_news()):
                self._answer(self._nothing())
            else:
                self._read()
        else:
            self._rest(read.seen)

    def _rest(self, seen: int) -> None:
        """Nothing is there: answer so, or wait for more than there was when the read began."""
        state = self._state
        assert state.pull is not None
        is_over = state.pull[0].timeout == 0 or state.pull[0] is self._overdue
        if is_over or state.is_hurried or self._has_news():
            self._answer(self._nothing())
        else:
            self._journal.post(Await(self.actor_ref, state.scope.session_id, seen))

    def _has_news(self) -> bool:
        state = self._state
        return state.cursor > state.asked_at[0] and state.has_news(self.now())

    # --- Answers -----------------------------------------------------------------------------------------------

    def _nothing(self) -> Page:
        return self._state.page([], is_over=self._state.is_over)

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


def _read_all(store: Store, scope: Scope, limit: int, facts: SessionFacts | None, read: _Read) -> None:
    page = store.read_all(after=read.cursor, limit=limit, filter=scope.filter)
    read.events, read.scanned = page.events, page.position
    if facts is not None:
        # Nobody else touches the facts while this read is under way.
        read.facts = facts.read(store, facts.unknown(page.events))


def _read_session(store: Store, scope: Scope, pull: Pull, read: _Read) -> None:
    assert scope.session_id is not None
    limit = pull.limit
    # The record first: if it says that the session is over, its last event is among those that are read after it.
    session = store.session(scope.session_id)
    after = read.cursor
    if pull.max_lag is not None:
        read.end = session.last_sequence
        after = max(after, read.end - pull.max_lag)
    events = read.events = store.read_session(scope.session_id, scope.reading(after, limit))
    if len(events) >= limit:
        read.scanned = scope.place(events[-1])
    else:
        last = scope.place(events[-1]) if events else 0
        read.scanned = max(read.cursor, session.last_sequence, last)
        read.is_over = session.is_terminal
