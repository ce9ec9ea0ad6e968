"""`Following`: what a subscriber holds, without a surface: cursor, pulling, and the acknowledgements of a named one.

Steps are generators that yield the futures they wait for; `journal.follow` goes through them, blocking or awaited.

The actors behind it may die: the one that reads, the journal, the keeper of named cursors. What was under way then is
begun anew at the cursor, for as long as the system is up, with a bound on how long that may take.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from asm_actors.errors import AsmError, ErrorCode
from asm_actors.events import Event
from asm_actors.journal.cursor_book import Acknowledge, Claim, Holder, Release
from asm_actors.journal.driving import drive_alone
from asm_actors.journal.persisting import MAY_PASS, Patience, Persisting, Steps, closed
from asm_actors.journal.subscription import (
    LAG_LIMIT,
    Hurry,
    Page,
    Pull,
    Scope,
    SubscriptionPhase,
    SubscriptionStatistics,
)
from asm_actors.redaction.naming import check_scope
from asm_actors.serialization import check_id, check_integer, check_seconds, invalid
from asm_actors.services import CURSORS, SUBSCRIPTIONS, Services
from supervisors import DispatcherStopped, Future
from supervisors.control import start_child

__all__ = ["PAGE", "Following", "Naming"]

PAGE = 256
"""Events of one pull while iterating."""
_MANY = 1 << 31
INSTANT_S = 1e-6
"""What is left of a timeout counts as nothing from here on: a clock may not be able to tell it from nothing."""


@frozen
class Naming:
    """The durable side of a named subscription.

    Attributes:
        name: Its name.
        auto_ack: Whether asking for more acknowledges what was handed over.
        takeover: Whether a consumer that has the name open loses it.
    """

    name: str
    auto_ack: bool = False
    takeover: bool = True

    def __attrs_post_init__(self) -> None:
        check_id(self.name, "name")


class Following(Persisting):
    """See the module.

    Args:
        services: The system's.
        scope: What is followed.
        cursor: Place after which to begin; None: the end, as it is when it is first used or entered.
        timeout: Seconds for which iterating waits for an event; None: for ever.
        naming: Of a named subscription; its cursor counts then, and the one given only if the name is new.
        max_lag: Places behind the end from which events are skipped; None: never.

    Raises:
        ValidationError: A secret is in the name, or in what is followed under it: that is kept.
    """

    def __init__(
        self,
        services: Services,
        scope: Scope,
        cursor: int | None,
        timeout: float | None = None,
        *,
        naming: Naming | None = None,
        max_lag: int | None = None,
    ) -> None:
        if naming is not None and services.redactor is not None:
            check_scope(services.redactor, naming.name, scope.to_map())
        super().__init__(services, None if naming is None else Holder(naming.name, scope.to_map()))
        self._scope = scope
        self._timeout = check_seconds(timeout)
        self._max_lag = None if max_lag is None else check_integer(max_lag, "max_lag", least=1)
        self._start = cursor
        # Places: pulled, and handed over, up to where; the last event handed over; what was done before that was taken.
        self._place = self._cursor = self._handed = self._finished = cursor or 0
        self._held: deque[Event] = deque()
        self._is_over = False
        self._is_hurried = False
        self._pulling = threading.Lock()
        self._n_delivered = self._n_skipped = 0
        self._naming = naming
        self._has_begun = naming is None and cursor is not None
        self._acked: int | None = None

    @property
    def cursor(self) -> int:
        """Where it stands: a sequence number, or a position if the whole journal is followed.

        The last event handed over, or one beyond it if those that came next were not wanted. A subscription opened
        with ``after=cursor`` goes on here.
        """
        return self._cursor

    @property
    def timeout(self) -> float | None:
        """Seconds for which iterating waits for an event; None: for ever."""
        return self._timeout

    @property
    def acknowledged(self) -> int | None:
        """Of a named subscription the place up to which it acknowledged; None before its first use, or without name."""
        return self._acked

    @property
    def is_over(self) -> bool:
        """Whether nothing will follow: the session is over, or ``before`` is reached, and all was handed over."""
        return self._is_over and not self._held

    @property
    def skipped(self) -> int:
        """Places that were skipped, since this subscription drops what it is too slow for; 0 for all others."""
        return self._n_skipped

    def close(self) -> None:
        """End the subscription; idempotent, from any thread. Nothing else is affected by it."""
        if not self._closed.is_set() and self._naming is not None and self._naming.auto_ack:
            # Who asked for an event is done with those before it; whether with that one nobody knows.
            self._note_ack(self._finished)
        self._closed.set()
        if self._holder is not None:
            self._tell_keeper(Release(self._holder))
        starting = self._starting
        if starting is not None:
            starting.add_done_callback(_shut_down)

    def hurry(self) -> None:
        """Have pulls wait no more, the one that waits now included: what is there is handed over, then nothing."""
        self._is_hurried = True
        ref = self._ref
        if ref is not None:
            ref.post(Hurry())

    def _measure(self) -> SubscriptionStatistics:
        """Numbers of this moment; reads the store."""
        lag = max(0, self._end() - self._cursor)
        if self._closed.is_set():
            phase = SubscriptionPhase.CLOSED
        elif self.is_over:
            phase = SubscriptionPhase.OVER
        elif lag > LAG_LIMIT:
            phase = SubscriptionPhase.LAGGING
        else:
            phase = SubscriptionPhase.CATCHING_UP if lag else SubscriptionPhase.LIVE
        return SubscriptionStatistics(
            phase, self._cursor, self._n_delivered, lag, self._n_skipped, self._acked
        )

    def _end(self) -> int:
        """The last place there is now; reads the store."""
        store, session_id = self._services.store, self._scope.session_id
        if session_id is None:
            return store.last_position()
        if self._scope.may_come and not store.has_session(session_id):
            return 0
        return store.head(session_id)

    def once(self, limit: int | None, timeout: float) -> Future[list[Event]]:
        """The events of one pull, with nobody waiting on a thread; then it is closed. For one that is not named.

        Args:
            limit: At most so many; None: all there are.
            timeout: Seconds to wait if there is none.

        Returns:
            Future of them: of none if the system is stopped meanwhile.
        """

        def steps() -> Steps[list[Event]]:
            try:
                return (yield from self._pull(_MANY if limit is None else limit, timeout))
            except AsmError as error:
                if error.code is ErrorCode.STREAM_CLOSED and not self._services.directory.is_up:
                    return []
                raise
            finally:
                self.close()

        return drive_alone(steps(), self._services.dispatcher.driver)

    # --- Pulling ---------------------------------------------------------------------------------------------------

    def _pull(self, limit: int, timeout: float | None) -> Steps[list[Event]]:
        yield from self._fill(check_integer(limit, "limit", least=1), check_seconds(timeout))
        return [self._hand_over() for _ in range(min(limit, len(self._held)))]

    def _fill(self, limit: int, timeout: float | None) -> Steps[None]:
        """Have something to hand over, if there is anything."""
        if not self._pulling.acquire(blocking=False):
            raise AsmError(
                ErrorCode.INVALID_OPERATION,
                "another pull of this subscription waits; open one for each reader",
            )
        try:
            self._check_open()
            if self._held:
                return
            if not self._has_begun:
                yield from self._begin()
            if self._naming is not None and self._naming.auto_ack:
                self._note_ack(self._cursor)
            if not self._is_over:
                page = yield from self._ask(limit, timeout)
                self._is_over = page.is_over
                self._held.extend(page.events)
                self._came_to(page)
        finally:
            self._pulling.release()

    def _ask(self, limit: int, timeout: float | None) -> Steps[Page]:
        clock = self._services.dispatcher.clock
        until = None if timeout is None else clock.monotonic() + timeout
        patience: Patience | None = None
        while True:
            try:
                if self._ref is None:
                    yield from self._reopen()
                left = None if until is None else max(0.0, until - clock.monotonic())
                pull = Pull(limit, 0.0 if self._is_hurried else left, self._place, self._max_lag)
                page: Page = yield self._ref.ask(pull, block=False)
            except MAY_PASS as error:
                patience = patience or Patience()
                pause = self._pause_after(error, patience)
            else:
                is_late = until is not None and until - clock.monotonic() < INSTANT_S
                if page.events or page.is_over or self._is_hurried or is_late:
                    return page
                self._came_to(page)  # it only told how far it came
                patience = None
                continue
            yield self._wait(pause)
            self._check_open()

    def _reopen(self) -> Steps[None]:
        """Have another actor read from here on."""
        if self._holder is not None:
            yield from self._claim(self._holder)
        self._ref = yield self._open()
        if self._holder is not None:
            self._holder.ref = self._ref
        if self._closed.is_set() or self._is_lost:
            # Meanwhile, by another thread, which may have come too early to see it.
            self._ref.shutdown()
        self._check_open()

    def _open(self) -> Future[Any]:
        """Start the actor; the future is its ref."""
        if self._starting is None:
            supervisor = self._services.whereis(SUBSCRIPTIONS)
            if supervisor is None:
                raise closed()
            self._starting = start_child(supervisor, self._scope, self._place)
        return self._starting

    def _came_to(self, page: Page) -> None:
        self._place = page.cursor
        self._n_skipped += page.skipped
        if not page.events:
            self._cursor = self._place
            if self._acked is not None and self._acked >= self._handed:
                # Nothing waits to be acknowledged, so what was passed as not wanted is done with too.
                self._note_ack(self._place)

    def _hand_over(self) -> Event:
        event = self._held.popleft()
        place = self._scope.place(event)
        self._finished, self._handed = self._handed, place
        self._cursor = place if self._held else self._place
        self._n_delivered += 1
        return event

    def _begin(self) -> Steps[None]:
        """Find out where it stands, once: at the end, or where its name stands."""
        if self._has_begun:
            return
        if self._start is None:
            ending: Future[int] = Future()
            ending.set_get_hook(lambda _timeout: self._end())
            self._start = yield ending
            self._place = self._cursor = self._handed = self._finished = self._start
        if self._holder is not None:
            holder = self._holder
            yield from self._persist(lambda: self._claim(holder))
        self._has_begun = True

    # --- Acknowledging ---------------------------------------------------------------------------------------------

    def _claim(self, holder: Holder) -> Steps[None]:
        """Open the name; again after a part of the system was restarted."""
        assert self._naming is not None
        assert self._start is not None
        claim = Claim(holder, self._start, self._naming.takeover, self._acked)
        cursor = yield self._keeper().ask(claim, block=False)
        if self._acked is None:
            self._acked = self._place = self._cursor = self._handed = self._finished = cursor.cursor
        if self._closed.is_set():
            self._tell_keeper(Release(holder))

    def _acknowledge(self, events: Event | Iterable[Event] | None, durable: bool) -> Steps[None]:
        if self._holder is None:
            raise AsmError(
                ErrorCode.INVALID_OPERATION, "only a named subscription acknowledges: subscribe with name="
            )
        self._check_open()
        place = self._place_of(events)
        if not durable:
            self._note_ack(place)
            return
        yield from self._begin()
        message = Acknowledge(self._holder, max(place, self._acked or 0))
        yield from self._persist(lambda: self._ask_keeper(message))
        self._acked = message.cursor
        self._check_open()

    def _place_of(self, events: Event | Iterable[Event] | None) -> int:
        if events is None:
            return self._cursor
        found = list(events) if isinstance(events, Iterable) else [events]
        if not all(isinstance(event, Event) for event in found):
            raise invalid(
                "events", "must be an event, several, or None for all that were handed over", events
            )
        place = max(map(self._scope.place, found), default=0)
        if place > max(self._cursor, self._handed):
            raise AsmError(
                ErrorCode.INVALID_CURSOR,
                f"place {place} was not handed over by this subscription: it stands at {self._cursor}",
            )
        return place

    def _note_ack(self, place: int) -> None:
        """Acknowledge up to a place, without waiting for the disk."""
        if self._holder is None or self._acked is None or place <= self._acked:
            return
        self._acked = place
        # If the keeper is being restarted, the next claim or acknowledgement tells it.
        self._tell_keeper(Acknowledge(self._holder, place))

    def _ask_keeper(self, message: Any) -> Steps[Any]:
        answer = yield self._keeper().ask(message, block=False)
        return answer

    def _keeper(self) -> Any:
        keeper = self._services.whereis(CURSORS)
        if keeper is None:
            raise closed()
        return keeper

    def _tell_keeper(self, message: Any) -> None:
        keeper = self._services.whereis(CURSORS)
        if keeper is not None:
            try:
                keeper.post(message)
            except DispatcherStopped:  # what is not acknowledged durably comes again
                return


def _shut_down(starting: Future[Any]) -> None:
    try:
        starting.get().shutdown()
    except Exception:  # it never began: there is nothing to end
        return
